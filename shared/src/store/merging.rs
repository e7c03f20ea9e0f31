//! The data of a record after a change: merged (RFC 7396) or replaced, valid, and with nothing changed that must not be.

use super::intent::What;
use super::record::Record;
use super::size_shares;
use crate::error::{Error, FieldError, Result};
use crate::policy::Grant;
use crate::schema::Collection;
use serde_json::{Map, Value};

/// The data after a change: merged or replaced, in one form, valid, and with nothing changed that must not be.
pub(super) fn changed(grant: &Grant, stored: &Record, change: &What) -> Result<Map<String, Value>> {
    let collection = grant.collection();
    let unread = !grant.allows_reading(&stored.view());
    if unread && let Some(problem) = depends_on_unread(collection, change) {
        return Err(Error::Invalid(vec![problem]));
    }
    let mut data = match change {
        What::Create(data) | What::Replace(data) => data.clone(),
        What::Delete | What::Undelete => stored.data.clone(),
        What::Merge(patch) => {
            let mut data = stored.data.clone();
            // Into what they do not see nobody merges: whether the outcome is valid would tell what is there.
            data.retain(|name, _| grant.is_admin() || !collection.is_hidden(name) || !patch.contains_key(name));
            merge(&mut data, patch);
            data
        }
    };
    if matches!(change, What::Replace(_)) {
        if !grant.is_admin() {
            keep_unseen(collection, stored, unread, &mut data);
        }
        collection.apply_defaults_again(&mut data);
    }
    collection.validate_change(&stored.data, &mut data).map_err(Error::Invalid)?;
    collection.canonicalise(&mut data);
    size_shares::check(collection, Some(&stored.data), &data)?;
    let fixed = |name: &&String| {
        (collection.write_once(name) && !grant.is_system()) || (collection.read_only(name) && !grant.is_admin())
    };
    let mut names = data.keys().chain(stored.data.keys()).filter(fixed);
    let changed = |name: &&String| data.get(*name) != stored.data.get(*name);
    // A guess is refused before anything else: which field is named first must not say whether it was right.
    match guessed(grant, change, unread).or_else(|| names.find(changed)) {
        Some(name) => Err(Error::field(format!("/{name}"), "fixed", "this field cannot be changed")),
        None => Ok(data),
    }
}

/// Why what becomes of a record depends on stored fields that its writer may not read: whether such a change is valid, or unique,
/// would tell what is there.
fn depends_on_unread(collection: &Collection, change: &What) -> Option<FieldError> {
    let stays: Box<dyn Fn(&str) -> bool> = match change {
        What::Merge(patch) => {
            if let Some((name, _)) = patch.iter().find(|(_, value)| value.is_object()) {
                let message =
                    "an object is merged into what is stored, which you may not read: replace the record with PUT";
                return Some(FieldError::new(format!("/{name}"), "unreadable", message));
            }
            Box::new(|name| !patch.contains_key(name))
        }
        What::Replace(body) => Box::new(|name| is_kept(collection, name, true) && !body.contains_key(name)),
        What::Create(_) | What::Delete | What::Undelete => return None,
    };
    if !collection.is_memberwise() && collection.field_names().any(|name| !collection.is_hidden(name) && stays(name)) {
        let message = "the schema holds several fields against each other, and you may not read the stored ones: send every \
                       field, with PUT, or ask for the right to read the record";
        return Some(FieldError::new("", "unreadable", message));
    }
    let is_split = |fields: &&Vec<String>| {
        let kept = fields.iter().filter(|field| stays(field)).count();
        kept > 0 && kept < fields.len()
    };
    let split = collection.definition().unique.iter().find(is_split)?;
    let message =
        format!("{} are unique together, and you may not read the stored ones: send all of them", split.join(" and "));
    Some(FieldError::new("", "unreadable", message))
}

/// A field of a change that cannot be changed, and is hidden from whoever makes it or is of a record that they may not read
/// (`unread`). Were it taken where it says what is stored already, that would tell what is stored.
fn guessed<'a>(grant: &Grant, change: &'a What, unread: bool) -> Option<&'a String> {
    let collection = grant.collection();
    let is_fixed = |name: &&String| collection.write_once(name) && (unread || collection.is_hidden(name));
    change.sent().filter(|_| !grant.is_admin())?.keys().find(is_fixed)
}

/// A replacement by somebody who does not see or write a field leaves it as it is.
fn keep_unseen(collection: &Collection, stored: &Record, unread: bool, data: &mut Map<String, Value>) {
    for (name, value) in &stored.data {
        if is_kept(collection, name, unread) && !data.contains_key(name) {
            data.insert(name.clone(), value.clone());
        }
    }
}

/// Whether a replacement that leaves the field out keeps it. Of a record that its writer may not read (`unread`) they see none.
fn is_kept(collection: &Collection, name: &str, unread: bool) -> bool {
    collection.is_hidden(name) || collection.read_only(name) || (unread && collection.write_once(name))
}

/// RFC 7396 on an object.
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
    fn the_examples_of_rfc_7396_come_out_as_printed_there() {
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
