//! The data of a record after a change: merged (RFC 7396) or replaced, validated, with no immutable field changed.

use super::intent::What;
use super::record::Record;
use super::size_shares;
use crate::error::{Error, FieldError, Result};
use crate::policy::Grant;
use crate::schema::{Collection, of_merged};
use serde_json::{Map, Value};

/// The data after a change: merged or replaced, in its stored form, validated, with no immutable field changed.
pub(super) fn changed(grant: &Grant, stored: &Record, change: &What) -> Result<Map<String, Value>> {
    let collection = grant.collection();
    let unread = !grant.allows_reading(&stored.view());
    if unread && let Some(problem) = depends_on_unread(collection, change) {
        return Err(Error::Invalid(vec![problem]));
    }
    let mut data = match change {
        What::Create(data) | What::Replace(data) | What::Migrate(data) => data.clone(),
        What::Delete | What::Undelete | What::Upsert(_) => stored.data.clone(),
        What::Merge(patch) => {
            let mut data = stored.data.clone();
            // A caller must not merge into an object they may not see: the validation result would reveal it.
            data.retain(|name, _| grant.is_admin() || !collection.is_hidden(name) || !patch.contains_key(name));
            merge(&mut data, patch);
            data
        }
        What::Operate(operators) => {
            let mut data = stored.data.clone();
            operators.apply(&mut data, |field| collection.is_set(field)).map_err(Error::Invalid)?;
            data
        }
    };
    if matches!(change, What::Replace(_)) {
        if !grant.is_admin() {
            keep_unseen(collection, stored, unread, &mut data);
        }
        collection.apply_defaults_again(&mut data);
    }
    if let Some(sent) = change.sent() {
        collection.mirror_merged(sent, &mut data);
    }
    let unheard = take_unheard(collection, stored, change, &mut data);
    collection.validate_change(&stored.data, &mut data).map_err(|problems| match change {
        What::Merge(patch) => Error::Invalid(of_merged(patch, problems)),
        _ => Error::Invalid(problems),
    })?;
    data.extend(unheard);
    size_shares::check(collection, Some(&stored.data), &data)?;
    let fixed = |name: &&String| {
        (collection.write_once(name) && !grant.is_system()) || (collection.read_only(name) && !grant.is_admin())
    };
    let mut names = data.keys().chain(stored.data.keys()).filter(fixed);
    let before = |name: &str| {
        let former = || stored.data.get(collection.former_name(name)?);
        stored.data.get(name).or_else(former)
    };
    let changed = |name: &&String| data.get(*name) != before(name);
    // Guesses are refused first: the order in which fields are named must not reveal whether a guess was right.
    match guessed(grant, change, unread).or_else(|| names.find(changed)) {
        Some(name) => Err(Error::field(
            format!("/{name}"),
            "fixed",
            "This field cannot be changed. Leave it out, or send the value you read.",
        )),
        None => Ok(data),
    }
}

/// Takes out the stored fields that a patch does not touch and that this function does not know: another one goes by a newer
/// definition already. They stay as they are.
fn take_unheard(
    collection: &Collection,
    stored: &Record,
    change: &What,
    data: &mut Map<String, Value>,
) -> Map<String, Value> {
    let What::Merge(patch) = change else { return Map::new() };
    let unheard = |name: &&String| collection.field(name).is_none() && !patch.contains_key(*name);
    let names: Vec<&String> = stored.data.keys().filter(unheard).collect();
    names.into_iter().filter_map(|name| data.remove_entry(name)).collect()
}

