//! Prepares an upsert: the create and the change that it may come to, each as far as the caller is allowed.

use super::input;
use super::operations::Operations;
use super::prepare::{Prepared, filled, granted};
use crate::error::{Error, Result};
use crate::expr::{Input, Rule};
use crate::id;
use crate::identity::Caller;
use crate::policy::{Grant, allow};
use crate::preconditions::Preconditions;
use crate::schema::Collection;
use crate::store::intent::{Intent, Upsert, UpsertKey, What};
use serde_json::{Map, Value};
use std::sync::Arc;

/// The name that stands for the id among the fields that name a record.
const ID: &str = "id";

/// Prepares replacing the record that has the same values in the fields `by`, which are `id` or those of a unique constraint,
/// or creating it.
pub(super) async fn upsert(
    operations: &Operations,
    caller: &Caller,
    (name, by): (&str, &[String]),
    mut body: Map<String, Value>,
    preconditions: Preconditions,
) -> Result<Prepared> {
    let collection = operations.collection(name, caller, Rule::Create).await?;
    let now = operations.clock.millis();
    let by_id = match by {
        [only] if only == ID => Some(own_id(&mut body, now)?),
        _ => None,
    };
    let create = granted(caller, &collection, now, body.clone());
    let change = changing(caller, &collection, now, body);
    let (create, change) = either(caller, &collection, create, change)?;
    let by = match &by_id {
        Some(id) => UpsertKey::Id(id.clone()),
        None => by_value(&collection, by, &create, change.as_ref())?,
    };
    let id = by_id.unwrap_or_else(|| id::of_time(now));
    let restore = match by {
        UpsertKey::Id(_) => restoring(caller, &collection, now),
        UpsertKey::Unique(_) => Vec::new(),
    };
    let intent = |grant: Grant, what: What, preconditions: Preconditions| Intent {
        grant,
        id: id.clone(),
        what,
        preconditions,
        targets: Vec::new(),
        cause: None,
    };
    let create = create.map(|(grant, data)| intent(grant, What::Create(data), Preconditions::NONE));
    let change = change.map(|(grant, body)| intent(grant, What::Replace(body), preconditions.clone()));
    let grant = create.as_ref().ok().or(change.as_ref()).map(|either| either.grant.clone());
    let grant = grant.ok_or_else(|| Error::internal("an upsert came to nothing"))?;
    let upsert = Upsert { by, create, change, restore, row: None };
    Ok(Prepared::new(grant, id, What::Upsert(Box::new(upsert)), preconditions))
}

/// Takes the id from the body.
fn own_id(body: &mut Map<String, Value>, now: u64) -> Result<String> {
    let id = body.remove(ID).ok_or_else(|| Error::field("/id", "required", "The id names the record. Send it."))?;
    let id = id.as_str().unwrap_or_default();
    input::check_new_id(id, now).map_err(|reason| Error::field("/id", "id", reason))?;
    Ok(id.to_owned())
}

type Allowed = (Grant, Map<String, Value>);

/// The replacement, if the caller may make it.
fn changing(caller: &Caller, collection: &Arc<Collection>, now: u64, mut body: Map<String, Value>) -> Result<Allowed> {
    collection.canonicalise(&mut body);
    let ask = |body: &Map<String, Value>| {
        let (whole, sent) = (filled(collection, body), collection.named_by_replacement(body));
        allow(caller, Rule::Update, collection, now, Input::Change { whole: &whole, sent: &sent })
    };
    ask(&body)?;
    input::strip(collection, caller, None, &mut body)?;
    Ok((ask(&body)?, body))
}

/// The two that an upsert may come to, if there is any.
///
/// # Errors
/// The error of the create if neither is allowed, or if no replacement can be valid where the new record is not.
fn either(
    caller: &Caller,
    collection: &Collection,
    create: Result<Allowed>,
    change: Result<Allowed>,
) -> Result<(Result<Allowed>, Option<Allowed>)> {
    match (create, change) {
        (Err(error), Ok(_)) if matches!(error, Error::Invalid(_)) && keeps_nothing(caller, collection) => Err(error),
        (Err(error @ Error::Invalid(_)), Err(_)) | (Err(_), Err(error @ Error::Invalid(_))) | (Err(error), Err(_)) => {
            Err(error)
        }
        (create, change) => Ok((create, change.ok())),
    }
}

/// Whether a replacement is the same whatever is stored, so that it is valid only if a new record is.
fn keeps_nothing(caller: &Caller, collection: &Collection) -> bool {
    let is_kept = |name: &str| collection.is_hidden(name) || collection.read_only(name) || collection.write_once(name);
    collection.definition().next().is_none() && (caller.is_admin() || !collection.field_names().any(is_kept))
}

/// The value that names the record.
///
/// # Errors
/// `Refused` when the fields are no unique constraint, or one whose values are not all claimed yet. `Invalid` when the body
/// lacks a value.
fn by_value(
    collection: &Collection,
    by: &[String],
    create: &Result<Allowed>,
    change: Option<&Allowed>,
) -> Result<UpsertKey> {
    let fields = constraint(collection, by)?;
    let data = match (create, change) {
        (Ok((_, data)), _) => data.clone(),
        (Err(_), Some((_, body))) => filled(collection, body),
        (Err(error), None) => return Err(error.clone()),
    };
    UpsertKey::of_value(collection, fields, &data).ok_or_else(|| {
        let lacks = |field: &&String| data.get(*field).is_none_or(Value::is_null);
        let missing = fields.iter().find(lacks).map(String::as_str).unwrap_or_default();
        Error::field(format!("/{missing}"), "required", "This value names the record. Send it.")
    })
}

/// The constraint over exactly these fields, in any order.
///
/// # Errors
/// As [`by_value`].
pub fn constraint<'a>(collection: &'a Collection, by: &[String]) -> Result<&'a Vec<String>> {
    let definition = collection.definition();
    let same = |fields: &&Vec<String>| fields.len() == by.len() && fields.iter().all(|field| by.contains(field));
    let Some(fields) = definition.unique.iter().find(same) else {
        let there: Vec<String> = definition.unique.iter().map(|fields| fields.join(",")).collect();
        let detail = format!(
            "This collection has no unique constraint over `{}`. Name `id` or a constraint of the definition{}{}.",
            by.join(","),
            if there.is_empty() { "; it has none" } else { ": " },
            there.join("; ")
        );
        return Err(Error::refused("no_constraint", detail));
    };
    if definition.claims().contains(fields) {
        let detail = format!(
            "The values of the unique constraint over {} are still being collected. Try again when the collection's job is \
             done.",
            fields.join(" and ")
        );
        return Err(Error::refused("constraint_building", detail));
    }
    Ok(fields)
}

/// The rights to bring back a deleted record.
fn restoring(caller: &Caller, collection: &Arc<Collection>, now: u64) -> Vec<Grant> {
    let ask = |rule| allow(caller, rule, collection, now, Input::None).ok();
    [ask(Rule::Undelete), ask(Rule::Delete)].into_iter().flatten().collect()
}
