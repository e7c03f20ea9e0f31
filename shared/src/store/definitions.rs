//! Definitions of collections: items of the `Records` table, with a cache.
//!
//! A cached definition is a lease (see [`lease`](super::lease)). A withdrawal takes effect when no function acts on the
//! previous definition any more, and the job on stored records starts then.

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

/// Maximum number of collections in a stack.
pub const MAX_COLLECTIONS: usize = 200;
/// Maximum number of cached names without a collection.
const MOST_ABSENT: usize = 1_000;

/// A stored definition.
#[derive(Debug, Clone)]
pub struct Stored {
    /// The definition.
    pub definition: Definition,
    /// The stage of its collection.
    pub stage: State,
}

/// The stage of a stored definition's collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Open for reads and writes.
    Ready,
    /// Deleted. The definition keeps its generation, so that a later collection of the same name never sees this one's
    /// leftovers.
    Gone,
    /// Deleted while empty; a job still has to confirm that. A record written before every function saw the deletion undoes
    /// the deletion.
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
    /// Names without a collection, with the time of the lookup.
    absent: Mutex<HashMap<String, u64>>,
    fetching: Mutex<HashMap<String, Arc<Fetching>>>,
}

/// A fetch in progress, shared by everyone who needs that collection. `None`: the fetch failed.
type Fetching = tokio::sync::OnceCell<Option<Option<Arc<Collection>>>>;

#[derive(Debug, Clone)]
struct Cached {
    collection: Arc<Collection>,
    read_at: u64,
}

impl Definitions {
    /// Definitions in `table`. Each is cached for one lease.
    pub fn new(table: Table, clock: Clock, lease: Lease) -> Self {
        Self { table, clock, lease, cache: Mutex::default(), absent: Mutex::default(), fetching: Mutex::default() }
    }

    /// How long a definition is cached.
    pub fn lease(&self) -> Lease {
        self.lease
    }

    /// A collection, at most one lease old. `None` if it does not exist.
    pub async fn collection(&self, name: &str) -> Result<Option<Arc<Collection>>> {
        if !is_collection_name(name) {
            return Ok(None);
        }
        match self.fresh(name) {
            Some(collection) => Ok(Some(collection)),
            None => self.fetched_together(name).await,
        }
    }

    /// The same for an anonymous caller. A missing collection is cached for a second, so guessing names causes no reads. A
    /// signed-in caller always sees a collection as soon as it exists.
    pub async fn collection_for_anonymous(&self, name: &str) -> Result<Option<Arc<Collection>>> {
        if self.was_absent(name) {
            return Ok(None);
        }
        self.collection(name).await
    }

    /// Whether a recent lookup found no collection of this name.
    fn was_absent(&self, name: &str) -> bool {
        let now = self.clock.millis();
        let seen = locked(&self.absent).get(name).copied();
        seen.is_some_and(|seen| now < seen + self.lease.absent_millis()) && self.fresh(name).is_none()
    }

    /// Reads the collections of these names that are not cached, one round trip per hundred. Returns the names that have no
    /// collection. For an anonymous caller, missing collections are cached too: see
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

    /// Fetches a collection. Concurrent callers, such as the operations of a batch, share one round trip.
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
        // The caller that started the fetch reports its error.
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

    /// Caches what a call that began at `read_at` read for a name.
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
        // Compiling costs more than reading, so an unchanged definition is not compiled again.
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

    /// A stored definition, read now. Includes deleted collections.
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

    /// Stores a definition if the stored one still has version `previous` (0: none is stored).
    ///
    /// # Errors
    /// `Conflict` when another request has changed it.
    pub async fn put(&self, definition: &Definition, state: State, previous: u64) -> Result<()> {
        let written = to_item(definition, state)?;
        match self.table.put(written.clone(), is_version(previous)).await? {
            WriteOutcome::Done(()) => Ok(()),
            // The SDK retried after a lost response: the first attempt succeeded.
            WriteOutcome::ConditionFailed(Some(old)) if old == written => Ok(()),
            WriteOutcome::ConditionFailed(_) => Err(CHANGED()),
        }
    }

    /// Stores a definition as [`Definitions::put`] does, together with other items: all or none.
    ///
    /// # Errors
    /// `Conflict` when another request has changed it, or another definition in the same transaction.
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

    /// Storing the definition as one item of a transaction.
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

    /// The idempotent responses stored beside definitions.
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
    || Error::conflict("changed", "Another request has changed this definition. Read it again and retry.");

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
