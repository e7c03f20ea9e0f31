//! The types that the write path passes on: what a caller wants written, and the decision.
//!
//! `write` decides an [`Intent`] against the stored record and turns it into a [`Write`]; `commit` writes it.

use super::Expression;
use super::entries::EntryChanges;
use super::idempotency::{ScopedKey, StoredResponse};
use super::item::Item;
use super::record::{Record, key};
use super::unique::Marker;
use crate::error::Error;
use crate::operators::Operators;
use crate::policy::Grant;
use crate::preconditions::Preconditions;
use crate::schema::{Collection, OnDelete, related_ids};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

/// A record that a write points at. The transaction checks that it exists.
#[derive(Debug, Clone)]
pub struct Target {
    /// The field that holds the id.
    pub field: String,
    /// The position of the id, if the field is an array.
    pub at: Option<usize>,
    /// What its deletion does to the record that points at it.
    pub on_delete: OnDelete,
    /// Its collection.
    pub collection: Arc<Collection>,
    /// The rights to refer to records of that collection, as far as they are known without the record. One is enough.
    pub grants: Vec<Grant>,
    /// Its id.
    pub id: String,
}

/// The change to a record.
#[derive(Debug, Clone)]
pub enum What {
    /// Create it with this data, which is validated.
    Create(Map<String, Value>),
    /// Replace its members with these.
    Replace(Map<String, Value>),
    /// Apply a JSON Merge Patch (RFC 7396).
    Merge(Map<String, Value>),
    /// Apply operators, whose result depends on the stored values.
    Operate(Operators),
    /// Give it exactly this data. Only a job does that, for a new definition.
    Migrate(Map<String, Value>),
    /// Delete it: it becomes a tombstone.
    Delete,
    /// Undelete it.
    Undelete,
    /// Change the record that a key names, or create it. Resolved to one of both before every attempt.
    Upsert(Box<Upsert>),
}

/// A change if a record with this key exists, and a create otherwise.
#[derive(Debug, Clone)]
pub struct Upsert {
    /// What names the record.
    pub by: UpsertKey,
    /// The create, or why it is refused whatever is stored.
    pub create: Result<Intent, Error>,
    /// The change, under a placeholder for the id. `None` if the caller may change no record like this.
    pub change: Option<Intent>,
    /// The rights that permit to bring back a deleted record with this id. One is enough.
    pub restore: Vec<Grant>,
    /// The row of an import that it comes from.
    pub row: Option<ImportedRow>,
}

/// A row of an import. Its line is stored with the record, so that no earlier line is written after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportedRow {
    /// The job.
    pub job: String,
    /// The line in the file.
    pub line: u64,
}

/// What names the record of an upsert.
#[derive(Debug, Clone)]
pub enum UpsertKey {
    /// Its id.
    Id(String),
    /// Its value of a unique constraint.
    Unique(Marker),
}

impl What {
    /// The members that the client sent, if any. Of operators only the names are known.
    pub fn sent(&self) -> Option<&Map<String, Value>> {
        match self {
            Self::Create(sent) | Self::Replace(sent) | Self::Merge(sent) => Some(sent),
            Self::Operate(operators) => Some(operators.names()),
            Self::Migrate(_) | Self::Delete | Self::Undelete | Self::Upsert(_) => None,
        }
    }

    /// The members that the change names.
    pub(super) fn named(&self, collection: &Collection) -> Map<String, Value> {
        match self {
            Self::Replace(body) => collection.named_by_replacement(body),
            other => other.sent().cloned().unwrap_or_default(),
        }
    }
}

/// A requested write that the caller's grant permits so far.
#[derive(Debug, Clone)]
pub struct Intent {
    /// The grant, as far as it can be decided without the record.
    pub grant: Grant,
    /// The record's id.
    pub id: String,
    /// The change.
    pub what: What,
    /// The request's conditions.
    pub preconditions: Preconditions,
    /// The records it will point at.
    pub targets: Vec<Target>,
    /// For a deletion by a cascade: the record that was deleted first, so that its undelete brings this one back.
    pub cause: Option<Cause>,
}

/// A deleted record whose deletion made a cascade delete others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// Its collection.
    pub collection: String,
    /// The generation of its collection.
    pub generation: u32,
    /// Its id.
    pub id: String,
}

impl Intent {
    /// Whether other records may restrict the deletion of its record.
    pub fn is_restricted(&self) -> bool {
        let referrers = &self.grant.collection().definition().referrers;
        referrers.iter().any(|referrer| referrer.on_delete == OnDelete::Restrict)
    }

