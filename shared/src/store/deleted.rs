//! Tombstones of a collection, listed for admins.

use super::item::{Item, integer, text};
use super::list::readers;
use super::merge_ranges::{Bounds, merge};
use super::record::Record;
use super::records::Records;
use crate::error::Result;
use crate::expr::Expr;
use crate::policy::Grant;
use crate::query::{ListQuery, plan};
use crate::response_size;

/// A deleted record.
#[derive(Debug)]
pub struct Deleted {
    /// The record as it was, except for version and `updatedAt`, which the deletion advanced.
    pub record: Record,
    /// When it was deleted, RFC 3339.
    pub at: String,
    /// Who deleted it.
    pub by: String,
}

impl Records {
    /// Up to `limit` deleted records ordered by id, after `position`, and the position to continue from. Living records
    /// between them are read and skipped, so at most `scan` items are read: a page may be empty without being the last.
    pub async fn deleted(
        &self,
        grant: &Grant,
        limit: usize,
        scan: usize,
        position: Option<&[u8]>,
    ) -> Result<(Vec<Deleted>, Option<Vec<u8>>)> {
        let everything = ListQuery { rule: &Expr::True, filter: None, sort: &[], scan: None };
        // Every collection is ordered by id, so this plan is never refused.
        let Ok(plan) = plan(grant.collection().layout(), &everything) else { return Ok((Vec::new(), None)) };
        let bounds = Bounds { forward: plan.forward, limit, allowance: scan, weight: response_size::PAGE };
        let now = self.seconds();
        let keep = |found: &Item| {
            let deleted = Deleted::read(found, now)?;
            let weight = deleted.record.weight(grant);
            Some((deleted, weight))
        };
        self.acts_in_time(grant.collection())?;
        let is_late = || self.acts_in_time(grant.collection()).is_err();
        merge(self.table(), readers(grant.collection(), &plan, position), bounds, keep, is_late).await
    }
}

impl Deleted {
    /// The tombstone in an item. `None` for a living record, and for an expired tombstone that DynamoDB has not removed yet.
    fn read(found: &Item, now: u64) -> Option<Self> {
        let at = text(found, "del")?.to_owned();
        let is_kept = integer(found, "ttl").is_none_or(|until| now < until);
        let by = text(found, "by").unwrap_or_default().to_owned();
        Record::from_item(found).filter(|_| is_kept).map(|record| Self { record, at, by })
    }
}
