//! A record: the client's data and the attributes the store keeps beside it.
//!
//! | attribute | what |
//! |---|---|
//! | `pk`, `sk` | partition (see [`keys`](super::keys)) and id |
//! | `d` | the data, a map |
//! | `v` | version, from 1 |
//! | `ca`, `ua` | created and last changed, RFC 3339 |
//! | `by`, `rid` | who wrote it last, and under which request |
//! | `del`, `ttl` | when it was deleted, and when the tombstone may go |
//! | `follow` | on a tombstone: what to do with the records that point at it |
//! | `cause` | on a tombstone that a cascade made: the record that was deleted first, see [`followers`](super::followers) |
//! | `lk`, `lr` | until when, and by which request, it is locked for deletion |
//! | `ix1p`, `ix1s`, ... | its keys in the declared indexes |
//! | `ei` | of a counted record: the indexes over elements that count it |
//! | `cn`, `cf` | since which definition it is counted and its changes are logged, for the [`change_log`](super::change_log) |

use super::item::{self, Item, integer, number, string, text};
use super::keys::{record_partition, shard_of};
use crate::clock::rfc3339;
use crate::error::{Error, Result};
use crate::expr::RecordRef;
use crate::policy::Grant;
use crate::query::Index;
use crate::response_size::{self, BESIDE_DATA};
use crate::schema::Collection;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Map, Value};

/// A record.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// UUIDv7.
    pub id: String,
    /// When it was created.
    pub created_at: String,
    /// When it was last changed.
    pub updated_at: String,
    /// The number of writes.
    pub version: u64,
    /// The client's data.
    pub data: Map<String, Value>,
    /// Whether it is a tombstone.
    pub deleted: bool,
    /// When its tombstone expires, in seconds since the Unix epoch. DynamoDB removes it later.
    pub gone_at: Option<u64>,
    /// Who wrote it last; for a tombstone, who deleted it.
    pub written_by: String,
    /// The request that wrote it last.
    pub request_id: String,
}