/// Why the outcome of a change depends on stored fields that the writer may not read. Whether such a change is valid, or
/// unique, would reveal those fields.
fn depends_on_unread(collection: &Collection, change: &What) -> Option<FieldError> {
    let stays: Box<dyn Fn(&str) -> bool> = match change {
        What::Merge(patch) => {
            if let Some((name, _)) = patch.iter().find(|(_, value)| value.is_object()) {
                let message =
                    "A patch merges this object into the stored one, which you may not read. Send the record with PUT.";
                return Some(FieldError::new(format!("/{name}"), "unreadable", message));
            }
            Box::new(|name| !patch.contains_key(name))
        }
        What::Operate(_) => {
            let message = "The result of an operator depends on the stored value, which you may not read. Send the value with a \
                           merge patch.";
            return Some(FieldError::new("", "unreadable", message));
        }
        What::Replace(body) => Box::new(|name| is_kept(collection, name, true) && !body.contains_key(name)),
        What::Create(_) | What::Migrate(_) | What::Delete | What::Undelete | What::Upsert(_) => return None,
    };
    if !collection.is_memberwise() && collection.field_names().any(|name| !collection.is_hidden(name) && stays(name)) {
        let message = "The schema validates several fields together, and you may not read the stored ones. Send every field \
                       with PUT, or use an account that may read the record.";
        return Some(FieldError::new("", "unreadable", message));
    }
    let is_split = |fields: &&Vec<String>| {
        let kept = fields.iter().filter(|field| stays(field)).count();
        kept > 0 && kept < fields.len()
    };
    let split = collection.definition().unique.iter().find(is_split)?;
    let names = split.join(" and ");
    let message =
        format!("The values of {names} are unique together, and you may not read the stored ones. Send all of them.");
    Some(FieldError::new("", "unreadable", message))
}

/// The immutable field in a change that the writer may not read, either because the field is hidden or because the record is
/// (`unread`). Accepting the stored value and refusing others would reveal the stored value.
fn guessed<'a>(grant: &Grant, change: &'a What, unread: bool) -> Option<&'a String> {
    let collection = grant.collection();
    let is_fixed = |name: &&String| collection.write_once(name) && (unread || collection.is_hidden(name));
    change.sent().filter(|_| !grant.is_admin())?.keys().find(is_fixed)
}

/// A replacement keeps the stored value of a field that the writer may not read or write.
fn keep_unseen(collection: &Collection, stored: &Record, unread: bool, data: &mut Map<String, Value>) {
    for (name, value) in &stored.data {
        if is_kept(collection, name, unread) && !data.contains_key(name) {
            data.insert(name.clone(), value.clone());
        }
    }
}

/// Whether a replacement without this field keeps it. A writer who may not read the record (`unread`) sees no field.
fn is_kept(collection: &Collection, name: &str, unread: bool) -> bool {
    collection.is_hidden(name) || collection.read_only(name) || (unread && collection.write_once(name))
}

/// RFC 7396 for an object.
fn merge(data: &mut Map<String, Value>, patch: &Map<String, Value>) {
    for (name, value) in patch {
        match (value, data.get_mut(name)) {
            (Value::Null, _) => {
                data.remove(name);
            }
            (Value::Object(patch), Some(Value::Object(stored))) => merge(stored, patch),
            (Value::Object(patch), _) => {
                let mut fresh = Map::new();
                merge(&mut fresh, patch);
                data.insert(name.clone(), Value::Object(fresh));
            }
            (value, _) => {
                data.insert(name.clone(), value.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_examples_of_rfc_7396_have_their_printed_results() {
        for (stored, patch, result) in [
            (json!({"a":"b"}), json!({"a":"c"}), json!({"a":"c"})),
            (json!({"a":"b"}), json!({"b":"c"}), json!({"a":"b","b":"c"})),
            (json!({"a":"b"}), json!({"a":null}), json!({})),
            (json!({"a":"b","b":"c"}), json!({"a":null}), json!({"b":"c"})),
            (json!({"a":["b"]}), json!({"a":"c"}), json!({"a":"c"})),
            (json!({"a":"c"}), json!({"a":["b"]}), json!({"a":["b"]})),
            (json!({"a":{"b":"c"}}), json!({"a":{"b":"d","c":null}}), json!({"a":{"b":"d"}})),
            (json!({"a":[{"b":"c"}]}), json!({"a":[1]}), json!({"a":[1]})),
            (json!({"e":null}), json!({"a":1}), json!({"e":null,"a":1})),
            (json!({}), json!({"a":{"bb":{"ccc":null}}}), json!({"a":{"bb":{}}})),
        ] {
            let mut data = stored.as_object().cloned().unwrap();
            merge(&mut data, patch.as_object().unwrap());
            assert_eq!(Value::Object(data), result, "{stored} patched with {patch}");
        }
    }
}
