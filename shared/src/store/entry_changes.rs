//! Decides which entries in indexes over elements change with a write, and brings those of stored records in line with the
//! definition, for the job that visits all records.

use super::entries::{EntryChanges, adding, removing};
use super::intent::{Intent, What};
use super::item;
use super::record::{Record, key};
use super::records::Records;
use super::{Expression, TransactionOutcome};
use crate::error::{Error, Result};
use crate::query::{Index, IndexKey};
use crate::schema::Collection;
use aws_sdk_dynamodb::types::{ConditionCheck, TransactWriteItem};

/// Number of entries that a job writes in one transaction, beside the check of their record.
const AT_ONCE: usize = 99;

impl EntryChanges {
    /// The changes when a record that was `before` is written as `after`.
    ///
    /// # Errors
    /// `Invalid` when a key exceeds DynamoDB's limit.
    pub fn between(intent: &Intent, before: Option<&Record>, after: &Record) -> Result<Self> {
        let collection = intent.grant.collection();
        if !collection.has_entries() {
            return Ok(Self::default());
        }
        let living = before.filter(|before| !before.deleted);
        let held = living.map_or_else(Vec::new, |before| collection.held_entry_keys(&before.view(), |_| true));
        let wanted =
            if after.deleted { Vec::new() } else { collection.entry_keys(&after.view()).map_err(Error::Invalid)? };
        let removed: Vec<IndexKey> = held.iter().filter(|key| !wanted.contains(key)).cloned().collect();
        let added: Vec<IndexKey> = wanted.iter().filter(|key| !held.contains(key)).cloned().collect();
        let is_unread = before.is_some_and(|before| !intent.grant.allows_reading(&before.view()));
        let most = match &intent.what {
            _ if !is_unread || !moves_entries(intent) => 0,
            What::Delete | What::Undelete => collection.most_entries(),
            _ => collection.most_entries() + wanted.len(),
        };
        Ok(Self { withheld: most.saturating_sub(removed.len() + added.len()), removed, added })
    }
}

/// Whether a write may change entries, according to the definition and the request alone.
pub(super) fn moves_entries(intent: &Intent) -> bool {
    let indexes = intent.grant.collection().definition().indexes.iter().filter(|index| index.is_of_elements());
    let moves = |index: &Index| match &intent.what {
        What::Merge(patch) => index.fields().any(|field| field == "updatedAt" || patch.contains_key(field)),
        What::Operate(operators) => {
            index.fields().any(|field| field == "updatedAt" || operators.names().contains_key(field))
        }
        _ => true,
    };
    indexes.into_iter().any(moves)
}

impl Records {
    /// Writes the entries of a stored record in the indexes over elements that are being built, and removes those of the
    /// indexes that end. `false`: the record has changed since it was read.
    ///
    /// # Errors
    /// `Unavailable` when other requests keep writing the record.
    pub(super) async fn settle_entries(&self, collection: &Collection, record: &Record) -> Result<bool> {
        if record.deleted {
            return Ok(true);
        }
        let table = self.table().name();
        let built = collection.held_entry_keys(&record.view(), |index| index.is_kept() && !index.ready);
        let ended = collection.held_entry_keys(&record.view(), Index::is_ending);
        let items = built.iter().map(|key| adding(table, key)).chain(ended.iter().map(|key| removing(table, key)));
        let items: Vec<TransactWriteItem> = items.collect::<Result<_>>()?;
        for some in items.chunks(AT_ONCE) {
            let mut all = vec![unchanged(table, collection, record)?];
            all.extend_from_slice(some);
            match self.table().transact(all).await? {
                TransactionOutcome::Done => {}
                TransactionOutcome::Conflicted(_) => return Err(TransactionOutcome::CONFLICT),
                TransactionOutcome::Cancelled(_) => return Ok(false),
            }
        }
        Ok(true)
    }
}

/// Requires that a living record has not changed since it was read.
fn unchanged(table: &str, collection: &Collection, record: &Record) -> Result<TransactWriteItem> {
    let condition = Expression::new("v = :v AND attribute_not_exists(del)").value(":v", item::number(record.version));
    let check = ConditionCheck::builder()
        .table_name(table)
        .set_key(Some(key(collection, &record.id)))
        .condition_expression(&condition.text)
        .set_expression_attribute_values(condition.values())
        .build()
        .map_err(Error::internal)?;
    Ok(TransactWriteItem::builder().condition_check(check).build())
}
