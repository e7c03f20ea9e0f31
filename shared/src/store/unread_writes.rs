//! Writes without a preceding read: the rule on the stored record is part of the write condition, so deciding and writing are
//! one step (R72). One round trip, one write.

use super::conditions::{OTHER_VERSION, alive, condition_to_read_and_write, rule_condition, version_condition};
use super::intent::{Intent, What};
use super::item::{self, Item, number, string};
use super::record::{Record, key};
use super::records::Records;
use super::{Expression, WriteOutcome};
use crate::clock::rfc3339;
use crate::cost;
use crate::error::{Error, Result};
use crate::expr::Input;
use crate::schema::ReadReason;
use serde_json::{Map, Value};
use std::collections::BTreeSet;

impl Records {
    /// Applies an intent without reading the record, if possible: one round trip, one write. `None` if a read is needed.
    pub(super) async fn unread(&self, intent: &Intent, request: &str) -> Result<Option<Record>> {
        self.in_time([intent])?;
        match &intent.what {
            What::Merge(patch) if self.read_reasons(intent).is_empty() => {
                self.patch_unread(intent, patch, request).await
            }
            What::Delete if !intent.is_restricted() && !intent.grant.collection().has_entries() => {
                self.delete_unread(intent, request).await
            }
            _ => Ok(None),
        }
    }

    /// Why an intent needs the stored record first. `None` if it is written without a read.
    pub(super) fn read_reasons(&self, intent: &Intent) -> Vec<ReadReason> {
        let collection = intent.grant.collection();
        let related: BTreeSet<&String> = intent.targets.iter().map(|target| &target.field).collect();
        let related = related.into_iter().map(|field| ReadReason::Related(field.clone()));
        match &intent.what {
            What::Merge(patch) => {
                let by_rule = rule_condition(&intent.grant).is_none().then_some(ReadReason::Rule);
                collection.read_reasons(patch).chain(related).chain(by_rule).collect()
            }
            What::Operate(operators) => {
                let by_rule = condition_to_read_and_write(&intent.grant).is_none().then_some(ReadReason::Rule);
                collection.operator_reasons(operators).chain(related).chain(by_rule).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Patches a record. The patch is validated, member by member.
    async fn patch_unread(&self, intent: &Intent, patch: &Map<String, Value>, request: &str) -> Result<Option<Record>> {
        let Intent { grant, id, preconditions, .. } = intent;
        let Some(rule) = rule_condition(grant) else { return Ok(None) };
        let mut sets = vec!["v = v + :one".to_owned(), "ua = :ua".into(), "#by = :by".into(), "rid = :rid".into()];
        let mut removes = Vec::new();
        let mut change = Expression::default()
            .name("#by", "by")
            .value(":one", number(1))
            .value(":ua", string(rfc3339(self.clock().millis())))
            .value(":by", string(grant.caller()))
            .value(":rid", string(request));
        for (position, (name, value)) in patch.iter().enumerate() {
            let placeholder = format!("#p{position}");
            change = change.name(&placeholder, name);
            if value.is_null() {
                removes.push(format!("d.{placeholder}"));
            } else {
                sets.push(format!("d.{placeholder} = :p{position}"));
                change = change.value(&format!(":p{position}"), item::from_json(value));
            }
        }
        change.text = format!("SET {}", sets.join(", "));
        if !removes.is_empty() {
            change.text.push_str(&format!(" REMOVE {}", removes.join(", ")));
        }
        // The SDK's retry after a lost response must not count as another write.
        let first = Expression::new("attribute_not_exists(rid) OR rid <> :rid");
        let condition = alive().and(first).and(version_condition(preconditions)).and(rule);
        match self.table().update(key(grant.collection(), id), change, condition).await? {
            WriteOutcome::Done(changed) => Ok(written(intent, &changed)),
            WriteOutcome::ConditionFailed(Some(old)) if written_by(&old, request) => Ok(written(intent, &old)),
            WriteOutcome::ConditionFailed(old) => Err(refusal(intent, old.as_ref(), Input::Patch(patch))),
        }
    }

    /// Deletes a record: it becomes a tombstone, hidden from every read at once and removed after
    /// [`TOMBSTONE_SECONDS`](super::records::TOMBSTONE_SECONDS).
    async fn delete_unread(&self, intent: &Intent, request: &str) -> Result<Option<Record>> {
        let Some(rule) = rule_condition(&intent.grant) else { return Ok(None) };
        let condition = alive().and(version_condition(&intent.preconditions)).and(rule);
        let soft_delete = self.soft_delete(intent, request);
        match self.table().update(key(intent.grant.collection(), &intent.id), soft_delete, condition).await? {
            WriteOutcome::Done(deleted) => Ok(written(intent, &deleted)),
            WriteOutcome::ConditionFailed(Some(old)) if written_by(&old, request) => Ok(written(intent, &old)),
            WriteOutcome::ConditionFailed(old) => Err(refusal(intent, old.as_ref(), Input::None)),
        }
    }
}

fn written_by(old: &Item, request: &str) -> bool {
    item::text(old, "rid") == Some(request)
}

/// Derives the error of a refused write from the stored item: first by the rule, then the version is compared.
fn refusal(intent: &Intent, old: Option<&Item>, input: Input) -> Error {
    match old.and_then(Record::from_item).filter(|record| !record.deleted) {
        None => Error::NotFound("record"),
        Some(record) if !intent.grant.allows(&record.view(), input) => intent.grant.refusal(&record.view(), input),
        Some(record) if !intent.preconditions.allow(record.version) => {
            withhold_price(intent, &record);
            OTHER_VERSION
        }
        Some(_) => Error::Unavailable {
            retry_after: 1,
            source: Some("a write condition failed although the stored item satisfies it".into()),
        },
    }
}

/// The record after a write without a read.
pub(super) fn written(intent: &Intent, item: &Item) -> Option<Record> {
    Record::from_item(item).inspect(|record| withhold_price(intent, record))
}

/// The write's cost would reveal the record's size to a caller who may not read it.
pub(super) fn withhold_price(intent: &Intent, record: &Record) {
    if !intent.grant.allows_reading(&record.view()) {
        cost::withhold_units();
    }
}
