//! What callers want written, decided: each intent and the record it is about become a write, with the condition under
//! which that decision still holds. `commit` makes them, all or none.

use super::Expression;
use super::commit::{Committed, PendingResponse};
use super::item::{self, Item, number, string};
use super::record::{Record, key};
use super::records::{OTHER_VERSION, Records, TOMBSTONE_SECONDS, TRIES, alive, changed, withhold_price};
use super::references::Locks;
use super::targets::unmoved;
use super::undelete::brought_back;
use super::unique::{Marker, markers};
use crate::clock::rfc3339;
use crate::cost;
use crate::error::{Error, Result};
use crate::expr::Input;
use crate::id;
use crate::policy::Grant;
use crate::preconditions::Preconditions;
use crate::schema::{Collection, OnDelete, Referrer};
use serde_json::{Map, Value};
use std::sync::Arc;

/// A record that another one points at, to be seen alive by the write that makes it point there.
#[derive(Debug, Clone)]
pub struct Target {
    /// The field that names it.
    pub field: String,
    /// What its deletion means for the record that points at it.
    pub on_delete: OnDelete,
    /// Its collection.
    pub collection: Arc<Collection>,
    /// The rights to point at records of that collection, as far as they are known without the record. One is enough.
    pub grants: Vec<Grant>,
    /// Its id.
    pub id: String,
}

/// What is to become of a record.
#[derive(Debug, Clone)]
pub enum What {
    /// It is made, with this data, which has been validated.
    Create(Map<String, Value>),
    /// It gets these members, and only these.
    Replace(Map<String, Value>),
    /// It gets a JSON Merge Patch (RFC 7396).
    Merge {
        /// The patch.
        patch: Map<String, Value>,
        /// Whether it has been validated, and schema and indexes allow it to be written unread.
        blind: bool,
    },
    /// It becomes a tombstone.
    Delete,
    /// It comes back from its tombstone.
    Undelete,
}

impl What {
    /// The members that the client sent, if any.
    pub fn sent(&self) -> Option<&Map<String, Value>> {
        match self {
            Self::Create(sent) | Self::Replace(sent) | Self::Merge { patch: sent, .. } => Some(sent),
            Self::Delete | Self::Undelete => None,
        }
    }

    /// The members of which it says something.
    fn named(&self, collection: &Collection) -> Map<String, Value> {
        match self {
            Self::Replace(body) => collection.named_by_replacement(body),
            other => other.sent().cloned().unwrap_or_default(),
        }
    }
}

/// What a caller who may wants written.
#[derive(Debug, Clone)]
pub struct Intent {
    /// That they may, as far as it can be known without the record.
    pub grant: Grant,
    /// The record's id.
    pub id: String,
    /// What is to become of it.
    pub what: What,
    /// Under which conditions.
    pub preconditions: Preconditions,
    /// The records it will point at.
    pub targets: Vec<Target>,
}

impl Intent {
    /// Whether others may restrict its record from being deleted.
    pub fn is_restricted(&self) -> bool {
        let referrers = &self.grant.collection().definition().referrers;
        referrers.iter().any(|referrer| referrer.on_delete == OnDelete::Restrict)
    }

    /// Whether its targets are what this data points at. A user is there anyhow.
    pub(super) fn looks_where(&self, data: &Map<String, Value>) -> bool {
        let looked_at = |field: &str| self.targets.iter().find(|target| target.field == field);
        let mut relations = self.grant.collection().relations().filter(|(_, relation)| relation.collection != "users");
        relations.all(|(field, _)| {
            data.get(field).and_then(Value::as_str) == looked_at(field).map(|target| target.id.as_str())
        })
    }
}

/// A write that has been decided.
#[derive(Debug)]
pub(super) struct Write<'a> {
    pub intent: &'a Intent,
    /// The record as it will be.
    pub record: Record,
    /// What must hold of what is stored.
    pub condition: Expression,
    /// The unique values that the record holds, and goes on holding as long as the condition does.
    pub held: Vec<Marker>,
    /// The fields that point where they pointed before.
    pub unmoved: Vec<String>,
}

/// Why nothing was written.
#[derive(Debug)]
pub enum Failed {
    /// For a reason that is of no single intent.
    Whole(Error),
    /// For these intents, by position.
    Each(Vec<(usize, Error)>),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Whole(error)
    }
}

impl Failed {
    /// Why the only intent failed.
    pub fn single(self) -> Error {
        match self {
            Self::Whole(error) => error,
            Self::Each(errors) => match errors.into_iter().next() {
                Some((_, error)) => error,
                None => Error::internal("a failure without a reason"),
            },
        }
    }
}

