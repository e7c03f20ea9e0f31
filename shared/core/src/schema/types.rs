//! The types of a value, read from its schema through references, `anyOf`, `oneOf`, `allOf`, `if`, `enum` and `not`.
//!
//! The result may include a type that no valid value has, and never leaves out one that a valid value has.

use std::cell::Cell;

use serde_json::{Map, Value};

use crate::expr::Kind;
use crate::json_pointer::unescape;

use super::places::percent_decoded;

/// Maximum number of references followed in a chain.
const MAX_HOPS: usize = 8;
/// Maximum number of schemas looked at for one value. With more of them, any type counts as possible.
const MAX_STEPS: u32 = 10_000;

/// The types that a value may have.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Types {
    null: bool,
    flag: bool,
    number: bool,
    object: bool,
    text: Option<Text>,
    list: Option<Elements>,
    /// The most elements of a list: `u64::MAX` if there is no bound, or no list.
    most: u64,
}

/// The strings that a value may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Text {
    Any,
    /// Only times, by `"format": "date-time"`.
    Moment,
}

/// The elements that a list may have.
#[derive(Debug, Clone, PartialEq)]
enum Elements {
    Any,
    Of(Box<Types>),
}

impl Types {
    /// The types that `schema`, a part of `root`, allows.
    pub fn of(root: &Map<String, Value>, schema: &Value) -> Self {
        Walk { root, steps: Cell::new(0) }.types(schema, MAX_HOPS)
    }

    fn any() -> Self {
        let (text, list) = (Some(Text::Any), Some(Elements::Any));
        Self { null: true, flag: true, number: true, object: true, text, list, most: u64::MAX }
    }

    fn none() -> Self {
        Self { null: false, flag: false, number: false, object: false, text: None, list: None, most: u64::MAX }
    }

    /// The kind of its values other than `null`: `Other` if they have several types, or none.
    pub fn kind(&self) -> Kind {
        match self.one() {
            Some("text") if self.text == Some(Text::Moment) => Kind::Moment,
            Some("text") => Kind::Text,
            Some("a number") => Kind::Number,
            Some("true or false") => Kind::Flag,
            Some("a list") => match &self.list {
                Some(Elements::Of(elements)) => match elements.kind() {
                    // Times inside lists are stored as sent, so they compare as text.
                    Kind::Moment => Kind::List(Box::new(Kind::Text)),
                    element if element.is_scalar() => Kind::List(Box::new(element)),
                    _ => Kind::Other,
                },
                _ => Kind::Other,
            },
            _ => Kind::Other,
        }
    }

    /// Whether `null` is among its values.
    pub fn has_null(&self) -> bool {
        self.null
    }

    /// Whether an object is among its values.
    pub fn has_object(&self) -> bool {
        self.object
    }

    /// Whether there is none.
    pub fn is_none(&self) -> bool {
        *self == Self::none()
    }

    /// The most elements that a list among its values has; `None` if there is no bound, or no list.
    pub fn max_items(&self) -> Option<u64> {
        Some(self.most).filter(|most| *most < u64::MAX)
    }

    /// The types other than `null`, for a message: `text, a number or a list`.
    pub fn description(&self) -> String {
        let names: Vec<&str> = self.names().collect();
        match names.split_last() {
            None => "never anything but null".to_owned(),
            Some((only, [])) => (*only).to_owned(),
            Some((last, others)) => format!("{} or {last}", others.join(", ")),
        }
    }

