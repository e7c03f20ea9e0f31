//! Checks of a definition's relations while it is put: the collections they point at, and the indexes that find records when the
//! record they point at is deleted.

use super::operations::Operations;
use super::referrers;
use crate::error::{Error, FieldError, Result};
use crate::query::{MAX_INDEXES, each_of, free_index_name};
use crate::schema::{Collection, Definition, Field, OnDelete, Referrer, Relation};
use crate::store::TransactWriteItem;
use crate::store::definitions::Stored;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

/// Checks every relation of a definition.
///
/// # Errors
/// `Invalid`, with each relation whose collection does not exist or whose `onDelete` cannot work.
pub async fn check(operations: &Operations, definition: &Definition) -> Result<()> {
    let collection = Collection::compile(definition.clone()).map_err(Error::Invalid)?;
    let mut problems = Vec::new();
    for (field, relation) in collection.relations() {
        let pointer = format!("/schema/properties/{field}/relation");
        let target = target(operations, definition, &relation.collection).await?;
        if target.is_none() {
            let message = format!("The collection `{}` does not exist. Define it first.", relation.collection);
            problems.push(FieldError::new(format!("{pointer}/collection"), "no_collection", message));
        }
        problems.extend(unfollowed(&collection, field, relation, &format!("{pointer}/onDelete")));
        let referrer =
            Referrer { collection: definition.name.clone(), field: field.to_owned(), on_delete: relation.on_delete };
        problems.extend(target.and_then(|target| referrers::stopping(&referrer, &target)));
    }
    problems.extend(referrers::stopped(operations, definition).await?);
    if problems.is_empty() { Ok(()) } else { Err(Error::Invalid(problems)) }
}

/// The definition that a relation may point at: an existing one, that of `users`, or the one being put.
async fn target(operations: &Operations, definition: &Definition, target: &str) -> Result<Option<Definition>> {
    if target == definition.name {
        return Ok(Some(definition.clone()));
    }
    if target == "users" {
        return Ok(Some(Definition::users()));
    }
    let stored = operations.definitions.get(target).await?.filter(|stored| stored.stage.is_ready());
    Ok(stored.map(|stored| stored.definition))
}

/// Why `onDelete` cannot work. Users cannot be deleted yet, so relations to them need no index.
fn unfollowed(collection: &Collection, field: &str, relation: &Relation, pointer: &str) -> Option<FieldError> {
    if relation.on_delete == OnDelete::Restrict || relation.collection == "users" {
        return None;
    }
    let is_many = collection.field(field).is_some_and(Field::is_many);
    if relation.on_delete == OnDelete::SetNull
        && !is_many
        && collection.field(field).is_some_and(|field| field.required)
    {
        let message = format!("setNull removes `{field}` from the record, but the schema requires it.");
        return Some(FieldError::new(pointer, "required", message));
    }
    let indexes = &collection.definition().indexes;
    let mut declared = indexes.iter().filter(|index| !index.retiring);
    let partition = [if is_many { each_of(field) } else { field.to_owned() }];
    if declared.clone().any(|index| index.partition == partition) {
        return None;
    }
    let index = json!({ "name": free_index_name(indexes, &partition, &[]), "partition": partition, "sort": [] });
    let add = if declared.nth(MAX_INDEXES - 1).is_some() { "Replace one of the" } else { "Add to" };
    let message = format!(
        "onDelete needs an index whose partition is only {}, to find the records that point at a deleted one. \
         {add} `indexes`: {index}",
        if is_many { "the elements of this field" } else { "this field" }
    );
    Some(FieldError::new(pointer, "index_required", message))
}

/// Relations by the collection they point at.
pub type Referrals = BTreeMap<String, Vec<Referrer>>;

/// The referrers that other definitions must list after a put: each changed definition is part of the transaction of the put.
/// Referrers of the collection itself are stored in its own definition.
pub async fn note(
    operations: &Operations,
    definition: &mut Definition,
    before: &Referrals,
    after: &Referrals,
) -> Result<Vec<TransactWriteItem>> {
    let mut puts = Vec::new();
    for target in before.keys().chain(after.keys()).collect::<BTreeSet<_>>() {
        let pointing = after.get(target).cloned().unwrap_or_default();
        if *target == definition.name {
            definition.referrers = with(&definition.referrers, &definition.name, pointing);
            continue;
        }
        let stored = operations.definitions.get(target).await?.filter(|stored| stored.stage.is_ready());
        let Some(Stored { definition: known, stage }) = stored else {
            if pointing.is_empty() {
                continue;
            }
            return Err(Error::conflict(
                "changed",
                format!("The collection `{target}` was deleted meanwhile. Read the collections again."),
            ));
        };
        referrers::check_none_stops(&pointing, &known)?;
        let is_new = before.get(target) != Some(&pointing);
        let referrers = with(&known.referrers, &definition.name, pointing);
        // A changed relation always writes the target's definition, so that a concurrent deletion of the target, or a put that
        // begins to delete its records by a cascade, conflicts.
        if referrers != known.referrers || is_new {
            let reported = Definition { referrers, version: known.version + 1, ..known.clone() };
            puts.push(operations.definitions.putting(&reported, stage, known.version)?);
        }
    }
    Ok(puts)
}

fn with(known: &[Referrer], name: &str, pointing: Vec<Referrer>) -> Vec<Referrer> {
    known.iter().filter(|referrer| referrer.collection != name).cloned().chain(pointing).collect()
}

/// The relations of both definitions: until the job is done, either may be in force. An outdated referrer is harmless, because
/// its readers check whether it still points here.
pub fn either(before: &Referrals, after: &Referrals) -> Referrals {
    let mut either = after.clone();
    for (target, referrers) in before {
        let known = either.entry(target.clone()).or_default();
        let missing: Vec<Referrer> = referrers.iter().filter(|referrer| !known.contains(referrer)).cloned().collect();
        known.extend(missing);
    }
    either
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
    fn cascade_and_set_null_need_an_index_and_the_error_names_it() {
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
