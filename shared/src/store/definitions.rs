//! Definitions of collections: items of the `Records` table, and a cache in front of them.
//!
//! What a function remembers of a definition is a lease (see [`lease`](super::lease)): what a definition takes away is taken
//! away when no function acts on the one before any more, and what has to be done to stored records begins then.

use super::idempotency::StoredResponses;
use super::item::{self, Item, string, text};
use super::keys::DEFINITIONS;
use super::lease::Lease;
use super::{Expression, Table, TableQuery, TransactionOutcome, WriteOutcome};
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::schema::{Collection, Definition, is_collection_name};
use aws_sdk_dynamodb::types::{Put, TransactWriteItem};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Most collections of a stack.
pub const MAX_COLLECTIONS: usize = 200;
/// Of how many names it is remembered that they name no collection.
const MOST_ABSENT: usize = 1_000;

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
    /// Nothing: the collection was empty when it was deleted, and a job has yet to see that it still is. What was written
    /// before every function had heard of the deletion takes it back.
    Closing,
}

impl State {
    /// Whether the collection can be read and written.
    pub fn is_ready(self) -> bool {
        self == Self::Ready
    }
}

/// Definitions, cached.
#[derive(Debug)]
pub struct Definitions {
    table: Table,
    clock: Clock,
    lease: Lease,
    cache: Mutex<HashMap<String, Cached>>,
    /// Names that named no collection, and when that was seen.
    absent: Mutex<HashMap<String, u64>>,
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
    /// Definitions in `table`, each remembered for a lease.
    pub fn new(table: Table, clock: Clock, lease: Lease) -> Self {
        Self { table, clock, lease, cache: Mutex::default(), absent: Mutex::default(), fetching: Mutex::default() }
    }

    /// How long a definition is remembered.
    pub fn lease(&self) -> Lease {
        self.lease
    }

    /// A collection, as it was a lease ago at most. `None` if there is none right now.
    pub async fn collection(&self, name: &str) -> Result<Option<Arc<Collection>>> {
        if !is_collection_name(name) {
            return Ok(None);
        }
        match self.fresh(name) {
            Some(collection) => Ok(Some(collection)),
            None => self.fetched_together(name).await,
        }
    }

    /// The same for a caller who has not signed in: that there is no such collection is remembered for a second, so that whoever
    /// asks for names that are not there causes no reads. Others always see a collection once it was made.
    pub async fn collection_for_anonymous(&self, name: &str) -> Result<Option<Arc<Collection>>> {
        if self.was_absent(name) {
            return Ok(None);
        }
        self.collection(name).await
    }

    /// Whether it was seen a moment ago that there is no collection of this name.
    fn was_absent(&self, name: &str) -> bool {
        let now = self.clock.millis();
        let seen = locked(&self.absent).get(name).copied();
        seen.is_some_and(|seen| now < seen + self.lease.absent_millis()) && self.fresh(name).is_none()
    }

    /// Reads the collections of these names that are not remembered, all together: a round trip for each hundred. Returns the
    /// names among them that name none. For a caller who has not signed in, what is not there is remembered as well: see
    /// [`Definitions::collection_for_anonymous`].
    pub async fn prefetch(&self, names: HashSet<&str>, for_anonymous: bool) -> Result<HashSet<String>> {
        let is_none = |name: &str| !is_collection_name(name) || (for_anonymous && self.was_absent(name));
        let (none, asked): (Vec<&str>, Vec<&str>) = names.into_iter().partition(|name| is_none(name));
        let mut absent: HashSet<String> = none.into_iter().map(str::to_owned).collect();
        let unknown: Vec<&str> =
            asked.into_iter().filter(|name| *name != "users" && self.fresh(name).is_none()).collect();
        if unknown.len() < 2 {
            return Ok(absent);
        }
        let now = self.clock.millis();
        let keys = unknown.iter().map(|name| item::key(DEFINITIONS, name)).collect();
        let mut found: HashMap<String, Stored> = HashMap::new();
        for one in self.table.batch_get_latest(keys).await? {
            let stored = from_item(&one)?;
            found.insert(stored.definition.name.clone(), stored);
        }
        for name in unknown {
            if self.remember(name, found.remove(name), now)?.is_none() {
                absent.insert(name.to_owned());
            }
        }
        Ok(absent)
    }

    fn fresh(&self, name: &str) -> Option<Arc<Collection>> {
        let now = self.clock.millis();
        let cache = locked(&self.cache);
        let fresh = cache.get(name).filter(|cached| now < cached.read_at + self.lease.millis());
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
        let found = match name {
            "users" => Some(Stored { definition: Definition::users(), stage: State::Ready }),
            name => self.get(name).await?,
        };
        self.remember(name, found, now)
    }

    /// Remembers what was read of a name by a call that began at `read_at`.
    fn remember(&self, name: &str, found: Option<Stored>, read_at: u64) -> Result<Option<Arc<Collection>>> {
        let mut cache = locked(&self.cache);
        let Some(found) = found.filter(|stored| stored.stage.is_ready()) else {
            cache.remove(name);
            let mut absent = locked(&self.absent);
            if absent.len() >= MOST_ABSENT {
                absent.clear();
            }
            absent.insert(name.to_owned(), read_at);
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
        collection.may_be_acted_on_until(self.lease.last_call(read_at));
        cache.insert(name.to_owned(), Cached { collection: collection.clone(), read_at });
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
        let mut query = TableQuery { key, forward: true, limit: 1_000, ..TableQuery::default() };
        let mut all = Vec::new();
        loop {
            let page = self.table.query(&query).await?;
            for found in &page.items {
                all.push(from_item(found)?);
            }
            query.after = page.last_key;
            if query.after.is_none() {
                all.retain(|stored| stored.stage.is_ready());
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
            WriteOutcome::Done(()) => Ok(()),
            // Our own retry after a lost answer: the first try had arrived.
            WriteOutcome::ConditionFailed(Some(old)) if old == written => Ok(()),
            WriteOutcome::ConditionFailed(_) => Err(CHANGED()),
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
            TransactionOutcome::Done => Ok(()),
            TransactionOutcome::Conflicted(_) => Err(TransactionOutcome::CONFLICT),
            TransactionOutcome::Cancelled(_) => Err(CHANGED()),
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

    /// The responses that are stored beside definitions.
    pub fn stored_responses(&self) -> StoredResponses {
        StoredResponses::new(self.table.clone(), self.clock.clone())
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
    match state {
        State::Ready => {}
        State::Gone => drop(found.insert("gone".into(), item::from_json(&true.into()))),
        State::Closing => drop(found.insert("closing".into(), item::from_json(&true.into()))),
    }
    Ok(found)
}

fn from_item(found: &Item) -> Result<Stored> {
    let stored = text(found, "definition").unwrap_or_default();
    let definition = serde_json::from_str(stored).map_err(Error::internal)?;
    let stage = match (found.contains_key("gone"), found.contains_key("closing")) {
        (true, _) => State::Gone,
        (false, true) => State::Closing,
        (false, false) => State::Ready,
    };
    Ok(Stored { definition, stage })
}
