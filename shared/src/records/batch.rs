//! Write operations, single or batched, as intents.

use super::input::check_new_id;
use super::operations::Operations;
use super::operations::absent;
use super::prepare::{self, Prepared, complete};
use super::upsert::upsert;
use crate::error::{Error, Result};
use crate::expr::Rule;
use crate::identity::Caller;
use crate::operators::Operators;
use crate::preconditions::{IfNoneMatch, Preconditions};
use crate::store::intent::Intent;
use crate::store::upsert::twice;
use futures_util::future::join_all;
use serde_json::{Map, Value};
use std::collections::HashMap;

/// One write that a client requests.
#[derive(Debug, Clone)]
pub struct Operation {
    /// The collection's name.
    pub collection: String,
    /// The kind of write.
    pub kind: OperationKind,
    /// The operation's conditions.
    pub preconditions: Preconditions,
}

/// The kind of a write.
#[derive(Debug, Clone)]
pub enum OperationKind {
    /// Create a record with a server-generated id.
    Create(Map<String, Value>),
    /// Replace (`If-Match`) or create (`If-None-Match: *`) the record with this id.
    Put(String, Map<String, Value>),
    /// Apply a JSON Merge Patch (RFC 7396) to the record with this id.
    Patch(String, Map<String, Value>),
    /// Apply operators to the record with this id.
    Operate(String, Operators),
    /// Delete the record with this id.
    Delete(String),
    /// Undelete the record with this id.
    Undelete(String),
    /// Replace the record that has the same values in these fields, or create it.
    Upsert(Vec<String>, Map<String, Value>),
}

impl OperationKind {
    /// The rule that permits it.
    fn rule(&self) -> Rule {
        match self {
            Self::Create(_) | Self::Upsert(..) => Rule::Create,
            Self::Put(..) | Self::Patch(..) | Self::Operate(..) => Rule::Update,
            Self::Delete(_) => Rule::Delete,
            Self::Undelete(_) => Rule::Undelete,
        }
    }
}

impl Operation {
    /// Checks what can be checked before any definition is read.
    ///
    /// # Errors
    /// `PreconditionRequired` for a PUT that does not state whether it replaces or creates a record. `BadRequest` for an id
    /// that a new record may not have.
    pub fn check(&self, now: u64) -> Result<()> {
        let OperationKind::Put(id, _) = &self.kind else { return Ok(()) };
        match (self.preconditions.if_match.is_sent(), &self.preconditions.if_none_match) {
            (true, _) => Ok(()),
            (false, IfNoneMatch::Any) => check_new_id(id, now).map_err(|reason| Error::bad_request("id", reason)),
            _ => Err(Error::PreconditionRequired(
                "Send If-Match with the record's ETag to replace it, or If-None-Match: * to create it.",
            )),
        }
    }
}

impl Operations {
    /// The intent of one operation, if the caller is allowed.
    ///
    /// # Errors
    /// The errors of definitions and rules before any record is read; then those of missing tombstones and unreachable
    /// targets.
    pub async fn intent(&self, caller: &Caller, operation: Operation) -> Result<Intent> {
        let prepared = self.prepare(caller, operation).await?;
        let completed = complete(self, caller, vec![prepared]).await?;
        completed.into_iter().next().ok_or_else(|| Error::internal("an operation produced no intent"))?
    }

    /// The intents of several operations. Looks up all their collections together. Reads no record if one of them is refused.
    ///
    /// # Errors
    /// `Batch`, with the error of each failed operation.
    pub async fn intents(&self, caller: &Caller, operations: Vec<Operation>) -> Result<Vec<Intent>> {
        let named = operations.iter().map(|operation| operation.collection.as_str()).collect();
        let missing = self.definitions.prefetch(named, matches!(caller, Caller::Anonymous)).await?;
        let prepared = operations.into_iter().map(async |operation| match missing.contains(&operation.collection) {
            true => Err(absent(caller, operation.kind.rule())),
            false => self.prepare(caller, operation).await,
        });
        let mut written = HashMap::new();
        let distinct = join_all(prepared).await.into_iter().enumerate().map(|(position, prepared)| {
            let prepared = prepared?;
            let first = *written.entry(prepared.writes()).or_insert(position);
            if first == position { Ok(prepared) } else { Err(twice(first)) }
        });
        let prepared = all_or_errors(distinct.collect())?;
        all_or_errors(complete(self, caller, prepared).await?)
    }

    async fn prepare(&self, caller: &Caller, operation: Operation) -> Result<Prepared> {
        operation.check(self.clock.millis())?;
        let Operation { collection, kind, preconditions } = operation;
        let name = collection.as_str();
        match kind {
            OperationKind::Create(body) => prepare::create(self, caller, name, body).await,
            OperationKind::Put(id, body) if preconditions.if_match.is_sent() => {
                prepare::replace(self, caller, (name, &id), body, preconditions).await
            }
            OperationKind::Put(id, body) => prepare::create_with_id(self, caller, (name, &id), body).await,
            OperationKind::Patch(id, patch) => prepare::merge(self, caller, (name, &id), patch, preconditions).await,
            OperationKind::Operate(id, operators) => {
                prepare::operate(self, caller, (name, &id), operators, preconditions).await
            }
            OperationKind::Upsert(by, body) => upsert(self, caller, (name, &by), body, preconditions).await,
            OperationKind::Delete(id) => prepare::delete(self, caller, (name, &id), preconditions).await,
            OperationKind::Undelete(id) => prepare::undelete(self, caller, (name, &id), preconditions).await,
        }
    }
}

/// All results, or `Batch` with the error of each failed operation. An internal error fails the whole batch.
///
/// # Errors
/// See above.
pub fn all_or_errors<T>(outcomes: Vec<Result<T>>) -> Result<Vec<T>> {
    let (mut done, mut errors) = (Vec::new(), Vec::new());
    for (position, outcome) in outcomes.into_iter().enumerate() {
        match outcome {
            Ok(one) => done.push(one),
            Err(error @ (Error::Internal(_) | Error::Unavailable { .. } | Error::OutcomeUnknown(_))) => {
                return Err(error);
            }
            Err(error) => errors.push((position, error)),
        }
    }
    if errors.is_empty() { Ok(done) } else { Err(Error::Batch(errors)) }
}
