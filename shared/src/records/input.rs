//! Checks what a client sends and completes it to data: no server-owned members, all defaults, valid.

use super::operations::Operations;
use crate::error::{Error, FieldError, Result};
use crate::expr::is_system;
use crate::id;
use crate::identity::Caller;
use crate::json_pointer;
use crate::operators::{Operator, Operators};
use crate::schema::Collection;
use crate::store::intent::Target;
use crate::store::targets::{self, Referring};
use serde_json::{Map, Value};

/// How far a client's clock may be ahead of the server's, in milliseconds.
const MAX_CLOCK_SKEW_MILLIS: u64 = 60_000;

/// Removes the id from a body that repeats the one in the path (R63), and refuses members that clients may not write (R67).
///
/// # Errors
/// `Invalid`, with every wrong member.
pub fn strip(
    collection: &Collection,
    caller: &Caller,
    path_id: Option<&str>,
    body: &mut Map<String, Value>,
) -> Result<()> {
    if let (Some(path_id), Some(sent)) = (path_id, body.get("id")) {
        if sent.as_str() != Some(path_id) {
            return Err(Error::field(
                "/id",
                "conflict",
                "The id in the body differs from the id in the path. Leave it out of the body.",
            ));
        }
        body.remove("id");
    }
    let kept = |name: &&String| is_system(name) || (collection.read_only(name) && !caller.is_admin());
    let kept = body
        .keys()
        .filter(kept)
        .map(|name| FieldError::new(format!("/{name}"), "read_only", "The server sets this field. Leave it out."));
    // After unknown members are removed, the schema reports none of them again.
    let unknown = body
        .iter()
        .filter(|(name, value)| value.is_null() && !is_system(name) && collection.field(name).is_none())
        .map(|(name, _)| {
            let pointer = format!("/{}", json_pointer::escape(name));
            FieldError::new(
                pointer,
                "unknown_field",
                "The schema has no such field. Leave it out, or add it to the schema.",
            )
        });
    let errors: Vec<FieldError> = kept.chain(unknown).chain(collection.unequal(body)).collect();
    if errors.is_empty() { Ok(()) } else { Err(Error::Invalid(errors)) }
}

/// Refuses operators on fields that clients may not write, or whose stored value they may not see: the outcome would reveal it.
///
/// # Errors
/// `Invalid`, with every wrong field.
pub fn check_operators(collection: &Collection, caller: &Caller, operators: &Operators) -> Result<()> {
    let problem = |(name, operator): (&str, &Operator)| {
        let (code, message) = match collection.field(name) {
            _ if is_system(name) => ("read_only", "The server sets this field. Leave it out."),
            None => ("unknown_field", "The schema has no such field. Leave it out, or add it to the schema."),
            Some(_) if collection.has_two_names(name) => (
                "conflict",
                "This field is being renamed and has two names, which get one value. Send it with a merge patch.",
            ),
            Some(_) if caller.is_admin() => return None,
            Some(field) if field.read_only => ("read_only", "The server sets this field. Leave it out."),
            Some(field) if field.value.hidden => (
                "unreadable",
                "The result of an operator depends on the stored value, which you may not read. Send the value with a merge \
                 patch.",
            ),
            Some(_) => return None,
        };
        let pointer = format!("/{}/{}", operator.name(), json_pointer::escape(name));
        Some(FieldError::new(pointer, code, message))
    };
    let errors: Vec<FieldError> = operators.each().filter_map(problem).collect();
    if errors.is_empty() { Ok(()) } else { Err(Error::Invalid(errors)) }
}

/// Completes the data of a new record: defaults, stored form, validation. Requests and imports both use it.
///
/// # Errors
/// `Invalid`, with every wrong member.
pub fn validate_new(collection: &Collection, data: &mut Map<String, Value>) -> Result<()> {
    collection.canonicalise(data);
    let unequal = collection.unequal(data);
    if !unequal.is_empty() {
        return Err(Error::Invalid(unequal));
    }
    collection.apply_defaults(data);
    collection.validate(data).map_err(Error::Invalid)
}

/// Checks that a new record may have this id.
///
/// # Errors
/// The reason why it may not.
pub fn check_new_id(id: &str, now: u64) -> Result<(), &'static str> {
    match id::millis(id) {
        None => Err("The id is not a UUIDv7 in lower case with hyphens (RFC 9562). Send such an id."),
        Some(made) if made > now + MAX_CLOCK_SKEW_MILLIS => Err(
            "The time in this id is in the future. Generate the id with the current time, because createdAt is derived from \
             it.",
        ),
        Some(_) => Ok(()),
    }
}

/// A record's id from the path. A malformed id counts as a missing record.
///
/// # Errors
/// `NotFound`, as for a missing record.
pub fn record_id(text: &str) -> Result<&str> {
    if id::is_valid(text) { Ok(text) } else { Err(Error::NotFound("record")) }
}

/// The records that these members refer to, which the write must check for existence and permission. The caller's own account
/// needs no check: the token proves it.
pub async fn targets(
    operations: &Operations,
    collection: &Collection,
    caller: &Caller,
    members: &Map<String, Value>,
) -> Result<Vec<Target>> {
    targets::targets(&operations.definitions, collection, Referring::Caller(caller), members, operations.clock.millis())
        .await
}
