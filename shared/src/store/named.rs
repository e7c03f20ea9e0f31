//! A page of records that a filter names by id: batch reads, with the rule checked for each record.

use super::item::Item;
use super::list::Listed;
use super::record::{Record, key};
use super::records::Records;
use crate::cost;
use crate::error::{Error, Result};
use crate::expr::Input;
use crate::policy::Grant;
use crate::query::Plan;
use crate::response_size;

const TOO_LARGE: &str =
    "These records are together larger than a page of 3 MB, so they cannot be sorted. Name fewer ids, or sort by id.";

impl Records {
    /// Reads up to `limit` of the records with these ids, after `position`. A record that the rule does not allow is treated as
    /// a missing one: both are left out, and the cost is withheld. Eventually consistent.
    ///
    /// In the order of ids only as many are read as the page needs: first its size, then twice as many for every one that is
    /// left out. Another order needs all of them, so the page has to hold them all.
    pub async fn named(
        &self,
        grant: &Grant,
        (plan, ids): (&Plan, &[String]),
        limit: usize,
        position: Option<&[u8]>,
    ) -> Result<Listed> {
        let mut waiting: Vec<&str> =
            ids.iter().map(String::as_str).filter(|id| is_after(id, plan.forward, position)).collect();
        if !plan.forward {
            waiting.reverse();
        }
        let is_by_id = plan.order.is_empty();
        let mut step = if is_by_id { limit + 1 } else { waiting.len() };
        let (mut found, mut waiting) = (Vec::new(), waiting.as_slice());
        while found.len() <= limit
            && let Some((now, later)) = waiting.split_at_checked(step.min(waiting.len()))
            && !now.is_empty()
        {
            let read = self.visible(grant, now).await?;
            found.extend(read.into_iter().filter(|record| plan.residual_filter.matches(&record.view())));
            (waiting, step) = (later, step * 2);
        }
        found.sort_by_cached_key(|record| plan.place(&record.view()));
        if !plan.forward {
            found.reverse();
        }
        let page = fitting(grant, &found, limit);
        if page < found.len() && !is_by_id {
            return Err(Error::refused("answer_too_large", TOO_LARGE));
        }
        let next =
            found.get(page).and_then(|_| found.get(page.checked_sub(1)?)).map(|last| last.id.clone().into_bytes());
        found.truncate(page);
        Ok(Listed { records: found, next })
    }

    /// The records with these ids that exist and that the grant allows, in any order.
    async fn visible(&self, grant: &Grant, ids: &[&str]) -> Result<Vec<Record>> {
        self.acts_in_time(grant.collection())?;
        let keys: Vec<Item> = ids.iter().map(|id| key(grant.collection(), id)).collect();
        let found = self.table().batch_get(keys).await?;
        let is_seen = |record: &Record| !record.deleted && grant.allows(&record.view(), Input::None);
        let seen: Vec<Record> = found.iter().filter_map(Record::from_item).filter(is_seen).collect();
        if seen.len() < ids.len() {
            cost::withhold();
        }
        Ok(seen)
    }
}

fn is_after(id: &str, forward: bool, position: Option<&[u8]>) -> bool {
    position.is_none_or(|position| if forward { id.as_bytes() > position } else { id.as_bytes() < position })
}

/// How many of the first records fit on a page: at least one.
fn fitting(grant: &Grant, records: &[Record], limit: usize) -> usize {
    let mut weight = 0;
    let fits = |(position, record): &(usize, &Record)| {
        weight += record.weight(grant);
        *position == 0 || weight <= response_size::PAGE
    };
    records.iter().take(limit).enumerate().take_while(fits).count()
}
