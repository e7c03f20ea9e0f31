//! Checks that a write fits into one DynamoDB transaction and its response into Lambda's limit. Runs before the write because
//! a committed write cannot be refused.

use super::TransactWriteItem;
use super::intent::Write;
use super::item::size;
use super::table_errors::TOO_MUCH;
use crate::error::Result;
use crate::response_size;

/// Maximum size of a transaction's items, in bytes (DynamoDB).
const MOST_BYTES: usize = 4 * 1024 * 1024;

/// Checks that the response to `writes` fits into one answer, and that their items fit into one transaction.
///
/// # Errors
/// `BadRequest` or `Refused`, naming the exceeded limit.
pub(super) fn check(writes: &[Write<'_>], items: &[TransactWriteItem]) -> Result<()> {
    let written = |item: &TransactWriteItem| item.put().map_or(0, |put| size(put.item()));
    if items.iter().map(written).sum::<usize>() > MOST_BYTES {
        return Err(TOO_MUCH());
    }
    let shown = writes.iter().filter(|write| !write.record.deleted);
    let shown: usize = shown.map(|write| write.record.weight_to_writer(&write.intent.grant)).sum();
    if shown > response_size::MOST { Err(response_size::TOO_LARGE()) } else { Ok(()) }
}
