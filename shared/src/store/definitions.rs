//! Definitions of collections: items of the `Records` table, and a cache in front of them.
//!
//! A definition may be acted upon for [`STALE_SECONDS`] after it was read, and a write takes its time besides. Whoever changes
//! how records are stored waits [`SETTLED_SECONDS`] between announcing the change (`changing`) and making it, so that no
//! function still writes the old way.

use super::item::{self, Item, string, text};
use super::keys::DEFINITIONS;
use super::{Expression, Query, Table, Written};
use crate::aws::OPERATION_SECONDS;
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::schema::{Collection, Definition, is_collection_name};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// How long a function may act on a definition it has read, in seconds.
pub const STALE_SECONDS: u64 = 5;
/// How long after it was asked for a write may begin, in seconds. A write that met others and tries again stops then.
pub const WRITE_SECONDS: u64 = 2;
/// After this many seconds no write by an earlier definition can still arrive.
pub const SETTLED_SECONDS: u64 = STALE_SECONDS + WRITE_SECONDS + OPERATION_SECONDS + 1;
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
    /// Reading; how records are stored is about to change.
    Changing,
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
}

#[derive(Debug, Clone)]
struct Cached {
    collection: Arc<Collection>,
    changing: bool,
    read_at: u64,
}

impl Definitions {
    /// Definitions in `table`.
    pub fn new(table: Table, clock: Clock) -> Self {
        Self { table, clock, cache: Mutex::default() }
    }

    /// A collection to read from, at most [`STALE_SECONDS`] old. `None` if there is none; that is never remembered.
    pub async fn collection(&self, name: &str) -> Result<Option<Arc<Collection>>> {
        Ok(self.cached(name).await?.map(|cached| cached.collection))
    }

    /// A collection to write to.
    ///
    /// # Errors
    /// `Unavailable` while its storage is being changed.
    pub async fn writable(&self, name: &str) -> Result<Option<Arc<Collection>>> {
        match self.cached(name).await? {
            Some(cached) if cached.changing => {
                Err(Error::Unavailable { retry_after: SETTLED_SECONDS as u32, source: None })
            }
            cached => Ok(cached.map(|cached| cached.collection)),
        }
    }

    async fn cached(&self, name: &str) -> Result<Option<Cached>> {
        if !is_collection_name(name) {
            return Ok(None);
        }
        let now = self.clock.millis();
        {
            let cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
            let fresh = cache.get(name).filter(|cached| now < cached.read_at + STALE_SECONDS * 1000);
            if let Some(cached) = fresh {
                return Ok(Some(cached.clone()));
            }
        }
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
        let cached = Cached { collection, changing: found.stage == State::Changing, read_at: now };
        cache.insert(name.to_owned(), cached.clone());
        Ok(Some(cached))
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
        let mut found = item::key(DEFINITIONS, &definition.name);
        let text = serde_json::to_string(definition).map_err(Error::internal)?;
        found.insert("definition".into(), string(text));
        found.insert("v".into(), item::number(definition.version));
        match state {
            State::Ready => None,
            State::Changing => found.insert("changing".into(), item::from_json(&true.into())),
            State::Gone => found.insert("gone".into(), item::from_json(&true.into())),
        };
        unchanged(self.table.put(found, is_version(previous)).await?)
    }
}

fn is_version(previous: u64) -> Expression {
    match previous {
        0 => Expression::new("attribute_not_exists(pk)"),
        version => Expression::new("v = :previous").value(":previous", item::number(version)),
    }
}

fn unchanged(written: Written) -> Result<()> {
    match written {
        Written::Done(()) => Ok(()),
        Written::Refused(_) => {
            Err(Error::conflict("changed", "somebody else has changed this definition: read it and try again"))
        }
    }
}

fn from_item(found: &Item) -> Result<Stored> {
    let stored = text(found, "definition").unwrap_or_default();
    let definition = serde_json::from_str(stored).map_err(Error::internal)?;
    let stage = match (found.contains_key("gone"), found.contains_key("changing")) {
        (true, _) => State::Gone,
        (_, true) => State::Changing,
        _ => State::Ready,
    };
    Ok(Stored { definition, stage })
}
