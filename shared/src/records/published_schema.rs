//! The JSON Schema (2020-12) of a record as the caller sees it. Available to callers who may list, read or create records.

use super::operations::Operations;
use super::operations::absent;
use crate::error::Result;
use crate::expr::{Input, Rule};
use crate::identity::Caller;
use crate::policy::allow;
use crate::preconditions::{Preconditions, etag};
use crate::schema::{Collection, without_extensions};
use serde_json::{Map, Value};
use std::sync::Arc;

/// A schema.
#[derive(Debug)]
pub struct PublishedSchema {
    /// Its entity tag.
    pub etag: String,
    /// The schema. `None` if the caller already has it (`If-None-Match`).
    pub schema: Option<Value>,
}

impl Operations {
    /// The schema of a collection's records.
    ///
    /// # Errors
    /// `Unauthenticated`, `NotFound`; `PreconditionFailed` when `If-Match` does not match.
    pub async fn published_schema(
        &self,
        caller: &Caller,
        name: &str,
        preconditions: &Preconditions,
    ) -> Result<PublishedSchema> {
        let collection = self.collection(name, caller, Rule::List).await?;
        if !may_know(caller, &collection, self.clock.millis()) {
            return Err(absent(caller, Rule::List));
        }
        let definition = collection.definition();
        let etag = etag(definition.version, caller.is_admin());
        if preconditions.hold_read(definition.version, &etag)? {
            return Ok(PublishedSchema { etag, schema: None });
        }
        let mut schema = definition.record_schema(caller.is_admin());
        without_extensions(&mut schema);
        if let Some(members) = schema.as_object_mut() {
            members.insert("$schema".into(), "https://json-schema.org/draft/2020-12/schema".into());
            members.entry("title").or_insert_with(|| Value::from(name));
        }
        Ok(PublishedSchema { etag, schema: Some(schema) })
    }
}

/// Whether the caller could do any of the three with some record. A new record's data is unknown, so the `create` rule is
/// evaluated as for an empty patch.
fn may_know(caller: &Caller, collection: &Arc<Collection>, now: u64) -> bool {
    let nothing = Map::new();
    let reads =
        [Rule::List, Rule::Read].into_iter().any(|rule| allow(caller, rule, collection, now, Input::None).is_ok());
    reads || allow(caller, Rule::Create, collection, now, Input::Patch(&nothing)).is_ok()
}
