//! Definitions of collections: items of the `Records` table, and a cache in front of them.
//!
//! A definition may be acted upon for [`STALE_SECONDS`] after it was read, and a write takes its time besides. So what has to
//! be done to stored records because a definition changed begins [`SETTLED_SECONDS`] after it did: no function then still
//! writes the old way, and nobody had to wait.

use super::item::{self, Item, string, text};
use super::keys::DEFINITIONS;
use super::{Expression, Query, Table, Transacted, Written};
use crate::aws::OPERATION_SECONDS;
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::schema::{Collection, Definition, is_collection_name};
use aws_sdk_dynamodb::types::{Put, TransactWriteItem};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// How long a function may act on a definition it has read, in seconds.
pub const STALE_SECONDS: u64 = 5;
/// How long after it was asked for a write may begin, in seconds. A write that met others and tries again stops then.
pub const WRITE_SECONDS: u64 = 2;
/// After this many seconds no write by an earlier definition can still arrive.
pub const SETTLED_SECONDS: u64 = STALE_SECONDS + WRITE_SECONDS + OPERATION_SECONDS + 1;
/// How far a client's clock, and so the time in an id of the client's, may be ahead of ours, in seconds.
const AHEAD_SECONDS: u64 = 60;
/// After this many seconds every id that carries a later time is made by an up-to-date function.
pub const SHARDS_SECONDS: u64 = SETTLED_SECONDS + AHEAD_SECONDS;
/// Most collections of a stack.
pub const MAX_COLLECTIONS: usize = 200;

/// A definition as it is stored.
#[derive(Debug, Clone)]
pub struct Stored {
    /// The definition.
    pub definition: Definition,
    /// What it is in force for.
    pub stage: State,
}

/// What a stored definition is in force for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Reading and writing.
    Ready,
    /// Nothing: the collection was deleted. What stays is its generation, so that a later one of the same name never meets
    /// what is left of this one.
    Gone,
}

/// Definitions, cached.
#[derive(Debug)]
pub struct Definitions {
    table: Table,
    clock: Clock,
    cache: Mutex<HashMap<String, Cached>>,
    fetching: Mutex<HashMap<String, Arc<Fetching>>>,
}

/// A collection that is being fetched, for all who ask for it meanwhile. `None`: it could not be.
type Fetching = tokio::sync::OnceCell<Option<Option<Arc<Collection>>>>;

#[derive(Debug, Clone)]
struct Cached {
    collection: Arc<Collection>,
    read_at: u64,
}

impl Definitions {
    /// Definitions in `table`.
    pub fn new(table: Table, clock: Clock) -> Self {
        Self { table, clock, cache: Mutex::default(), fetching: Mutex::default() }
    }

    /// A collection, at most [`STALE_SECONDS`] old. `None` if there is none; that is never remembered.
    pub async fn collection(&self, name: &str) -> Result<Option<Arc<Collection>>> {
        if !is_collection_name(name) {
            return Ok(None);
        }
        match self.fresh(name) {
            Some(collection) => Ok(Some(collection)),
            None => self.fetched_together(name).await,
        }
    }

    fn fresh(&self, name: &str) -> Option<Arc<Collection>> {
        let cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.millis();
        let fresh = cache.get(name).filter(|cached| now < cached.read_at + STALE_SECONDS * 1000);
        fresh.map(|cached| cached.collection.clone())
    }

    /// Fetches a collection. Whoever comes while another is fetching it, as every operation of a batch does, waits for what that
    /// brings: one round trip for all.
    async fn fetched_together(&self, name: &str) -> Result<Option<Arc<Collection>>> {
        let fetchings = || self.fetching.lock().unwrap_or_else(PoisonError::into_inner);
        let fetching = fetchings().entry(name.to_owned()).or_default().clone();
        let mut failure = None;
        let fetch = async || match self.fetched(name).await {
            Ok(found) => Some(found),
            Err(error) => {
                failure = Some(error);
                None
            }
        };
        let found = fetching.get_or_init(fetch).await.clone();
        let mut fetchings = fetchings();
        if fetchings.get(name).is_some_and(|current| Arc::ptr_eq(current, &fetching)) {
            fetchings.remove(name);
        }
        // Why it could not be fetched is told by whoever tried.
        found.ok_or_else(|| failure.unwrap_or(Error::Unavailable { retry_after: 1, source: None }))
    }

