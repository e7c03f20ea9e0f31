//! Taking changes into the change log: in order, and each once, whatever is repeated, halved, lost or done twice at the same time.

use super::page::{Page, fitting, followed};
use super::{Change, ChangeLog, Head, Partition};
use crate::error::{Error, Result};
use crate::id::random;
use crate::store::TransactionOutcome;
use std::collections::HashMap;
use std::time::Duration;

/// How often a page that met others is written anew before the stream has to bring its changes again.
const TRIES: u32 = 8;
/// The longest first pause of a page that met others, in milliseconds; each further one may be twice as long.
const PAUSE_MILLIS: u64 = 20;

/// Why not all changes were taken in, and how many were, from the front.
#[derive(Debug)]
pub struct Stopped {
    /// How many are in the change log.
    pub kept: usize,
    /// What stopped the next.
    pub error: Error,
}

impl ChangeLog {
    /// Takes changes in, in order. What is in the change log already is left as it is.
    ///
    /// # Errors
    /// [`Stopped`] at the first change that could not be taken in; offered again from there, the rest follows.
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

    /// Takes in what fits on one page. What the markers know already is left out, and heads that others have moved are read
    /// again.
    async fn keep_page(&self, changes: &[Change], heads: &mut HashMap<Partition, Head>) -> Result<()> {
        let mut waiting: Vec<&Change> = changes.iter().collect();
        let mut met = 0;
        while !waiting.is_empty() {
            let page = Page::of(self.table.name(), &waiting, heads, self.clock.millis())?;
            // What the network or a throttle did has been tried again already, below us.
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
                    return Err(Error::Unavailable { retry_after: 1, source: Some("others keep writing here".into()) });
                }
                pause(met).await;
            }
            heads.extend(self.heads(&followed(waiting.iter().copied())).await?);
        }
        Ok(())
    }
}

/// Leaves out the changes whose markers were there. Whether any was.
fn leave_out_known(waiting: &mut Vec<&Change>, refused: &TransactionOutcome) -> bool {
    let before = waiting.len();
    let mut position = 0;
    waiting.retain(|_| {
        position += 1;
        !refused.refused_at(position - 1)
    });
    waiting.len() < before
}

/// Of several that met, each waits a while of its own.
async fn pause(met: u32) {
    let longest = PAUSE_MILLIS << met.min(6);
    tokio::time::sleep(Duration::from_millis(u64::from_le_bytes(random::<8>()) % longest)).await;
}