    /// Whether this data is what its targets were collected from. A user always exists.
    pub(super) fn looks_where(&self, data: &Map<String, Value>) -> bool {
        let looked_at = |field: &str| -> BTreeSet<&str> {
            let targets = self.targets.iter().filter(|target| target.field == field);
            targets.map(|target| target.id.as_str()).collect()
        };
        let mut relations = self.grant.collection().relations().filter(|(_, relation)| relation.collection != "users");
        relations.all(|(field, _)| {
            let ids = data.get(field).into_iter().flat_map(related_ids).map(|(_, id)| id);
            ids.collect::<BTreeSet<_>>() == looked_at(field)
        })
    }
}

/// A decided write.
#[derive(Debug)]
pub(super) struct Write<'a> {
    pub intent: &'a Intent,
    /// The record after the write.
    pub record: Record,
    /// The condition on the stored record.
    pub condition: Expression,
    /// The unique values that the record holds and keeps holding while the condition holds.
    pub held: Vec<Marker>,
    /// The targets that the stored record points at already: the field and the id of each.
    pub unmoved: Vec<(String, String)>,
    /// The entries in indexes over elements that change.
    pub entries: EntryChanges,
    /// The unique value by which an upsert found no record, so that it creates one.
    pub missed: Option<&'a Marker>,
}

/// A write that was made.
#[derive(Debug)]
pub struct Written<'a> {
    /// What was asked; of an upsert, what it came to.
    pub intent: Cow<'a, Intent>,
    /// The record after the write.
    pub record: Record,
}

/// Why nothing was written.
#[derive(Debug)]
pub enum Failed {
    /// A reason that concerns the request as a whole.
    Whole(Error),
    /// Errors of single intents, by position.
    Each(Vec<(usize, Error)>),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Whole(error)
    }
}

impl Failed {
    /// The error of the only intent.
    pub fn single(self) -> Error {
        match self {
            Self::Whole(error) => error,
            Self::Each(errors) => match errors.into_iter().next() {
                Some((_, error)) => error,
                None => Error::internal("a write failed without a reason"),
            },
        }
    }
}

impl Intent {
    /// Whether it may claim a unique value, according to the definition and the request alone. What is stored makes no
    /// difference.
    pub(super) fn may_claim(&self) -> bool {
        let collection = self.grant.collection();
        let definition = collection.definition();
        let has_default = |name: &str| collection.field(name).is_some_and(|field| field.default.is_some());
        let mut fields = definition.unique.iter().flatten();
        match &self.what {
            What::Delete => false,
            // It withholds its cost by itself.
            What::Upsert(_) => true,
            What::Migrate(_) | What::Undelete => fields.next().is_some(),
            What::Create(sent) | What::Replace(sent) => {
                fields.any(|field| sent.contains_key(field) || has_default(field))
            }
            What::Merge(patch) => fields.any(|field| patch.contains_key(field)),
            What::Operate(operators) => fields.any(|field| operators.names().contains_key(field)),
        }
    }
}

impl Intent {
    /// Every record that it may come to point at.
    pub fn every_target(&self) -> impl Iterator<Item = &Target> {
        let either = match &self.what {
            What::Upsert(upsert) => [upsert.create.as_ref().ok(), upsert.change.as_ref()],
            _ => [None, None],
        };
        self.targets.iter().chain(either.into_iter().flatten().flat_map(|intent| &intent.targets))
    }

    /// Whether making it twice changes more than making it once.
    pub(super) fn is_relative(&self) -> bool {
        matches!(self.what, What::Operate(_))
    }

    /// The key of its record, if the decision depends on the stored record.
    pub(super) fn needs(&self) -> Option<Item> {
        match self.what {
            What::Create(_) | What::Upsert(_) => None,
            _ => Some(key(self.grant.collection(), &self.id)),
        }
    }
}

impl Write<'_> {
    /// The key of its record.
    pub fn key(&self) -> Item {
        key(self.intent.grant.collection(), &self.intent.id)
    }
}

/// Makes the response from what was asked and the written records.
pub type ToResponse = dyn Fn(&[(&Intent, &Record)]) -> StoredResponse + Sync;

/// An idempotency key, and the response to store once the written records are known.
pub struct PendingResponse<'a> {
    /// The key.
    pub scoped_key: &'a ScopedKey,
    /// The response.
    pub answer: &'a ToResponse,
}

/// The outcome of a commit.
#[derive(Debug)]
pub(super) enum Committed {
    /// Everything was written.
    Done,
    /// Nothing was written: the stored record differs from the one that the write at this position was decided on.
    Refused { position: usize, old: Option<Item> },
    /// Nothing was written: meanwhile another request created a record with the key of an upsert.
    Overtaken,
}