impl Records {
    /// Does what one intent says, by the shortest way there is: one conditional write where schema, rule and the absence of a
    /// key to keep allow it.
    ///
    /// # Errors
    /// `NotFound`, `PreconditionFailed`, `Conflict`, `Invalid`: as each kind of intent has them.
    pub async fn write_one(
        &self,
        intent: &Intent,
        request: &str,
        pending: Option<&PendingResponse<'_>>,
    ) -> Result<Record> {
        if pending.is_none()
            && let Some(record) = self.unread(intent, request).await?
        {
            return Ok(record);
        }
        let written = self.write(std::slice::from_ref(intent), request, pending).await.map_err(Failed::single)?;
        written.into_iter().next().ok_or_else(|| Error::internal("a write without a record"))
    }

    /// Does what all intents say, or nothing. Without a version to hold on to it tries again on what another has left.
    ///
    /// # Errors
    /// Every intent that cannot be done, and why.
    pub async fn write(
        &self,
        intents: &[Intent],
        request: &str,
        pending: Option<&PendingResponse<'_>>,
    ) -> Result<Vec<Record>, Failed> {
        let mut locks = Locks::of(request);
        let outcome = self.write_under(&mut locks, intents, request, pending).await;
        if outcome.is_err() {
            self.unlock(locks).await;
        }
        outcome
    }

    async fn write_under(
        &self,
        locks: &mut Locks<'_>,
        intents: &[Intent],
        request: &str,
        pending: Option<&PendingResponse<'_>>,
    ) -> Result<Vec<Record>, Failed> {
        for _ in 0..TRIES {
            self.in_time(intents)?;
            let stored = self.before(intents).await?;
            let decided = intents.iter().zip(stored).map(|(intent, stored)| self.decide(intent, stored, request));
            let mut writes = all_or_errors(decided)?;
            if !self.lock_restricted(&mut writes, locks).await? {
                continue;
            }
            match self.commit(&writes, pending).await? {
                Committed::Done => return Ok(writes.into_iter().map(|write| write.record).collect()),
                Committed::Refused { position, old } => {
                    // Our own retry after a lost answer: the first try had arrived.
                    if old.as_ref().and_then(|old| item::text(old, "rid")) == Some(request) {
                        return Ok(writes.into_iter().map(|write| write.record).collect());
                    }
                    if let Some(error) = writes.get(position).and_then(|write| lost(write.intent)) {
                        return Err(Failed::Each(vec![(position, error)]));
                    }
                }
            }
        }
        Err(Failed::Whole(Error::Unavailable {
            retry_after: 1,
            source: Some("a record is written faster than it can be read".into()),
        }))
    }