    fn names(&self) -> impl Iterator<Item = &'static str> {
        let all = [
            (self.text.is_some(), "text"),
            (self.number, "a number"),
            (self.flag, "true or false"),
            (self.list.is_some(), "a list"),
            (self.object, "an object"),
        ];
        all.into_iter().filter_map(|(is_possible, name)| is_possible.then_some(name))
    }

    /// The only type besides `null`.
    fn one(&self) -> Option<&'static str> {
        let mut names = self.names();
        names.next().filter(|_| names.next().is_none())
    }

    /// The types of a value that both allow.
    fn and(self, other: Self) -> Self {
        let text = match (self.text, other.text) {
            (Some(one), Some(another)) => Some(if one == Text::Any { another } else { one }),
            _ => None,
        };
        let list = match (self.list, other.list) {
            (Some(Elements::Any), Some(elements)) | (Some(elements), Some(Elements::Any)) => Some(elements),
            (Some(Elements::Of(one)), Some(Elements::Of(another))) => Some(Elements::Of(Box::new(one.and(*another)))),
            _ => None,
        };
        let most = if list.is_some() { self.most.min(other.most) } else { u64::MAX };
        Self {
            null: self.null && other.null,
            flag: self.flag && other.flag,
            number: self.number && other.number,
            object: self.object && other.object,
            text,
            list,
            most,
        }
    }

    /// The types of a value that one of them allows.
    fn or(self, other: Self) -> Self {
        let most = match (&self.list, &other.list) {
            (Some(_), None) => self.most,
            (None, Some(_)) => other.most,
            _ => self.most.max(other.most),
        };
        let text = match (self.text, other.text) {
            (Some(one), Some(another)) if one == another => Some(one),
            (Some(_), Some(_)) => Some(Text::Any),
            (one, another) => one.or(another),
        };
        let list = match (self.list, other.list) {
            (Some(Elements::Of(one)), Some(Elements::Of(another))) => Some(Elements::Of(Box::new(one.or(*another)))),
            (Some(_), Some(_)) => Some(Elements::Any),
            (one, another) => one.or(another),
        };
        Self {
            null: self.null || other.null,
            flag: self.flag || other.flag,
            number: self.number || other.number,
            object: self.object || other.object,
            text,
            list,
            most,
        }
    }

    /// The types with this name. An unknown name is refused elsewhere.
    fn named(name: &str) -> Self {
        match name {
            "null" => Self { null: true, ..Self::none() },
            "boolean" => Self { flag: true, ..Self::none() },
            "number" | "integer" => Self { number: true, ..Self::none() },
            "object" => Self { object: true, ..Self::none() },
            "string" => Self { text: Some(Text::Any), ..Self::none() },
            "array" => Self { list: Some(Elements::Any), ..Self::none() },
            _ => Self::any(),
        }
    }

    /// The types without those that have this name.
    fn without(self, name: &str) -> Self {
        match name {
            "null" => Self { null: false, ..self },
            "boolean" => Self { flag: false, ..self },
            "number" => Self { number: false, ..self },
            "object" => Self { object: false, ..self },
            "string" => Self { text: None, ..self },
            "array" => Self { list: None, most: u64::MAX, ..self },
            _ => self,
        }
    }

    fn of_value(value: &Value) -> Self {
        match value {
            Value::Array(elements) => {
                let most = elements.len() as u64;
                let elements = union(elements.iter().map(Self::of_value));
                Self { list: Some(Elements::Of(Box::new(elements))), most, ..Self::none() }
            }
            Value::Null => Self::named("null"),
            Value::Bool(_) => Self::named("boolean"),
            Value::Number(_) => Self::named("number"),
            Value::String(_) => Self::named("string"),
            Value::Object(_) => Self::named("object"),
        }
    }
}

fn union(each: impl Iterator<Item = Types>) -> Types {
    each.fold(Types::none(), Types::or)
}

/// The names in `type`: one, or several.
fn names(value: &Value) -> impl Iterator<Item = &str> {
    value.as_str().into_iter().chain(value.as_array().into_iter().flatten().filter_map(Value::as_str))
}

struct Walk<'a> {
    root: &'a Map<String, Value>,
    steps: Cell<u32>,
}

impl<'a> Walk<'a> {
    fn types(&self, schema: &'a Value, hops: usize) -> Types {
        let steps = self.steps.replace(self.steps.get().saturating_add(1));
        match schema {
            Value::Bool(false) => Types::none(),
            Value::Object(schema) if steps < MAX_STEPS => self.of_keywords(schema, hops),
            _ => Types::any(),
        }
    }

