//! What a client sent to be stored, on its way to being data: nothing the server keeps, nothing only the server writes.

use crate::App;
use serde_json::{Map, Value};
use undercroft::error::{Error, FieldError, Result};
use undercroft::expr::is_system;
use undercroft::id;
use undercroft::identity::Caller;
use undercroft::schema::Collection;
use undercroft::store::write::Target;

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
    let errors: Vec<FieldError> = body
        .keys()
        .filter(kept)
        .map(|name| FieldError::new(format!("/{name}"), "read_only", "the server keeps this field: leave it out"))
        .collect();
    if errors.is_empty() { Ok(()) } else { Err(Error::Invalid(errors)) }
}

/// A record's id from the path. What is no id names no record.
///
/// # Errors
/// `NotFound`, as for a record that is not there.
pub fn record_id(text: &str) -> Result<&str> {
    if id::is_valid(text) { Ok(text) } else { Err(Error::NotFound("record")) }
}

/// The records that these members point at and that the write has to see alive. The caller's own account needs no look: the
/// token has proven it.
pub async fn targets(
    app: &App,
    collection: &Collection,
    caller: &Caller,
    members: &Map<String, Value>,
) -> Result<Vec<Target>> {
    let mut targets = Vec::new();
    for (field, relation) in collection.relations() {
        let Some(id) = members.get(field).and_then(Value::as_str) else { continue };
        if relation.collection == "users" && id == caller.id() {
            continue;
        }
        let nowhere = || Error::field(format!("/{field}"), "relation", "there is no such record to point at");
        if !id::is_valid(id) {
            return Err(nowhere());
        }
        let other = app.definitions.collection(&relation.collection).await?.ok_or_else(nowhere)?;
        let (field, on_delete) = (field.to_owned(), relation.on_delete);
        targets.push(Target { field, on_delete, collection: other, id: id.to_owned() });
    }
    Ok(targets)
}
