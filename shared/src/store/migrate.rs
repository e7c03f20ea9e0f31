//! Changes the data of stored records for a new definition, one at a time. It runs in a job, under the authority of the system.
//!
//! A record is written like by any other writer: its version and `updatedAt` move, its index keys, unique values and references
//! follow, and the change log shows it. Each write is on the condition of the version that was read. A tombstone keeps its
//! version, because only its data for an undelete changes.

use super::definitions::Definitions;
use super::intent::{Intent, What};
use super::item::{self, Item, number, text};
use super::record::Record;
use super::records::{Records, TRIES};
use super::targets::{Referring, targets};
use super::{Expression, WriteOutcome};
use crate::error::{Error, FieldError, Result};
use crate::policy::System;
use crate::preconditions::{IfMatch, IfNoneMatch, Preconditions};
use crate::schema::Collection;
use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Map, Value};
use std::sync::Arc;

/// A stored record after its migration.
#[derive(Debug)]
pub struct Migrated {
    /// The item as it is stored now. `None` if it is gone.
    pub item: Option<Item>,
    /// Whether this job changed the record: now, or before it was interrupted.
    pub changed: bool,
    /// Why the record could not be changed.
    pub errors: Vec<FieldError>,
}

impl Records {
    /// Takes the steps of the collection's definition for one stored record, for the job of this id.
    ///
    /// # Errors
    /// `Unavailable` when the record keeps changing between read and write, or the table does not respond.
    pub async fn migrate(
        &self,
        (definitions, system): (&Definitions, &System),
        collection: &Arc<Collection>,
        found: Item,
        job: &str,
    ) -> Result<Migrated> {
        let mut found = Some(found);
        for _ in 0..TRIES {
            self.acts_in_time(collection)?;
            let record = found.as_ref().and_then(Record::from_item);
            let Some((item, record)) = found.zip(record) else {
                return Ok(Migrated { item: None, changed: false, errors: Vec::new() });
            };
            let is_asked = !collection.definition().steps().is_empty();
            let is_ours = is_asked && !record.deleted && record.request_id == job;
            let Some(data) = collection.migrated(&record.data) else {
                return Ok(Migrated { item: Some(item), changed: is_ours, errors: Vec::new() });
            };
            let written = match record.deleted {
                true => self.rewrite_tombstone(&item, &record, &data).await,
                false => self.rewrite((definitions, system), collection, &record, data, job).await,
            };
            return Ok(match written {
                Ok(item) => Migrated { item: Some(item), changed: !record.deleted, errors: Vec::new() },
                Err(Error::PreconditionFailed(_) | Error::NotFound(_)) => {
                    found = self.table().get_by(key_of(&item), true).await?;
                    continue;
                }
                Err(error) => Migrated { item: Some(item), changed: is_ours, errors: in_data(error)? },
            });
        }
        Err(Error::Unavailable {
            retry_after: 1,
            source: Some("the record kept changing between read and write".into()),
        })
    }

    async fn rewrite(
        &self,
        (definitions, system): (&Definitions, &System),
        collection: &Arc<Collection>,
        record: &Record,
        data: Map<String, Value>,
        job: &str,
    ) -> Result<Item> {
        let now = self.clock().millis();
        // The other relations keep their targets.
        let filled = data.iter().filter(|(name, value)| record.data.get(*name) != Some(value));
        let filled = filled.map(|(name, value)| (name.clone(), value.clone())).collect();
        let targets = targets(definitions, collection, Referring::System(system), &filled, now).await?;
        let preconditions =
            Preconditions { if_match: IfMatch::Versions(vec![record.version]), if_none_match: IfNoneMatch::Absent };
        let grant = system.grant(collection, now);
        let intent =
            Intent { grant, id: record.id.clone(), what: What::Migrate(data), preconditions, targets, cause: None };
        self.write_one(&intent, job, None).await?.record.to_item(collection)
    }

    async fn rewrite_tombstone(&self, item: &Item, record: &Record, data: &Map<String, Value>) -> Result<Item> {
        let data = AttributeValue::M(item::from_members(data));
        let change = Expression::new("SET d = :d").value(":d", data.clone());
        let as_seen = Expression::new("v = :seen AND attribute_exists(del)").value(":seen", number(record.version));
        match self.table().update(key_of(item), change, as_seen).await? {
            WriteOutcome::Done(_) => Ok(item.clone().into_iter().chain([("d".to_owned(), data)]).collect()),
            WriteOutcome::ConditionFailed(_) => Err(Error::NotFound("record")),
        }
    }
}

fn key_of(found: &Item) -> Item {
    item::key(text(found, "pk").unwrap_or_default(), text(found, "sk").unwrap_or_default())
}

/// The errors that the data of a record is the cause of.
fn in_data(error: Error) -> Result<Vec<FieldError>> {
    match error {
        Error::Invalid(errors) => Ok(errors),
        Error::Conflict { code, detail } | Error::BadRequest { code, detail } => {
            Ok(vec![FieldError::new("", code, detail)])
        }
        error => Err(error),
    }
}
