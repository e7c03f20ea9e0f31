//! Whether there is room for what is to be written: in one transaction of DynamoDB's, and in one answer of Lambda's. Looked at
//! before anything is, since a write that was made cannot be answered with a refusal.

use super::TransactWriteItem;
use super::intent::Write;
use super::item::size;
use super::table::TOO_MUCH;
use crate::error::Result;
use crate::response_size;

/// What a transaction holds, in bytes of items: DynamoDB's limit.
const MOST_BYTES: usize = 4 * 1024 * 1024;

/// Checks that `writes` fit into one answer, and the items they come down to into one transaction.
///
/// # Errors
/// `BadRequest` or `Refused`, each saying what is too much.
pub(super) fn check(writes: &[Write<'_>], items: &[TransactWriteItem]) -> Result<()> {
    let written = |item: &TransactWriteItem| item.put().map_or(0, |put| size(put.item()));
    if items.iter().map(written).sum::<usize>() > MOST_BYTES {
        return Err(TOO_MUCH());
    }
    let shown = writes.iter().filter(|write| !write.record.deleted);
    let shown: usize = shown.map(|write| write.record.weight_to_writer(&write.intent.grant)).sum();
    if shown > response_size::MOST { Err(response_size::TOO_LARGE()) } else { Ok(()) }
}
