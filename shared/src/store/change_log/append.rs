//! Appends changes to the change log: in order and exactly once, despite duplicate, partial, lost or concurrent deliveries.

use super::page::{Page, fitting, followed};
use super::{Change, ChangeLog, Head, Partition};
use crate::error::{Error, Result};
use crate::id::random;
use crate::store::TransactionOutcome;
use std::collections::HashMap;
use std::time::Duration;

/// How often a page is written again after a concurrent write before it is left to the stream's redelivery.
const TRIES: u32 = 8;
/// The longest first pause after a concurrent write, in milliseconds. Each further pause may be twice as long.
const PAUSE_MILLIS: u64 = 20;

/// Why not all changes were appended, and how many were, from the front.
#[derive(Debug)]
pub struct Stopped {
    /// How many are in the change log.
    pub kept: usize,
    /// The error of the next one.
    pub error: Error,
}

impl ChangeLog {
    /// Appends changes in order. Skips changes that the change log already contains.
    ///
    /// # Errors
    /// [`Stopped`] at the first change that could not be appended. When the stream delivers again from there, the rest
    /// follows.
    pub async fn keep(&self, changes: &[Change]) -> Result<(), Stopped> {
        let mut kept = 0;
        let known = self.heads(&followed(changes)).await;
        let mut heads = known.map_err(|error| Stopped { kept, error })?;
        while let Some(waiting) = changes.get(kept..).filter(|waiting| !waiting.is_empty()) {
            let (page, _) = waiting.split_at(fitting(waiting));
            self.keep_page(page, &mut heads).await.map_err(|error| Stopped { kept, error })?;
            kept += page.len();
        }
        Ok(())
    }

    /// Appends the changes that fit on one page. Leaves out changes with an existing marker and rereads heads that another
    /// writer moved.
    async fn keep_page(&self, changes: &[Change], heads: &mut HashMap<Partition, Head>) -> Result<()> {
        let mut waiting: Vec<&Change> = changes.iter().collect();
        let mut met = 0;
        while !waiting.is_empty() {
            let page = Page::of(self.table.name(), &waiting, heads, self.clock.millis())?;
            // The table has already retried network errors and throttling.
            let known_before = match self.table.transact(page.items).await? {
                TransactionOutcome::Done => {
                    heads.extend(page.heads);
                    return Ok(());
                }
                refused => leave_out_known(&mut waiting, &refused),
            };
            if !known_before {
                met += 1;
                if met == TRIES {
                    return Err(Error::Unavailable {
                        retry_after: 1,
                        source: Some("other writers kept changing the same change log heads".into()),
                    });
                }
                pause(met).await;
            }
            heads.extend(self.heads(&followed(waiting.iter().copied())).await?);
        }
        Ok(())
    }
}

/// Leaves out the changes whose markers existed. Returns whether any did.
fn leave_out_known(waiting: &mut Vec<&Change>, refused: &TransactionOutcome) -> bool {
    let before = waiting.len();
    let mut position = 0;
    waiting.retain(|_| {
        position += 1;
        !refused.refused_at(position - 1)
    });
    waiting.len() < before
}

/// A random pause, so that concurrent writers do not retry at the same time.
async fn pause(met: u32) {
    let longest = PAUSE_MILLIS << met.min(6);
    tokio::time::sleep(Duration::from_millis(u64::from_le_bytes(random::<8>()) % longest)).await;
}