    async fn fetched(&self, name: &str) -> Result<Option<Arc<Collection>>> {
        let now = self.clock.millis();
        let found = if name == "users" {
            Some(Stored { definition: Definition::users(), stage: State::Ready })
        } else {
            self.get(name).await?.filter(|stored| stored.stage != State::Gone)
        };
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(found) = found else {
            cache.remove(name);
            return Ok(None);
        };
        // Compiling costs more than reading: what has not changed is not compiled again.
        let known = cache.get(name).filter(|cached| *cached.collection.definition() == found.definition);
        let collection = match known {
            Some(cached) => cached.collection.clone(),
            None => Arc::new(
                Collection::compile(found.definition).map_err(|errors| Error::internal(format!("{errors:?}")))?,
            ),
        };
        cache.insert(name.to_owned(), Cached { collection: collection.clone(), read_at: now });
        Ok(Some(collection))
    }

    /// A definition as it is stored right now, even of a collection that is gone.
    pub async fn get(&self, name: &str) -> Result<Option<Stored>> {
        if !is_collection_name(name) {
            return Ok(None);
        }
        self.table.get(DEFINITIONS, name, true).await?.map(|found| from_item(&found)).transpose()
    }

    /// All definitions, by name.
    pub async fn all(&self) -> Result<Vec<Stored>> {
        let key = Expression::new("pk = :pk").value(":pk", string(DEFINITIONS));
        let mut query = Query { key, forward: true, limit: 1_000, ..Query::default() };
        let mut all = Vec::new();
        loop {
            let page = self.table.query(&query).await?;
            for found in &page.items {
                all.push(from_item(found)?);
            }
            query.after = page.last_key;
            if query.after.is_none() {
                all.retain(|stored| stored.stage != State::Gone);
                return Ok(all);
            }
        }
    }

    /// Stores a definition if the one stored is still of version `previous` (0: there is none).
    ///
    /// # Errors
    /// `Conflict` when somebody else has changed it meanwhile.
    pub async fn put(&self, definition: &Definition, state: State, previous: u64) -> Result<()> {
        let written = to_item(definition, state)?;
        match self.table.put(written.clone(), is_version(previous)).await? {
            Written::Done(()) => Ok(()),
            // Our own retry after a lost answer: the first try had arrived.
            Written::Refused(Some(old)) if old == written => Ok(()),
            Written::Refused(_) => Err(CHANGED()),
        }
    }

    /// Stores a definition as [`Definitions::put`] does, and with it what must be written with it: all, or nothing.
    ///
    /// # Errors
    /// `Conflict` when somebody else has changed it, or another definition that changes with it, meanwhile.
    pub async fn put_with(
        &self,
        definition: &Definition,
        state: State,
        previous: u64,
        others: Vec<TransactWriteItem>,
    ) -> Result<()> {
        if others.is_empty() {
            return self.put(definition, state, previous).await;
        }
        let mut all = vec![self.putting(definition, state, previous)?];
        all.extend(others);
        match self.table.transact(all).await? {
            Transacted::Done => Ok(()),
            Transacted::Conflicted(_) => Err(Transacted::CONFLICT),
            Transacted::Refused(_) => Err(CHANGED()),
        }
    }

    /// The storing of a definition as a part of a transaction.
    pub fn putting(&self, definition: &Definition, state: State, previous: u64) -> Result<TransactWriteItem> {
        let condition = is_version(previous);
        let put = Put::builder()
            .table_name(self.table.name())
            .set_item(Some(to_item(definition, state)?))
            .condition_expression(&condition.text)
            .set_expression_attribute_values(condition.values())
            .build()
            .map_err(Error::internal)?;
        Ok(TransactWriteItem::builder().put(put).build())
    }

    /// The table, for what is kept beside definitions.
    pub fn table(&self) -> &Table {
        &self.table
    }
}

fn is_version(previous: u64) -> Expression {
    match previous {
        0 => Expression::new("attribute_not_exists(pk)"),
        version => Expression::new("v = :previous").value(":previous", item::number(version)),
    }
}

const CHANGED: fn() -> Error =
    || Error::conflict("changed", "somebody else has changed this definition: read it and try again");

fn to_item(definition: &Definition, state: State) -> Result<Item> {
    let mut found = item::key(DEFINITIONS, &definition.name);
    let text = serde_json::to_string(definition).map_err(Error::internal)?;
    found.insert("definition".into(), string(text));
    found.insert("v".into(), item::number(definition.version));
    if state == State::Gone {
        found.insert("gone".into(), item::from_json(&true.into()));
    }
    Ok(found)
}

fn from_item(found: &Item) -> Result<Stored> {
    let stored = text(found, "definition").unwrap_or_default();
    let definition = serde_json::from_str(stored).map_err(Error::internal)?;
    let stage = if found.contains_key("gone") { State::Gone } else { State::Ready };
    Ok(Stored { definition, stage })
}
