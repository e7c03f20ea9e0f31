//! What a definition's relations lean on, looked at while it is put: the collections they point at, and the indexes by which
//! their records are found when what they point at is deleted.

use crate::App;
use serde_json::json;
use undercroft::error::{Error, FieldError, Result};
use undercroft::schema::{Collection, Definition, OnDelete, Relation};
use undercroft::store::definitions::State as Stage;

/// Checks every relation of a definition.
///
/// # Errors
/// `Invalid`, with each relation that points at no collection, or whose `onDelete` could not be carried out.
pub async fn check(app: &App, definition: &Definition) -> Result<()> {
    let collection = Collection::compile(definition.clone()).map_err(Error::Invalid)?;
    let mut problems = Vec::new();
    for (field, relation) in collection.relations() {
        let pointer = format!("/schema/properties/{field}/relation");
        if !exists(app, definition, &relation.collection).await? {
            let message = format!("there is no collection `{}`: put that one first", relation.collection);
            problems.push(FieldError::new(format!("{pointer}/collection"), "no_collection", message));
        }
        problems.extend(unfollowed(&collection, field, relation, &format!("{pointer}/onDelete")));
    }
    if problems.is_empty() { Ok(()) } else { Err(Error::Invalid(problems)) }
}

/// Whether a relation may point at this collection: one that is there, the users, or the collection that is being put.
async fn exists(app: &App, definition: &Definition, target: &str) -> Result<bool> {
    if target == "users" || target == definition.name {
        return Ok(true);
    }
    Ok(app.definitions.get(target).await?.is_some_and(|stored| stored.stage != Stage::Gone))
}

/// Why `onDelete` could not be carried out. A user is never deleted yet, so nothing has to follow one.
fn unfollowed(collection: &Collection, field: &str, relation: &Relation, pointer: &str) -> Option<FieldError> {
    if relation.on_delete == OnDelete::Restrict || relation.collection == "users" {
        return None;
    }
    if relation.on_delete == OnDelete::SetNull && collection.field(field).is_some_and(|field| field.required) {
        let message = format!("setNull takes `{field}` out of the record, and every record has to have it");
        return Some(FieldError::new(pointer, "required", message));
    }
    let mut indexes = collection.definition().indexes.iter();
    if indexes.any(|index| matches!(index.partition.as_slice(), [only] if only == field)) {
        return None;
    }
    let index = json!({ "name": index_name(field), "partition": [field], "sort": [] });
    let message = format!(
        "the records that point at a deleted one are found through an index whose partition is just this field; \
         add to `indexes`: {index}"
    );
    Some(FieldError::new(pointer, "index_required", message))
}

/// A name for the index by a field: `by_post` for `post`, `by_parent_task` for `parentTask`.
fn index_name(field: &str) -> String {
    let lower = |char: char| {
        let start = char.is_ascii_uppercase().then_some('_');
        start.into_iter().chain(std::iter::once(char.to_ascii_lowercase()))
    };
    std::iter::once("by_").flat_map(str::chars).chain(field.chars().flat_map(lower)).take(63).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn collection(on_delete: &str, extra: Value) -> Collection {
        let mut body = json!({ "name": "comments", "schema": { "type": "object", "additionalProperties": false, "properties": {
            "thePost": { "type": "string", "relation": { "collection": "posts", "onDelete": on_delete } } } } });
        if let (Some(body), Some(extra)) = (body.as_object_mut(), extra.as_object()) {
            body.extend(extra.clone());
        }
        Collection::compile(Definition::parse("comments", body, None).expect("a valid definition"))
            .expect("it compiles")
    }

    fn problem(on_delete: &str, extra: Value) -> Option<FieldError> {
        let collection = collection(on_delete, extra);
        let (field, relation) = collection.relations().next().expect("a relation");
        unfollowed(&collection, field, relation, "/p")
    }

    #[test]
    fn what_must_follow_needs_the_index_that_finds_it_and_the_error_brings_it() {
        for on_delete in ["cascade", "setNull"] {
            let error = problem(on_delete, json!({})).expect("no index");
            assert_eq!(error.code, "index_required");
            let index = error.message.split("`indexes`: ").nth(1).expect("the index");
            let index: Value = serde_json::from_str(index).expect("JSON");
            assert_eq!(index, json!({ "name": "by_the_post", "partition": ["thePost"], "sort": [] }));
            assert_eq!(problem(on_delete, json!({ "indexes": [index] })), None, "it is the one that was needed");
            let sorted = json!({ "indexes": [{ "name": "x", "partition": ["thePost"], "sort": ["-createdAt"] }] });
            assert_eq!(problem(on_delete, sorted), None);
        }
        let not_enough = json!({ "indexes": [{ "name": "x", "partition": [], "sort": ["thePost"] }] });
        assert!(problem("cascade", not_enough).is_some());
        assert_eq!(problem("restrict", json!({})), None);
    }
}