    /// Whether the definitions that decided these writes may still be acted on: see `lease`.
    pub(super) fn in_time<'a>(&self, intents: impl IntoIterator<Item = &'a Intent>) -> Result<()> {
        intents.into_iter().try_for_each(|intent| {
            self.acts_in_time(intent.grant.collection())?;
            intent.targets.iter().try_for_each(|target| self.acts_in_time(&target.collection))
        })
    }

    /// The records as they are, where the decisions need them: one round trip for all.
    async fn before(&self, intents: &[Intent]) -> Result<Vec<Option<Record>>> {
        self.each(&intents.iter().map(Intent::needs).collect::<Vec<_>>()).await
    }

    fn decide<'a>(&self, intent: &'a Intent, stored: Option<Record>, request: &str) -> Result<Write<'a>> {
        let (record, condition, held, unmoved) = match &intent.what {
            What::Create(data) => {
                let absent = Expression::new("attribute_not_exists(pk)");
                (self.made(intent, data, request)?, absent, Vec::new(), Vec::new())
            }
            what => {
                let stored = stored.filter(|record| self.is_there(record)).ok_or(Error::NotFound("record"))?;
                withhold_price(intent, &stored);
                let state = match what {
                    What::Undelete => Expression::new("attribute_exists(del)"),
                    _ => alive(),
                };
                let condition = state.and(Expression::new("v = :v").value(":v", number(stored.version)));
                let held = held(intent.grant.collection(), &stored);
                let unmoved = unmoved(intent, &stored);
                (self.after(intent, stored, request)?, condition, held, unmoved)
            }
        };
        Ok(Write { intent, record, condition, held, unmoved })
    }

    /// A new record. It is as old as its id says: lists by time read the ids.
    fn made(&self, intent: &Intent, data: &Map<String, Value>, request: &str) -> Result<Record> {
        let created_at = rfc3339(id::millis(&intent.id).ok_or(Error::NotFound("record"))?);
        Ok(Record {
            id: intent.id.clone(),
            updated_at: self.now().max(created_at.clone()),
            created_at,
            version: 1,
            data: data.clone(),
            deleted: false,
            gone_at: None,
            written_by: intent.grant.caller().to_owned(),
            request_id: request.to_owned(),
        })
    }

    /// Whether the record, or its tombstone, is still kept.
    pub(super) fn is_there(&self, record: &Record) -> bool {
        !record.deleted || record.gone_at.is_none_or(|gone| self.seconds() < gone)
    }

    /// A stored record as it will be, if the caller may and the conditions hold. What they may not see does not exist (R64),
    /// and what is wrong with a change is told to those who may make one.
    fn after(&self, intent: &Intent, stored: Record, request: &str) -> Result<Record> {
        let Intent { grant, preconditions, .. } = intent;
        let nowhere = || Error::NotFound("record");
        let data = match &intent.what {
            What::Undelete => brought_back(intent, &stored)?,
            _ if stored.deleted => return Err(nowhere()),
            What::Replace(_) | What::Merge { .. } => {
                let (nothing, sent) = (Map::new(), intent.what.named(grant.collection()));
                let may = grant.allows(&stored.view(), Input::Change { whole: &stored.data, sent: &nothing });
                let data = changed(grant, &stored, &intent.what);
                let data = data.map_err(|error| if may { error } else { nowhere() })?;
                let input = Input::Change { whole: &data, sent: &sent };
                if !grant.allows(&stored.view(), input) {
                    return Err(nowhere());
                }
                data
            }
            _ => stored.data.clone(),
        };
        if matches!(intent.what, What::Delete) && !grant.allows(&stored.view(), Input::None) {
            return Err(nowhere());
        }
        if !preconditions.allow(stored.version) {
            return Err(OTHER_VERSION);
        }
        Ok(Record {
            updated_at: self.now(),
            version: stored.version + 1,
            written_by: grant.caller().to_owned(),
            request_id: request.to_owned(),
            deleted: matches!(intent.what, What::Delete),
            gone_at: None,
            data,
            ..stored
        })
    }

    /// Now, as records keep it.
    pub(super) fn now(&self) -> String {
        rfc3339(self.clock().millis())
    }

    /// How a record becomes a tombstone: its places in the indexes go, its data stays for whoever undeletes it. What must follow in
    /// the records that point at it is written down with it, so that the stream can tell.
    pub(super) fn soft_delete(&self, grant: &Grant, request: &str) -> Expression {
        let definition = grant.collection().definition();
        let remove: String = definition.indexes.iter().map(|index| format!(", ix{0}p, ix{0}s", index.slot)).collect();
        let follow: Vec<&Referrer> =
            definition.referrers.iter().filter(|referrer| referrer.on_delete != OnDelete::Restrict).collect();
        let deleted = Expression::new("SET v = v + :one, ua = :now, del = :now, #ttl = :ttl, #by = :by, rid = :rid")
            .name("#ttl", "ttl")
            .name("#by", "by")
            .value(":one", number(1))
            .value(":now", string(self.now()))
            .value(":ttl", number(self.seconds() + TOMBSTONE_SECONDS))
            .value(":by", string(grant.caller()))
            .value(":rid", string(request));
        let mut deleted = match serde_json::to_string(&follow) {
            Ok(follow) if follow != "[]" => {
                let text = format!("{}, follow = :follow", deleted.text);
                Expression { text, ..deleted.value(":follow", string(follow)) }
            }
            _ => deleted,
        };
        deleted.text.push_str(&format!(" REMOVE lk, lr{remove}"));
        deleted
    }
}

impl Intent {
    /// The key of its record, if what becomes of it depends on what it is.
    fn needs(&self) -> Option<Item> {
        match self.what {
            What::Create(_) => None,
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

/// The unique values that are this record's already. Of a constraint that is still to come, records from before may not have
/// claimed theirs.
fn held(collection: &Collection, stored: &Record) -> Vec<Marker> {
    if stored.deleted {
        return Vec::new();
    }
    let to_come = collection.definition().claims();
    markers(collection, &stored.data).into_iter().filter(|marker| !to_come.contains(marker.fields())).collect()
}

/// What a refused write means where trying again would not be right: the record is not what the client said it is.
fn lost(intent: &Intent) -> Option<Error> {
    match intent.what {
        What::Create(_) => {
            // That the id is taken cannot be hidden; how large the record is can.
            cost::withhold();
            Some(Error::PreconditionFailed("a record with this id exists, or has existed"))
        }
        _ if intent.preconditions.name_a_version() => Some(OTHER_VERSION),
        _ => None,
    }
}

fn all_or_errors<'a>(decided: impl Iterator<Item = Result<Write<'a>>>) -> Result<Vec<Write<'a>>, Failed> {
    let (mut writes, mut errors) = (Vec::new(), Vec::new());
    for (position, write) in decided.enumerate() {
        match write {
            Ok(write) => writes.push(write),
            Err(error) => errors.push((position, error)),
        }
    }
    if errors.is_empty() { Ok(writes) } else { Err(Failed::Each(errors)) }
}
