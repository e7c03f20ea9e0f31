//! Records. Every access needs a `Grant`.
//!
//! Reads, and writes without a preceding read: the rule on the stored record is part of the write condition, so deciding and
//! writing are one step (R72). `write` decides the writes that need a read, and `commit` commits them.

use super::Table;
use super::idempotency::StoredResponses;
use super::intent::Intent;
use super::record::{Record, key};
use crate::clock::{Clock, rfc3339};
use crate::error::{Error, Result};
use crate::expr::Input;
use crate::policy::Grant;
use crate::schema::Collection;

/// How long a tombstone stays, in seconds.
pub const TOMBSTONE_SECONDS: u64 = 30 * 86_400;
/// How often a write without `If-Match` is retried after a concurrent write.
pub(super) const TRIES: usize = 8;

/// The `Records` table.
#[derive(Debug, Clone)]
pub struct Records {
    table: Table,
    clock: Clock,
}

impl Records {
    /// Records in `table`, at the time of `clock`.
    pub fn new(table: Table, clock: Clock) -> Self {
        Self { table, clock }
    }

    /// The clock.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Seconds since the Unix epoch.
    pub(super) fn seconds(&self) -> u64 {
        self.clock.seconds()
    }

    /// The idempotent responses stored beside records.
    pub fn stored_responses(&self) -> StoredResponses {
        StoredResponses::new(self.table.clone(), self.clock.clone())
    }

    /// The table, for the store only: reading from it does not check a grant.
    pub(super) fn table(&self) -> &Table {
        &self.table
    }

    /// A record, if it exists and the grant's rule allows it.
    pub async fn get(&self, grant: &Grant, id: &str, consistent: bool) -> Result<Option<Record>> {
        let found = self.stored(grant.collection(), id, consistent).await?;
        Ok(found.filter(|record| !record.deleted && grant.allows(&record.view(), Input::None)))
    }

    /// Checks that the definition may still be acted on. Later, another definition may be in force: see `lease`.
    ///
    /// # Errors
    /// `Unavailable` when it may not: the request took too long and should be retried.
    pub fn acts_in_time(&self, collection: &Collection) -> Result<()> {
        if self.clock.millis() <= collection.acted_on_until() {
            return Ok(());
        }
        Err(Error::Unavailable {
            retry_after: 1,
            source: Some("the cached definition expired before the write".into()),
        })
    }

    pub(super) async fn stored(&self, collection: &Collection, id: &str, consistent: bool) -> Result<Option<Record>> {
        self.acts_in_time(collection)?;
        let found = self.table.get_by(key(collection, id), consistent).await?;
        Ok(found.as_ref().and_then(Record::from_item))
    }

    /// Checks that the definitions behind these writes may still be acted on: see `lease`.
    pub(super) fn in_time<'a>(&self, intents: impl IntoIterator<Item = &'a Intent>) -> Result<()> {
        intents.into_iter().try_for_each(|intent| {
            self.acts_in_time(intent.grant.collection())?;
            intent.targets.iter().try_for_each(|target| self.acts_in_time(&target.collection))
        })
    }

    /// Whether the record, or its tombstone, has not expired.
    pub(super) fn is_there(&self, record: &Record) -> bool {
        !record.deleted || record.gone_at.is_none_or(|gone| self.seconds() < gone)
    }

    /// The current time in the form records store.
    pub(super) fn now(&self) -> String {
        rfc3339(self.clock().millis())
    }
}
