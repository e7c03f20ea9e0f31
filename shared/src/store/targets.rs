//! The records that a write makes its own point at, found in what is to be written. Whether they are there, the write itself
//! has to see.

use super::definitions::Definitions;
use super::write::Target;
use crate::error::{Error, Result};
use crate::id;
use crate::schema::Collection;
use serde_json::{Map, Value};

/// What these members of a record point at. `known`: the user's own account, which a token has proven and no write has to look at.
///
/// # Errors
/// `Invalid` for what is no id, and for a collection that is not there.
pub async fn targets(
    definitions: &Definitions,
    collection: &Collection,
    known: Option<&str>,
    members: &Map<String, Value>,
) -> Result<Vec<Target>> {
    let mut targets = Vec::new();
    for (field, relation) in collection.relations() {
        let Some(id) = members.get(field).and_then(Value::as_str) else { continue };
        if relation.collection == "users" && known == Some(id) {
            continue;
        }
        let nowhere = || Error::field(format!("/{field}"), "relation", "there is no such record to point at");
        if !id::is_valid(id) {
            return Err(nowhere());
        }
        let other = definitions.collection(&relation.collection).await?.ok_or_else(nowhere)?;
        let (field, on_delete) = (field.to_owned(), relation.on_delete);
        targets.push(Target { field, on_delete, collection: other, id: id.to_owned() });
    }
    Ok(targets)
}