impl Record {
    /// The record as rules and indexes read it.
    pub fn view(&self) -> RecordRef<'_> {
        RecordRef {
            id: &self.id,
            created_at: &self.created_at,
            updated_at: &self.updated_at,
            version: self.version,
            data: &self.data,
        }
    }

    /// The record as the grant's caller may see it.
    pub fn shown(&self, grant: &Grant) -> Map<String, Value> {
        let mut shown = Map::new();
        shown.insert("id".into(), self.id.clone().into());
        shown.insert("createdAt".into(), self.created_at.clone().into());
        shown.insert("updatedAt".into(), self.updated_at.clone().into());
        shown.insert("version".into(), self.version.into());
        shown.extend(self.seen(grant).map(|(name, value)| (name.clone(), value.clone())));
        shown
    }

    /// The record in the response to a write: what the grant's caller may see, or only id and version if they may not read
    /// the record.
    pub fn shown_to_writer(&self, grant: &Grant) -> Map<String, Value> {
        if grant.allows_reading(&self.view()) {
            return self.shown(grant);
        }
        Map::from_iter([("id".to_owned(), self.id.clone().into()), ("version".to_owned(), self.version.into())])
    }

    /// Its size in the response to a write.
    pub fn weight_to_writer(&self, grant: &Grant) -> usize {
        if grant.allows_reading(&self.view()) { self.weight(grant) } else { BESIDE_DATA }
    }

    /// Its size in a response, as the grant's caller sees it: see [`response_size`].
    pub fn weight(&self, grant: &Grant) -> usize {
        BESIDE_DATA + response_size::of_members(self.seen(grant))
    }

    /// The data that the grant's caller may see. A field that this function does not know is left out: by the newer definition,
    /// which another function goes by already, it may be hidden.
    fn seen<'a>(&'a self, grant: &'a Grant) -> impl Iterator<Item = (&'a String, &'a Value)> {
        let is_hidden = |name: &str| grant.collection().field(name).is_none_or(|field| field.value.hidden);
        self.data.iter().filter(move |(name, _)| grant.is_admin() || !is_hidden(name))
    }

    /// The record in an item.
    pub fn from_item(found: &Item) -> Option<Self> {
        Some(Self {
            id: text(found, "sk")?.to_owned(),
            created_at: text(found, "ca")?.to_owned(),
            updated_at: text(found, "ua")?.to_owned(),
            version: integer(found, "v")?,
            data: item::to_members(found.get("d")?.as_m().ok()?),
            deleted: found.contains_key("del"),
            gone_at: integer(found, "ttl"),
            written_by: text(found, "by").unwrap_or_default().to_owned(),
            request_id: text(found, "rid").unwrap_or_default().to_owned(),
        })
    }

    /// The item of this record.
    ///
    /// # Errors
    /// `Invalid` when an index key exceeds DynamoDB's limit.
    pub fn to_item(&self, collection: &Collection) -> Result<Item> {
        let mut written = key(collection, &self.id);
        written.extend([
            ("d".to_owned(), AttributeValue::M(item::from_members(&self.data))),
            ("v".to_owned(), number(self.version)),
            ("ca".to_owned(), string(&self.created_at)),
            ("ua".to_owned(), string(&self.updated_at)),
            ("by".to_owned(), string(&self.written_by)),
            ("rid".to_owned(), string(&self.request_id)),
        ]);
        written.extend(self.derived(collection)?.into_iter().filter_map(|(name, value)| Some((name, value?))));
        Ok(written)
    }

    /// The attributes that a definition adds to a living record beside the client's data: its keys in the declared indexes,
    /// and whether the change log covers it. `None`: the attribute must be absent.
    ///
    /// # Errors
    /// `Invalid` when an index key exceeds DynamoDB's limit.
    pub fn derived(&self, collection: &Collection) -> Result<Vec<(String, Option<AttributeValue>)>> {
        let definition = collection.definition();
        let mut derived = vec![
            ("cn".to_owned(), definition.counted_since.map(number)),
            ("cf".to_owned(), definition.followed_since.map(number)),
        ];
        derived.push(("ei".to_owned(), counted_elements(collection).map(string)));
        for (slot, place) in collection.index_keys(&self.view()).map_err(Error::Invalid)? {
            let (partition, sort) = place.map(|place| (place.partition, place.sort)).unzip();
            derived.push((format!("ix{slot}p"), partition.map(string)));
            derived.push((format!("ix{slot}s"), sort.map(|sort| AttributeValue::B(Blob::new(sort)))));
        }
        Ok(derived)
    }
}

/// The indexes over elements in whose partitions a record of this collection is counted. The relay finds a record's
/// partitions by them and its data.
fn counted_elements(collection: &Collection) -> Option<String> {
    let definition = collection.definition();
    let kept = definition.indexes.iter().filter(|index| index.is_of_elements() && index.is_kept());
    let kept: Vec<Index> = kept.map(|index| Index { ready: true, retiring: false, ..index.clone() }).collect();
    (definition.counted_since.is_some() && !kept.is_empty()).then(|| serde_json::to_string(&kept).ok())?
}

/// The key of a record.
pub fn key(collection: &Collection, id: &str) -> Item {
    let definition = collection.definition();
    let shards = definition.shards_at(crate::id::millis(id).unwrap_or_default());
    let shard = shard_of(id, shards.into());
    item::key(&record_partition(&definition.name, definition.generation, shard), id)
}

/// The item of a new user's profile in the system collection `users`, for the transaction that creates the account.
pub fn profile_item(id: &str, email: &str) -> Item {
    let now = rfc3339(crate::id::millis(id).unwrap_or_default());
    let mut written = item::key(&record_partition("users", 1, 0), id);
    let data = Map::from_iter([("email".to_owned(), Value::from(email))]);
    written.extend([
        ("d".to_owned(), AttributeValue::M(item::from_members(&data))),
        ("v".to_owned(), number(1)),
        ("ca".to_owned(), string(&now)),
        ("ua".to_owned(), string(&now)),
        ("by".to_owned(), string(id)),
    ]);
    written
}
