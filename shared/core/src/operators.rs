//! Operators on the fields of a record: `add` to a number, `append` to a list, `remove` from a list. Their result depends on
//! the stored value, so two of them at the same time both count.

use std::collections::{BTreeMap, HashSet};

use serde::Deserialize;
use serde_json::{Map, Number, Value};

use crate::error::{Error, FieldError, Result};
use crate::expr::number;
use crate::json_pointer::escape;
use crate::strict_serde;

/// The media type of a body with operators.
pub const MEDIA_TYPE: &str = "application/vnd.undercroft.operators+json";

/// A change of one field that depends on its stored value. An absent field and `null` count as 0 or as an empty list.
#[derive(Debug, Clone, PartialEq)]
pub enum Operator {
    /// Adds this number.
    Add(Number),
    /// Puts these elements at the end. With `uniqueItems`, elements that the list has already are left out.
    Append(Vec<Value>),
    /// Removes every element that equals one of these. What is not there is no error.
    Remove(Vec<Value>),
}

/// Operators, at most one for a field.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Operators {
    each: BTreeMap<String, Operator>,
    names: Map<String, Value>,
}

/// The body.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    #[serde(default)]
    add: Map<String, Value>,
    #[serde(default)]
    append: Map<String, Value>,
    #[serde(default)]
    remove: Map<String, Value>,
}

impl Operators {
    /// Reads a body.
    ///
    /// # Errors
    /// `Invalid`, with every wrong member.
    pub fn parse(body: Value) -> Result<Self> {
        let body: Body = strict_serde::read(body).map_err(|error| {
            let message =
                format!("{error}. A body of operators has the members add, append and remove, which are objects.");
            Error::field("", "shape", message)
        })?;
        let (mut operators, mut errors) = (Self::default(), Vec::new());
        let list = |value: Value| match value {
            Value::Array(elements) => Ok(elements),
            _ => Err("This must be an array of elements. Put a single element into an array."),
        };
        let added = body.add.into_iter().map(|(field, value)| {
            let operator = match value {
                Value::Number(number) => Ok(Operator::Add(number)),
                _ => Err("This must be a number, which is added to the stored one."),
            };
            ("add", field, operator)
        });
        let appended =
            body.append.into_iter().map(|(field, value)| ("append", field, list(value).map(Operator::Append)));
        let removed =
            body.remove.into_iter().map(|(field, value)| ("remove", field, list(value).map(Operator::Remove)));
        for (name, field, operator) in added.chain(appended).chain(removed) {
            let pointer = format!("/{name}/{}", escape(&field));
            match operator {
                Err(message) => errors.push(FieldError::new(pointer, "type", message)),
                Ok(_) if operators.each.contains_key(&field) => {
                    let message =
                        "Another operator of this body changes the same field. Send them one after the other.";
                    errors.push(FieldError::new(pointer, "twice", message));
                }
                Ok(operator) => {
                    operators.names.insert(field.clone(), Value::Null);
                    operators.each.insert(field, operator);
                }
            }
        }
        if errors.is_empty() { Ok(operators) } else { Err(Error::Invalid(errors)) }
    }

    /// Each field with its operator.
    pub fn each(&self) -> impl Iterator<Item = (&str, &Operator)> {
        self.each.iter().map(|(field, operator)| (field.as_str(), operator))
    }

    /// The names of the fields, each with `null` instead of its result, which is not known.
    pub fn names(&self) -> &Map<String, Value> {
        &self.names
    }

    /// The elements that come into lists, by field.
    pub fn appended(&self) -> Map<String, Value> {
        let elements = |(field, operator): (&String, &Operator)| match operator {
            Operator::Append(elements) => Some((field.clone(), Value::from(elements.clone()))),
            Operator::Add(_) | Operator::Remove(_) => None,
        };
        self.each.iter().filter_map(elements).collect()
    }

    /// Changes the data of a record. `is_set` says whether the elements of a list must be unique.
    ///
    /// # Errors
    /// Every field whose stored value is of another type, and every sum that cannot be stored.
    pub fn apply(&self, data: &mut Map<String, Value>, is_set: impl Fn(&str) -> bool) -> Result<(), Vec<FieldError>> {
        let mut errors = Vec::new();
        for (field, operator) in &self.each {
            let before = data.get_mut(field).filter(|value| !value.is_null());
            let after = match operator {
                Operator::Add(number) => added(before.as_deref(), number).map(Some),
                Operator::Append(new) => {
                    elements(before).map(|list| Some(appended(list.unwrap_or_default(), new, is_set(field))))
                }
                Operator::Remove(gone) => elements(before).map(|list| list.map(|list| without(list, gone))),
            };
            match after {
                Ok(Some(value)) => drop(data.insert(field.clone(), value)),
                Ok(None) => {}
                Err((code, message)) => errors.push(FieldError::new(format!("/{}", escape(field)), code, message)),
            }
        }
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }
}

impl Operator {
    /// Its name in a body.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Add(_) => "add",
            Self::Append(_) => "append",
            Self::Remove(_) => "remove",
        }
    }
}

type Refusal = (&'static str, &'static str);

