//! Upserts: which record a key names, and what the request comes to, a change of it or a create. Decided anew before every
//! attempt; the write then depends on the state that was read.
//!
//! A record that the caller may not read and change is treated as one whose values are taken, as for a create.

use super::conditions::OTHER_VERSION;
use super::intent::{Failed, ImportedRow, Intent, Upsert, UpsertKey, What, Write};
use super::item::Item;
use super::record::{Record, key};
use super::records::Records;
use super::references::place;
use super::undelete::may_bring_back;
use super::unique::Marker;
use crate::cost;
use crate::error::{Error, Result};
use crate::preconditions::{IfMatch, Preconditions};
use crate::schema::Collection;
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::HashMap;

/// An intent that is ready to be decided.
pub(super) struct Resolved<'a> {
    /// The intent; of an upsert, what it comes to.
    pub intent: Cow<'a, Intent>,
    /// The stored record that the decision depends on.
    pub stored: Option<Record>,
    /// The upsert that it comes from.
    pub upsert: Option<&'a Upsert>,
}

impl Records {
    /// Reads what the decisions need: one round trip for the records, and one before for the holders of unique values.
    ///
    /// # Errors
    /// Every upsert that comes to nothing.
    pub(super) async fn resolve<'a>(&self, intents: &'a [Intent]) -> Result<Vec<Resolved<'a>>, Failed> {
        let upserts: Vec<Option<&Upsert>> = intents.iter().map(Intent::upsert).collect();
        if upserts.iter().all(Option::is_none) {
            let stored = self.each(&intents.iter().map(Intent::needs).collect::<Vec<_>>()).await?;
            let each = intents.iter().zip(stored);
            let each = each.map(|(intent, stored)| Resolved { intent: Cow::Borrowed(intent), stored, upsert: None });
            return Ok(each.collect());
        }
        // The caller may not know who holds or held a value, so the cost is withheld whether or not anyone does.
        cost::withhold();
        let keys = self.keys_of(intents).await?;
        let found = self.latest(keys.iter().flatten()).await?;
        let (mut resolved, mut errors) = (Vec::new(), Vec::new());
        for (position, ((intent, upsert), key)) in intents.iter().zip(upserts).zip(&keys).enumerate() {
            let stored = key.as_ref().and_then(|key| found.get(&place(key)).cloned());
            match upsert {
                None => resolved.push(Resolved { intent: Cow::Borrowed(intent), stored, upsert: None }),
                Some(upsert) => match self.resolved(intent, upsert, stored) {
                    Ok(one) => resolved.push(one),
                    Err(error) => errors.push((position, error)),
                },
            }
        }
        if errors.is_empty() { Ok(resolved) } else { Err(Failed::Each(errors)) }
    }

    /// The keys of the records to read. For an upsert by a unique value that is the record which its marker names.
    async fn keys_of(&self, intents: &[Intent]) -> Result<Vec<Option<Item>>> {
        let markers: Vec<&Marker> =
            intents.iter().filter_map(Intent::upsert).filter_map(|upsert| upsert.by.marker()).collect();
        let markers: HashMap<_, Item> = markers.iter().map(|marker| (place(&marker.key()), marker.key())).collect();
        let holders: HashMap<_, Item> = match markers.len() {
            0 => HashMap::new(),
            _ => self
                .table()
                .batch_get_latest(markers.into_values().collect())
                .await?
                .into_iter()
                .map(of_place)
                .collect(),
        };
        let key_of = |intent: &Intent| {
            let collection = intent.grant.collection();
            match intent.upsert().map(|upsert| &upsert.by) {
                None => intent.needs(),
                Some(UpsertKey::Id(id)) => Some(key(collection, id)),
                Some(UpsertKey::Unique(marker)) => {
                    let holder = holders.get(&place(&marker.key())).and_then(Marker::holder);
                    holder.map(|holder| key(collection, holder))
                }
            }
        };
        Ok(intents.iter().map(key_of).collect())
    }

    fn resolved<'a>(&self, intent: &Intent, upsert: &'a Upsert, stored: Option<Record>) -> Result<Resolved<'a>> {
        let collection = intent.grant.collection();
        let named = stored.filter(|record| match &upsert.by {
            UpsertKey::Id(_) => true,
            UpsertKey::Unique(marker) => marker.is_held_by(collection, record),
        });
        let of_import = |record: &Record| upsert.row.as_ref().and_then(|row| row.written(record));
        if let Some(written) = named.as_ref().and_then(of_import) {
            return Err(written);
        }
        match named {
            Some(record) if !record.deleted => {
                let is_read = |change: &&Intent| change.grant.allows_reading(&record.view());
                let Some(change) = upsert.change.as_ref().filter(is_read) else {
                    return Err(upsert.refusal(&intent.preconditions));
                };
                let change = Intent { id: record.id.clone(), ..change.clone() };
                Ok(Resolved { intent: Cow::Owned(change), stored: Some(record), upsert: Some(upsert) })
            }
            Some(deleted) if self.is_there(&deleted) && !upsert.may_restore(&deleted) => {
                Err(upsert.refusal(&intent.preconditions))
            }
            deleted => {
                if intent.preconditions.if_match != IfMatch::Absent {
                    return Err(OTHER_VERSION);
                }
                let create = upsert.create.as_ref().map_err(Error::clone)?;
                Ok(Resolved { intent: Cow::Borrowed(create), stored: deleted, upsert: Some(upsert) })
            }
        }
    }
}

