//! The visible part of a change: the current record, checked against the whole list rule, or its removal.

use super::read::Entry;
use crate::error::Result;
use crate::expr::Input;
use crate::policy::Grant;
use crate::store::record::{Record, key};
use crate::store::records::Records;
use std::collections::HashMap;

/// A change that a caller may see.
#[derive(Debug, Clone, PartialEq)]
pub enum VisibleChange {
    /// The record exists and is visible.
    Put(Box<Record>),
    /// It was deleted.
    Deleted(String),
    /// It has left the caller's list.
    Left(String),
}

impl VisibleChange {
    /// The record's id.
    pub fn id(&self) -> &str {
        match self {
            Self::Put(record) => &record.id,
            Self::Deleted(id) | Self::Left(id) => id,
        }
    }
}

impl Records {
    /// The changes that the grant's caller may see. One round trip for all records that are or were in the list.
    pub async fn visible_changes(&self, grant: &Grant, entries: &[Entry]) -> Result<Vec<VisibleChange>> {
        let last = last_of_each(entries);
        let keys = last.iter().map(|(id, _)| key(grant.collection(), id)).collect();
        let found = self.table().batch_get_latest(keys).await?;
        let stored = found.iter().filter_map(Record::from_item).map(|record| (record.id.clone(), record));
        let mut stored: HashMap<String, Record> = stored.collect();
        Ok(last.into_iter().filter_map(|(id, was_within)| visible(grant, id, was_within, stored.remove(id))).collect())
    }
}

/// The records that are or were in the list, each at its last entry, and whether it was in the list before its first. Entries
/// outside the list before and after are left out.
fn last_of_each(entries: &[Entry]) -> Vec<(&str, bool)> {
    let mut last: Vec<(&str, bool)> = Vec::new();
    for entry in entries.iter().filter(|entry| entry.was_within || entry.is_within) {
        let earlier = last.iter().position(|(id, _)| *id == entry.id).map(|at| last.remove(at));
        let was_within = entry.was_within || earlier.is_some_and(|(_, was_within)| was_within);
        last.push((&entry.id, was_within));
    }
    last
}

/// A deleted record, or one the rule does not allow now, is reported only to callers who could see it before, and without its
/// data.
fn visible(grant: &Grant, id: &str, was_within: bool, stored: Option<Record>) -> Option<VisibleChange> {
    let allowed = stored.filter(|record| grant.allows(&record.view(), Input::None));
    match allowed {
        Some(record) if !record.deleted => Some(VisibleChange::Put(Box::new(record))),
        Some(record) => was_within.then_some(VisibleChange::Deleted(record.id)),
        None => was_within.then(|| VisibleChange::Left(id.to_owned())),
    }
}
