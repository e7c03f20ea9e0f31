//! What a client sent to be stored, on its way to being data: nothing the server keeps, nothing only the server writes.

use crate::App;
use serde_json::{Map, Value};
use undercroft::error::{Error, FieldError, Result};
use undercroft::expr::is_system;
use undercroft::id;
use undercroft::identity::Caller;
use undercroft::json_pointer;
use undercroft::schema::Collection;
use undercroft::store::intent::Target;
use undercroft::store::targets::{self, Referring};

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
    app: &App,
    collection: &Collection,
    caller: &Caller,
    members: &Map<String, Value>,
) -> Result<Vec<Target>> {
    targets::targets(&app.definitions, collection, Referring::Caller(caller), members, app.clock.millis()).await
}