fn of_place(found: Item) -> ([Option<String>; 2], Item) {
    (place(&found), found)
}

/// Refuses upserts that come to a record which another of these writes changes: a transaction writes an item once.
///
/// # Errors
/// `Invalid` for the later of the two.
pub(super) fn distinct(writes: &[Write<'_>]) -> Result<(), Failed> {
    let mut earlier = HashMap::new();
    for (position, write) in writes.iter().enumerate() {
        if let Some(first) = earlier.insert(place(&write.key()), position) {
            return Err(Failed::Each(vec![(position, twice(first))]));
        }
    }
    Ok(())
}

/// The error when an earlier operation of a batch writes the same record.
pub fn twice(first: usize) -> Error {
    let message = format!("Operation {first} of this batch writes the same record. Combine the two.");
    Error::field("/path", "twice", message)
}

impl Intent {
    fn upsert(&self) -> Option<&Upsert> {
        match &self.what {
            What::Upsert(upsert) => Some(upsert),
            _ => None,
        }
    }
}

impl ImportedRow {
    /// The code of a row whose record a later row wrote before. Only an import's result shows it.
    pub const OVERTAKEN: &str = "overtaken";

    /// The id of the request that writes this row.
    pub fn request(&self) -> String {
        format!("{}:{}", self.job, self.line)
    }

    /// The error if this or a later row wrote the record last.
    fn written(&self, record: &Record) -> Option<Error> {
        let line = record.request_id.strip_prefix(&self.job)?.strip_prefix(':')?.parse::<u64>().ok()?;
        match line.cmp(&self.line) {
            Ordering::Less => None,
            // An import sends no other condition.
            Ordering::Equal => Some(Error::PreconditionFailed("This row of the import has written the record.")),
            Ordering::Greater => {
                let detail = "A later row of the file wrote the record before this one could be merged into it. Import it alone.";
                Some(Error::Conflict { code: Self::OVERTAKEN, detail: detail.into() })
            }
        }
    }
}

impl UpsertKey {
    /// The value of a unique constraint in this data. `None` if a field is absent or null.
    pub fn of_value(collection: &Collection, fields: &[String], data: &Map<String, Value>) -> Option<Self> {
        Marker::of(collection, fields, data).map(Self::Unique)
    }

    /// The id, or the value of the constraint as a hash.
    pub fn name(&self) -> &str {
        match self {
            Self::Id(id) => id,
            Self::Unique(marker) => marker.value(),
        }
    }

    fn marker(&self) -> Option<&Marker> {
        match self {
            Self::Id(_) => None,
            Self::Unique(marker) => Some(marker),
        }
    }
}

impl Upsert {
    /// The value by which no record was found, if this is what it comes to.
    pub(super) fn missed(&self, intent: &Intent) -> Option<&Marker> {
        matches!(intent.what, What::Create(_)).then(|| self.by.marker()).flatten()
    }

    fn may_restore(&self, deleted: &Record) -> bool {
        self.restore.iter().any(|grant| may_bring_back(grant, deleted))
    }

    /// The error when a record which the caller may not read and change has the key. It is that of a create with the same data.
    pub(super) fn refusal(&self, preconditions: &Preconditions) -> Error {
        match (&self.create, &self.by) {
            _ if preconditions.if_match != IfMatch::Absent => OTHER_VERSION,
            (Err(error), _) => error.clone(),
            (Ok(_), UpsertKey::Unique(marker)) => marker.taken(),
            (Ok(_), UpsertKey::Id(_)) => Error::conflict("not_unique", "Another record already has this id."),
        }
    }
}