fn added(before: Option<&Value>, number: &Number) -> Result<Value, Refusal> {
    match before {
        None => Ok(number.clone().into()),
        Some(Value::Number(stored)) => {
            number::sum(stored, number).map(Value::Number).map_err(|inexact| (inexact.code(), inexact.message()))
        }
        Some(_) => Err(("type", "The stored value is not a number. Send a value with a merge patch.")),
    }
}

/// Takes the elements out of a stored list.
fn elements(before: Option<&mut Value>) -> Result<Option<Vec<Value>>, Refusal> {
    match before {
        None => Ok(None),
        Some(Value::Array(elements)) => Ok(Some(std::mem::take(elements))),
        Some(_) => Err(("type", "The stored value is not a list. Send a list with a merge patch.")),
    }
}

fn appended(mut list: Vec<Value>, new: &[Value], is_set: bool) -> Value {
    if !is_set {
        list.extend_from_slice(new);
        return list.into();
    }
    let mut known: HashSet<String> = list.iter().map(Value::to_string).collect();
    list.extend(new.iter().filter(|element| known.insert(element.to_string())).cloned());
    list.into()
}

fn without(list: Vec<Value>, gone: &[Value]) -> Value {
    let gone: HashSet<String> = gone.iter().map(Value::to_string).collect();
    list.into_iter().filter(|element| !gone.contains(&element.to_string())).collect::<Vec<_>>().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn applied(stored: Value, body: Value, is_set: bool) -> Result<Value, Vec<&'static str>> {
        let mut data = stored.as_object().cloned().unwrap();
        let operators = Operators::parse(body).unwrap();
        let codes = |errors: Vec<FieldError>| errors.iter().map(|error| error.code).collect();
        operators.apply(&mut data, |_| is_set).map(|()| data.into()).map_err(codes)
    }

    #[test]
    fn an_absent_field_and_null_count_as_nothing() {
        for stored in [json!({}), json!({ "n": null, "l": null })] {
            let after = applied(stored, json!({ "add": { "n": 2 }, "append": { "l": ["x"] } }), false).unwrap();
            assert_eq!(after, json!({ "n": 2, "l": ["x"] }));
        }
        assert_eq!(applied(json!({}), json!({ "remove": { "l": ["x"] } }), false).unwrap(), json!({}));
        assert_eq!(
            applied(json!({ "l": null }), json!({ "remove": { "l": [] } }), false).unwrap(),
            json!({ "l": null })
        );
    }

    #[test]
    fn every_equal_element_is_removed_and_a_set_takes_an_element_once() {
        let list = json!({ "l": ["bar", "baz", "foo", "baz"] });
        let after = applied(list.clone(), json!({ "remove": { "l": ["baz", "absent"] } }), false).unwrap();
        assert_eq!(after, json!({ "l": ["bar", "foo"] }));
        let append = json!({ "append": { "l": ["foo", "new", "new", { "a": 1, "b": 2 }, { "b": 2, "a": 1 }] } });
        let as_set = applied(json!({ "l": ["foo"] }), append.clone(), true).unwrap();
        assert_eq!(as_set, json!({ "l": ["foo", "new", { "a": 1, "b": 2 }] }));
        let as_list = applied(json!({ "l": ["foo"] }), append, false).unwrap();
        assert_eq!(as_list["l"].as_array().unwrap().len(), 6);
    }

    #[test]
    fn a_value_of_another_type_and_a_sum_without_all_digits_are_refused() {
        assert_eq!(applied(json!({ "n": "1" }), json!({ "add": { "n": 1 } }), false), Err(vec!["type"]));
        assert_eq!(applied(json!({ "l": "x" }), json!({ "append": { "l": ["x"] } }), false), Err(vec!["type"]));
        assert_eq!(applied(json!({ "l": {} }), json!({ "remove": { "l": ["x"] } }), false), Err(vec!["type"]));
        let large: Value = serde_json::from_str(r#"{"n":1e50}"#).unwrap();
        assert_eq!(applied(large, json!({ "add": { "n": 1 } }), false), Err(vec!["number_too_precise"]));
    }

    #[test]
    fn a_malformed_body_is_refused_at_its_place() {
        for (body, pointer, code) in [
            (json!({ "append": { "l": "x" } }), "/append/l", "type"),
            (json!({ "remove": { "l": { "0": "x" } } }), "/remove/l", "type"),
            (json!({ "add": { "n": "1" } }), "/add/n", "type"),
            (json!({ "add": { "n": null } }), "/add/n", "type"),
            (json!({ "append": { "l": [] }, "remove": { "l": [] } }), "/remove/l", "twice"),
            (json!({ "$append": { "l": [] } }), "", "shape"),
            (json!([{ "op": "add", "path": "/l/-", "value": "x" }]), "", "shape"),
            (json!({ "add": ["n", 1] }), "", "shape"),
        ] {
            let Error::Invalid(errors) = Operators::parse(body.clone()).unwrap_err() else { panic!("{body}") };
            let found: Vec<_> = errors.iter().map(|error| (error.pointer.as_str(), error.code)).collect();
            assert_eq!(found, [(pointer, code)], "{body}");
        }
    }
}
