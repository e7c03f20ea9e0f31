//! What a client sent to be stored, on its way to being data: nothing that only the server writes, every default in its place, valid.

use super::operations::Operations;
use crate::error::{Error, FieldError, Result};
use crate::expr::is_system;
use crate::id;
use crate::identity::Caller;
use crate::json_pointer;
use crate::schema::Collection;
use crate::store::intent::Target;
use crate::store::targets::{self, Referring};
use serde_json::{Map, Value};

/// How far a client's clock may be ahead of the server's, in milliseconds.
const MAX_CLOCK_SKEW_MILLIS: u64 = 60_000;

/// Takes the id out of a body that repeats the one in the path (R63), and refuses what clients do not write (R67).
///
/// # Errors
/// `Invalid`, naming each member.
pub fn strip(
    collection: &Collection,
    caller: &Caller,
    path_id: Option<&str>,
    body: &mut Map<String, Value>,
) -> Result<()> {
    if let (Some(path_id), Some(sent)) = (path_id, body.get("id")) {
        if sent.as_str() != Some(path_id) {
            return Err(Error::field("/id", "conflict", "the id in the body is not the id in the path"));
        }
        body.remove("id");
    }
    let kept = |name: &&String| is_system(name) || (collection.read_only(name) && !caller.is_admin());
    let kept = body
        .keys()
        .filter(kept)
        .map(|name| FieldError::new(format!("/{name}"), "read_only", "the server keeps this field: leave it out"));
    // Taking away what is no field leaves nothing for the schema to find.
    let unknown = body
        .iter()
        .filter(|(name, value)| value.is_null() && !is_system(name) && collection.field(name).is_none())
        .map(|(name, _)| {
            let pointer = format!("/{}", json_pointer::escape(name));
            FieldError::new(pointer, "unknown_field", "there is no such field")
        });
    let errors: Vec<FieldError> = kept.chain(unknown).collect();
    if errors.is_empty() { Ok(()) } else { Err(Error::Invalid(errors)) }
}

/// Completes the data of a new record: defaults, validation, one form for times. Requests and imports pass through this one gate.
///
/// # Errors
/// `Invalid`, naming each member.
pub fn complete_new(collection: &Collection, data: &mut Map<String, Value>) -> Result<()> {
    collection.apply_defaults(data);
    collection.validate(data).map_err(Error::Invalid)?;
    collection.canonicalise(data);
    Ok(())
}

/// Checks that a record may be made under this id.
///
/// # Errors
/// The reason why not.
pub fn check_new_id(id: &str, now: u64) -> Result<(), &'static str> {
    match id::millis(id) {
        None => Err("an id is a UUIDv7 in lower case with hyphens (RFC 9562)"),
        Some(made) if made > now + MAX_CLOCK_SKEW_MILLIS => {
            Err("the time in this id has not come yet: createdAt is taken from it")
        }
        Some(_) => Ok(()),
    }
}

/// A record's id from the path. What is no id names no record.
///
/// # Errors
/// `NotFound`, as for a record that is not there.
pub fn record_id(text: &str) -> Result<&str> {
    if id::is_valid(text) { Ok(text) } else { Err(Error::NotFound("record")) }
}

/// The records that these members point at and that the write has to see: alive, and the caller's to point at. Their own account
/// needs no look: the token has proven it.
pub async fn targets(
    operations: &Operations,
    collection: &Collection,
    caller: &Caller,
    members: &Map<String, Value>,
) -> Result<Vec<Target>> {
    targets::targets(&operations.definitions, collection, Referring::Caller(caller), members, operations.clock.millis())
        .await
}
