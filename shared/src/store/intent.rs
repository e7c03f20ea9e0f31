//! What a caller wants written, and what was decided of it: the types that the write path hands on.
//!
//! An [`Intent`] is decided in `write` upon the stored record and becomes a [`Write`], which `commit` makes.

use super::Expression;
use super::idempotency::{ScopedKey, StoredResponse};
use super::item::Item;
use super::record::{Record, key};
use super::unique::Marker;
use crate::error::Error;
use crate::policy::Grant;
use crate::preconditions::Preconditions;
use crate::schema::{Collection, OnDelete};
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
    Merge(Map<String, Value>),
    /// It becomes a tombstone.
    Delete,
    /// It comes back from its tombstone.
    Undelete,
}

impl What {
    /// The members that the client sent, if any.
    pub fn sent(&self) -> Option<&Map<String, Value>> {
        match self {
            Self::Create(sent) | Self::Replace(sent) | Self::Merge(sent) => Some(sent),
            Self::Delete | Self::Undelete => None,
        }
    }

    /// The members of which it says something.
    pub(super) fn named(&self, collection: &Collection) -> Map<String, Value> {
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

impl Intent {
    /// Whether it may claim a unique value, by what the definition says and the client has sent: what is stored makes no difference.
    pub(super) fn may_claim(&self) -> bool {
        let collection = self.grant.collection();
        let definition = collection.definition();
        let has_default = |name: &str| collection.field(name).is_some_and(|field| field.default.is_some());
        let mut fields = definition.unique.iter().flatten();
        match &self.what {
            What::Delete => false,
            What::Undelete => fields.next().is_some(),
            What::Create(sent) | What::Replace(sent) => {
                fields.any(|field| sent.contains_key(field) || has_default(field))
            }
            What::Merge(patch) => fields.any(|field| patch.contains_key(field)),
        }
    }
}

impl Intent {
    /// The key of its record, if what becomes of it depends on what it is.
    pub(super) fn needs(&self) -> Option<Item> {
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

/// A key, and the answer to keep for it, once it is known what is written.
pub struct PendingResponse<'a> {
    /// The key.
    pub scoped_key: &'a ScopedKey,
    /// The answer.
    pub answer: &'a (dyn Fn(&[&Record]) -> StoredResponse + Sync),
}

/// How a commit ended.
#[derive(Debug)]
pub(super) enum Committed {
    /// All of it was written.
    Done,
    /// Nothing was: what is stored is not what the write at this position was decided upon.
    Refused { position: usize, old: Option<Item> },
}
