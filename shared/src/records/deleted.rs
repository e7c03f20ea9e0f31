//! `deleted=true`: lists tombstones with time and author of the deletion. For admins; other callers do not learn whether the
//! collection exists.

use super::list_request::ListRequest;
use super::operations::Operations;
use super::page::page;

use crate::error::{Error, Result};
use crate::expr::{Input, Rule};
use crate::identity::Caller;
use crate::policy::{Grant, allow};
use crate::store::deleted::Deleted;
use serde_json::{Value, json};

/// Default number of items read per page.
const SCAN: u32 = 1_000;

/// Lists tombstones, ordered by id.
pub async fn list(
    operations: &Operations,
    caller: &Caller,
    name: &str,
    limit: usize,
    request: &ListRequest,
) -> Result<Value> {
    match caller {
        Caller::Anonymous => return Err(Error::Unauthenticated("Sign in to send this request.")),
        Caller::User(user) if !user.is_admin() => {
            return Err(Error::Forbidden("Only admins may list deleted records.".into()));
        }
        Caller::User(_) => {}
    }
    if let Some(other) = excluded(request) {
        let detail = format!("deleted=true lists by id and accepts only limit, scan and cursor. Leave out {other}.");
        return Err(Error::bad_request("deleted", detail));
    }
    let collection = operations.collection(name, caller, Rule::List).await?;
    let grant = allow(caller, Rule::List, &collection, operations.clock.millis(), Input::None)?;
    let purpose = json!(["deleted", caller.id(), name, collection.definition().generation]).to_string();
    let position = operations.position(&purpose, request.cursor.as_deref()).await?;
    let scan = usize::try_from(request.scan.unwrap_or(SCAN)).unwrap_or(usize::MAX);
    let (records, next) = operations.records.deleted(&grant, limit, scan, position.as_deref()).await?;
    let items = records.iter().map(|deleted| shown(deleted, &grant)).collect();
    Ok(page(operations, &purpose, items, next.as_deref()).await?.into())
}

/// A parameter that cannot be combined with `deleted=true`.
fn excluded(request: &ListRequest) -> Option<&'static str> {
    let asked = [
        ("filter", request.filter.is_some()),
        ("sort", request.sort.is_some()),
        ("fields", request.fields.is_some()),
        ("expand", request.expand.is_some()),
        ("explain", request.explain),
        ("count", request.count),
    ];
    asked.into_iter().find(|(_, asked)| *asked).map(|(name, _)| name)
}

fn shown(deleted: &Deleted, grant: &Grant) -> Value {
    let mut shown = deleted.record.shown(grant);
    shown.insert("deletedAt".into(), deleted.at.clone().into());
    shown.insert("deletedBy".into(), deleted.by.clone().into());
    shown.into()
}