    /// Every keyword of a schema must hold, so each may only narrow the types.
    fn of_keywords(&self, schema: &'a Map<String, Value>, hops: usize) -> Types {
        let each = schema.iter().filter_map(|(keyword, value)| self.of_keyword(schema, keyword, value, hops));
        let mut types = each.fold(Types::any(), Types::and);
        if let (Some(Text::Any), Some("date-time")) = (types.text, schema.get("format").and_then(Value::as_str)) {
            types.text = Some(Text::Moment);
        }
        for name in schema.get("not").and_then(of_type_alone).into_iter().flat_map(names) {
            types = types.without(name);
        }
        types
    }

    fn of_keyword(
        &self,
        schema: &'a Map<String, Value>,
        keyword: &str,
        value: &'a Value,
        hops: usize,
    ) -> Option<Types> {
        let listed = || value.as_array().into_iter().flatten();
        Some(match keyword {
            "type" => union(names(value).map(Types::named)),
            // A `type` with null keeps it although the values leave it out, so that a rule may compare the field with null.
            "enum" | "const" => {
                let values =
                    if keyword == "const" { std::slice::from_ref(value) } else { value.as_array()?.as_slice() };
                let values = union(values.iter().map(Types::of_value));
                Types { null: values.null || schema.contains_key("type"), ..values }
            }
            "$ref" | "$dynamicRef" => self.types(resolve(self.root, value.as_str()?)?, hops.checked_sub(1)?),
            // Any number may be written as 50.0.
            "maxItems" => Types { most: value.as_f64().map_or(u64::MAX, |most| most as u64), ..Types::any() },
            "allOf" => listed().map(|one| self.types(one, hops)).fold(Types::any(), Types::and),
            "anyOf" | "oneOf" => union(listed().map(|one| self.types(one, hops))),
            // The value satisfies `if` and `then`, or else `else`.
            "if" => {
                let branch = |name: &str| schema.get(name).map_or_else(Types::any, |branch| self.types(branch, hops));
                self.types(value, hops).and(branch("then")).or(branch("else"))
            }
            "items" | "prefixItems" => {
                let elements = Elements::Of(Box::new(self.elements(schema, hops)));
                Types { list: Some(elements), ..Types::any() }
            }
            _ => return None,
        })
    }

    /// The types of a list's elements: those of `prefixItems`, and those of `items` for the rest.
    fn elements(&self, schema: &'a Map<String, Value>, hops: usize) -> Types {
        let first = schema.get("prefixItems").and_then(Value::as_array).into_iter().flatten();
        let rest = schema.get("items").map_or_else(Types::any, |items| self.types(items, hops));
        union(first.map(|element| self.types(element, hops))).or(rest)
    }
}

/// The value of `type`, if the schema has no other keyword.
fn of_type_alone(schema: &Value) -> Option<&Value> {
    schema.as_object().filter(|schema| schema.len() == 1)?.get("type")
}

/// The schema that a local reference leads to.
fn resolve<'a>(root: &'a Map<String, Value>, reference: &str) -> Option<&'a Value> {
    let fragment = percent_decoded(reference.strip_prefix('#')?)?;
    let Some(path) = fragment.strip_prefix('/') else {
        return root.values().find_map(|value| anchored(value, &fragment));
    };
    let mut steps = path.split('/').map(unescape);
    let first = root.get(&steps.next()?);
    steps.fold(first, |value, step| match value? {
        Value::Array(elements) => elements.get(step.parse::<usize>().ok()?),
        value => value.get(&step),
    })
}

/// The schema with this anchor, in a value.
fn anchored<'a>(value: &'a Value, anchor: &str) -> Option<&'a Value> {
    match value {
        Value::Object(members) => {
            let is_named = |name: &str| members.get(name).and_then(Value::as_str) == Some(anchor);
            if is_named("$anchor") || is_named("$dynamicAnchor") {
                return Some(value);
            }
            members.values().find_map(|member| anchored(member, anchor))
        }
        Value::Array(elements) => elements.iter().find_map(|element| anchored(element, anchor)),
        _ => None,
    }
}

#[cfg(test)]
#[path = "tests/types.rs"]
mod tests;
