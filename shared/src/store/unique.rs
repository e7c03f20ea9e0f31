//! Unique values: one marker item per value, written in the same transaction as the record (R79), never an index.
//!
//! A marker names the record that holds the value. Markers stay when a record is deleted or its value changes, so those
//! writes need no transaction. A write that finds a marker checks whether its record still holds the value. If not, it takes
//! the marker over, on the condition that marker and record have not changed since.

use super::Expression;
use super::item::{self, Item, string, text};
use super::keys::{UNIQUE_SORT, unique_partition};
use super::record::Record;
use crate::error::{Error, Result};
use crate::schema::Collection;
use aws_sdk_dynamodb::types::{ConditionCheck, Put, ReturnValuesOnConditionCheckFailure, TransactWriteItem};
use serde_json::{Map, Value};

/// A value that no other record of the collection may hold.
#[derive(Debug, Clone)]
pub struct Marker {
    partition: String,
    fields: Vec<String>,
}

/// The markers that a record with this data needs. A constraint with an absent or null field does not apply.
pub fn markers(collection: &Collection, data: &Map<String, Value>) -> Vec<Marker> {
    let definition = collection.definition();
    markers_of(&definition.name, definition.generation, &definition.unique, data)
}

/// The unique values of a record with this data, each in a form that is the same for equal values.
pub fn unique_values(collection: &Collection, data: &Map<String, Value>) -> Vec<String> {
    markers(collection, data).into_iter().map(|marker| marker.partition).collect()
}

/// The same for a deleted collection, of which only its generation and constraints are known.
pub fn markers_of(name: &str, generation: u32, unique: &[Vec<String>], data: &Map<String, Value>) -> Vec<Marker> {
    let marker = |fields: &Vec<String>| {
        let values: Vec<&Value> =
            fields.iter().map(|field| data.get(field).filter(|value| !value.is_null())).collect::<Option<_>>()?;
        let values = serde_json::to_string(&values).ok()?;
        let partition = unique_partition(name, generation, fields, &values);
        Some(Marker { partition, fields: fields.clone() })
    };
    unique.iter().filter_map(marker).collect()
}

impl Marker {
    /// The value of one constraint in this data. `None` if a field is absent or null.
    pub fn of(collection: &Collection, fields: &[String], data: &Map<String, Value>) -> Option<Self> {
        let definition = collection.definition();
        markers_of(&definition.name, definition.generation, &[fields.to_vec()], data).into_iter().next()
    }

    /// The key of the marker's item.
    pub fn key(&self) -> Item {
        item::key(&self.partition, UNIQUE_SORT)
    }

    /// The constraint it belongs to.
    pub fn fields(&self) -> &Vec<String> {
        &self.fields
    }

    /// A hash of the value, for the marker's partition key.
    pub fn value(&self) -> &str {
        &self.partition
    }

    /// The marker's item, naming a record.
    pub fn named(&self, id: &str) -> Item {
        let mut written = self.key();
        written.insert("rec".into(), string(id));
        written
    }

    /// Requires that no record, or this one, holds the value.
    pub fn free_for(&self, id: &str) -> Expression {
        Expression::new("attribute_not_exists(pk) OR rec = :id").value(":id", string(id))
    }

    /// Reserves the value for a record, unless another holds it. `taken_from` is a record that no longer holds the value.
    pub fn reserve(&self, table: &str, id: &str, taken_from: Option<&str>) -> Result<TransactWriteItem> {
        let put = Put::builder()
            .table_name(table)
            .set_item(Some(self.named(id)))
            .condition_expression("attribute_not_exists(pk) OR rec IN (:id, :from)")
            .expression_attribute_values(":id", string(id))
            .expression_attribute_values(":from", string(taken_from.unwrap_or(id)))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .build()
            .map_err(Error::internal)?;
        Ok(TransactWriteItem::builder().put(put).build())
    }

    /// The record that a marker names.
    pub fn holder(found: &Item) -> Option<&str> {
        text(found, "rec")
    }

    /// Whether a record holds the value of this marker.
    pub fn is_held_by(&self, collection: &Collection, record: &Record) -> bool {
        !record.deleted && markers(collection, &record.data).iter().any(|marker| marker.partition == self.partition)
    }

    /// Requires that a record which does not hold the value has not changed since it was read: same version, or still absent.
    pub fn still_unheld(table: &str, key: Item, seen: Option<u64>) -> Result<TransactWriteItem> {
        let check = ConditionCheck::builder().table_name(table).set_key(Some(key));
        let check = match seen {
            None => check.condition_expression("attribute_not_exists(pk)"),
            Some(version) => {
                check.condition_expression("v = :v").expression_attribute_values(":v", item::number(version))
            }
        };
        Ok(TransactWriteItem::builder().condition_check(check.build().map_err(Error::internal)?).build())
    }

    /// Whether both reserve the same value.
    pub fn is(&self, other: &Self) -> bool {
        self.partition == other.partition
    }

    /// The error when another record holds the value.
    pub fn taken(&self) -> Error {
        Error::conflict("not_unique", format!("Another record already has this {}.", self.fields.join(" and ")))
    }
}
