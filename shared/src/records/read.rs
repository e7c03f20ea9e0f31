//! Reads one record.

use super::expand::Expand;
use super::input::record_id;
use super::operations::Operations;
use crate::error::{Error, Result};
use crate::expr::{Input, Rule};
use crate::identity::Caller;
use crate::policy::allow;
use crate::preconditions::{Preconditions, etag, etag_of};
use serde::Deserialize;
use serde_json::Value;

/// The parameters of a read.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReadRequest {
    /// Whether the read is strongly consistent, at twice the price.
    #[serde(default)]
    pub consistent: bool,
    /// The relations to expand.
    pub expand: Option<String>,
}

/// The result of a read.
#[derive(Debug)]
pub struct Found {
    /// Its entity tag, as this caller sees it.
    pub etag: String,
    /// The record as this caller sees it, with its expanded records. `None` if the caller already has it (`If-None-Match`).
    pub shown: Option<Value>,
}

impl Operations {
    /// Reads a record. One round trip, half a read unit, and one more trip for each level of `expand`.
    ///
    /// # Errors
    /// `Unauthenticated`, `NotFound`; `PreconditionFailed` when `If-Match` does not match; the errors of `expand`.
    pub async fn read(
        &self,
        caller: &Caller,
        (name, id): (&str, &str),
        request: &ReadRequest,
        Preconditions { if_match, if_none_match }: &Preconditions,
    ) -> Result<Found> {
        let collection = self.collection(name, caller, Rule::Read).await?;
        let grant = allow(caller, Rule::Read, &collection, self.clock.millis(), Input::None)?;
        let expand = Expand::read(self, caller, &collection, request.expand.as_deref(), 1).await?;
        let record = self.records.get(&grant, record_id(id)?, request.consistent).await?;
        let record = record.ok_or(Error::NotFound("record"))?;
        // RFC 9110 section 13.2.2: If-Match first, then If-None-Match.
        if !if_match.allows(record.version) {
            return Err(Error::PreconditionFailed("The current ETag does not match If-Match; read the record again."));
        }
        let shown = vec![record.shown(&grant)];
        let shown = expand.onto(self, std::slice::from_ref(&record), shown).await?.pop().unwrap_or_default();
        let etag = match expand.is_empty() {
            true => etag(record.version, grant.is_admin()),
            false => etag_of(record.version, grant.is_admin(), shown.to_string().as_bytes()),
        };
        let shown = (!if_none_match.matches(&etag)).then_some(shown);
        Ok(Found { etag, shown })
    }
}
