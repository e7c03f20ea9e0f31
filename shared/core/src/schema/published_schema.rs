//! The published JSON Schemas of a collection: of a record that clients read, of the data they send, of a patch.
//!
//! A published schema holds for every record and every request. A keyword that involves a whole object is left out if not all
//! members of the object are published.
//!
//! No published schema has the keyword `default`: code generators send it with a patch, which then overwrites the stored value, and make the
//! field required in TypeScript.

use serde_json::{Map, Value, json};

use super::definition::Definition;
use super::formats;
use super::keywords;
use super::types::Types;

/// Keywords that apply to one member at a time, or to none.
const MEMBERWISE: [&str; 4] = ["type", "title", "description", "$defs"];
/// Keywords that are published with the prefix `x-`, which OpenAPI reserves for extensions.
const RENAMED: [(&str, &str); 4] =
    [("relation", "x-relation"), ("writeOnce", "x-writeOnce"), ("hidden", "x-hidden"), ("default", "x-default")];

impl Definition {
    /// The JSON Schema of a record as clients read it: server-owned members and data. It contains hidden fields only for
    /// those who see them (`whole`).
    pub fn record_schema(&self, whole: bool) -> Value {
        let seen = |property: &Value| whole || !flag(property, "hidden");
        let mut published = self.memberwise();
        let mut properties = kept_by_the_server();
        properties.extend(self.properties().into_iter().filter(|(_, property)| seen(property)).map(as_published));
        let system = ["id", "createdAt", "updatedAt", "version"].map(str::to_owned);
        let required: Vec<String> =
            system.into_iter().chain(self.required().filter(|name| properties.contains_key(name))).collect();
        published.insert("properties".into(), properties.into());
        published.insert("required".into(), required.into());
        finished(published)
    }

    /// The JSON Schema of the data that creates or replaces a record. A hidden field is `writeOnly`. A field with a default
    /// is optional.
    pub fn input_schema(&self) -> Value {
        let all = self.properties();
        let sent: Map<String, Value> = all
            .iter()
            .filter(|(_, property)| !flag(property, "readOnly"))
            .map(|(n, p)| (n.clone(), p.clone()))
            .collect();
        let needed = |name: &String| sent.get(name).is_some_and(|property| property.get("default").is_none());
        let required: Vec<String> = self.required().filter(needed).collect();
        let mut published = if sent.len() == all.len() { self.root() } else { self.memberwise() };
        published.insert(
            "properties".into(),
            sent.into_iter().map(with_default_described).map(as_published).map(as_sent).collect(),
        );
        published.insert("required".into(), required.into());
        published.insert("additionalProperties".into(), false.into());
        finished(published)
    }

    /// The JSON Schema of a JSON Merge Patch (RFC 7396) of a record: `null` removes an optional field, and is refused for a required one.
    pub fn patch_schema(&self) -> Value {
        let (required, root): (Vec<String>, _) = (self.required().collect(), self.root());
        let fixed = |property: &Value| flag(property, "readOnly") || flag(property, "writeOnce");
        let member = |(name, property): (String, Value)| {
            let types = Types::of(&root, &property);
            let (name, mut property) = as_published((name, property));
            property.as_object_mut().map(|members| members.remove("x-default"));
            let patched = match (types.has_object(), required.contains(&name)) {
                // A merge patch may send a part of an object.
                (true, _) => json!({}),
                (false, true) if types.has_null() => without_null(property),
                (false, true) => property,
                (false, false) => json!({ "anyOf": [property, { "type": "null" }] }),
            };
            (name, patched)
        };
        let properties: Map<String, Value> =
            self.properties().into_iter().filter(|(_, property)| !fixed(property)).map(member).collect();
        let mut published = self.memberwise();
        published.insert("properties".into(), properties.into());
        published.insert("additionalProperties".into(), false.into());
        finished(published)
    }

    fn root(&self) -> Map<String, Value> {
        self.schema.as_object().cloned().unwrap_or_default()
    }

    fn memberwise(&self) -> Map<String, Value> {
        self.root().into_iter().filter(|(keyword, _)| MEMBERWISE.contains(&keyword.as_str())).collect()
    }

    fn properties(&self) -> Map<String, Value> {
        self.schema.get("properties").and_then(Value::as_object).cloned().unwrap_or_default()
    }

    fn required(&self) -> impl Iterator<Item = String> {
        let names = self.schema.get("required").and_then(Value::as_array).into_iter().flatten();
        names.filter_map(|name| name.as_str().map(str::to_owned))
    }
}

/// Replaces every `$ref` in a schema by its `target`, and leaves out those without one.
pub fn refer(schema: &mut Value, target: &dyn Fn(&str) -> Option<String>) {
    let Some(root) = schema.as_object_mut() else { return };
    keywords::each(root, &mut |schema| {
        if let Some(Value::String(reference)) = schema.remove("$ref")
            && let Some(target) = target(&reference)
        {
            schema.insert("$ref".into(), target.into());
        }
    });
}

fn flag(property: &Value, name: &str) -> bool {
    property.get(name).and_then(Value::as_bool).unwrap_or(false)
}

/// If the collection has its own field with this name, that field is published instead.
fn kept_by_the_server() -> Map<String, Value> {
    let moment =
        |description| json!({ "type": "string", "format": "date-time", "readOnly": true, "description": description });
    Map::from_iter([
        ("id".to_owned(), json!({ "type": "string", "format": "uuid", "readOnly": true, "description": "UUIDv7" })),
        ("createdAt".to_owned(), moment("when it was created")),
        ("updatedAt".to_owned(), moment("when it was last changed")),
        (
            "version".to_owned(),
            json!({ "type": "integer", "minimum": 1, "readOnly": true, "description": "the number of writes" }),
        ),
        (
            "expanded".to_owned(),
            json!({ "type": "object", "readOnly": true, "description": "the records requested by `expand`" }),
        ),
    ])
}

fn as_published((name, mut property): (String, Value)) -> (String, Value) {
    if let Some(members) = property.as_object_mut() {
        members.remove("renamedFrom");
        for (ours, published) in RENAMED {
            if let Some(value) = members.remove(ours) {
                members.insert(published.to_owned(), value);
            }
        }
    }
    (name, property)
}

/// The default as a sentence of the description.
fn with_default_described((name, mut property): (String, Value)) -> (String, Value) {
    if let (Some(default), Some(members)) = (property.get("default").cloned(), property.as_object_mut()) {
        let known = members.get("description").and_then(Value::as_str).map(|text| format!("{text} "));
        members.insert("description".into(), format!("{}Default: {default}.", known.unwrap_or_default()).into());
    }
    (name, property)
}

/// Moves the extensions (`x-relation`) of a schema and its subschemas, and formats that are not asserted, to `$comment`, as JSON, and
/// leaves out keywords that have no effect without another one. Validators in strict mode, as Ajv by default, refuse all three.
pub fn without_extensions(schema: &mut Value) {
    let Some(root) = schema.as_object_mut() else { return };
    keywords::each(root, &mut |schema| {
        let is_extension = |keyword: &str, value: &Value| {
            keyword.starts_with("x-") || (keyword == "format" && formats::is_annotation(value))
        };
        let (extensions, mut standard): (Map<_, _>, Map<_, _>) =
            std::mem::take(schema).into_iter().partition(|(keyword, value)| is_extension(keyword, value));
        if !extensions.is_empty() {
            standard.insert("$comment".into(), Value::Object(extensions).to_string().into());
        }
        let has_branch = standard.contains_key("then") || standard.contains_key("else");
        let (is_conditional, contains) = (standard.contains_key("if"), standard.contains_key("contains"));
        standard.retain(|keyword, _| match keyword.as_str() {
            "if" => has_branch,
            "then" | "else" => is_conditional,
            "minContains" | "maxContains" => contains,
            _ => true,
        });
        *schema = standard;
    });
}

/// A hidden field can be sent and is not returned.
fn as_sent((name, mut property): (String, Value)) -> (String, Value) {
    if let (true, Some(members)) = (flag(&property, "x-hidden"), property.as_object_mut()) {
        members.insert("writeOnly".into(), true.into());
    }
    (name, property)
}

/// The schema of a field without `null`: in its `type`, where generators read it.
fn without_null(mut property: Value) -> Value {
    let not_null = json!({ "type": "null" });
    if let Some(types) = property.get_mut("type").filter(|types| types.is_array()) {
        let others = types.as_array().into_iter().flatten().filter(|name| *name != "null").cloned();
        let mut others: Vec<Value> = others.collect();
        *types = if others.len() == 1 { others.remove(0) } else { others.into() };
        return property;
    }
    match property.as_object_mut() {
        Some(members) if !members.contains_key("not") => {
            members.insert("not".into(), not_null);
            property
        }
        _ => json!({ "allOf": [property, { "not": not_null }] }),
    }
}

/// Leaves out definitions that nothing published refers to, and references to unpublished ones.
fn finished(mut published: Map<String, Value>) -> Value {
    let defined = published.remove("$defs").and_then(|defs| defs.as_object().cloned()).unwrap_or_default();
    let mut schema = Value::Object(published);
    let (mut used, mut wanted) = (Map::new(), references(&schema));
    while let Some(reference) = wanted.pop() {
        let name = reference.strip_prefix("#/$defs/").and_then(|path| path.split('/').next());
        let name = name.map(|name| name.replace("~1", "/").replace("~0", "~"));
        if let Some((name, definition)) = name.and_then(|name| defined.get_key_value(&name))
            && !used.contains_key(name)
        {
            wanted.extend(references(definition));
            used.insert(name.clone(), definition.clone());
        }
    }
    if let (false, Some(root)) = (used.is_empty(), schema.as_object_mut()) {
        root.insert("$defs".into(), used.into());
    }
    let whole = schema.clone();
    let target = |reference: &str| {
        let path = reference.strip_prefix('#').filter(|path| path.starts_with('/'))?;
        whole.pointer(path).map(|_| reference.to_owned())
    };
    refer(&mut schema, &target);
    if let Some(root) = schema.as_object_mut() {
        keywords::each(root, &mut |schema| {
            schema.remove("$anchor");
        });
    }
    schema
}

fn references(schema: &Value) -> Vec<String> {
    let found = std::cell::RefCell::new(Vec::new());
    refer(&mut schema.clone(), &|reference| {
        found.borrow_mut().push(reference.to_owned());
        None
    });
    found.into_inner()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition() -> Definition {
        let body = json!({ "name": "notes", "rules": {}, "schema": {
            "type": "object", "required": ["title", "state", "secret", "kept"],
            "$defs": { "place": { "type": "object", "$anchor": "p", "properties": { "of": { "$ref": "#/$defs/name" } } },
                       "name": { "type": "string" }, "inner": { "const": "canary" } },
            "properties": {
                "title": { "type": "string", "writeOnce": true },
                "state": { "enum": ["open", "done"], "default": "open" },
                "secret": { "type": "string", "hidden": true, "$ref": "#/$defs/inner" },
                "kept": { "type": "integer", "readOnly": true },
                "place": { "$ref": "#/$defs/place" },
                "note": { "type": "string" },
                "owner": { "type": "string", "relation": { "collection": "users" } } } } });
        let mut definition = Definition::parse("notes", body, None).unwrap();
        // Such keywords are refused today, but a stored definition may have them.
        definition.schema["minProperties"] = json!(2);
        definition.schema["properties"]["like"] = json!({ "$ref": "#/properties/secret" });
        definition
    }

    #[test]
    fn a_reader_s_schema_contains_nothing_hidden() {
        let published = definition().record_schema(false);
        assert!(!published.to_string().contains("secret") && !published.to_string().contains("canary"), "{published}");
        assert_eq!(published["required"], json!(["id", "createdAt", "updatedAt", "version", "title", "state", "kept"]));
        assert_eq!(
            published["$defs"],
            json!({ "name": { "type": "string" },
            "place": { "type": "object", "properties": { "of": { "$ref": "#/$defs/name" } } } })
        );
        assert_eq!(published["properties"]["like"], json!({}), "a reference to a hidden field is left out");
        assert_eq!(published["properties"]["title"], json!({ "type": "string", "x-writeOnce": true }));
        assert_eq!(published["minProperties"], Value::Null, "the server's own members count too");
        assert!(definition().record_schema(true).to_string().contains("canary"));
    }

    #[test]
    fn a_writer_s_schema_contains_what_may_be_sent() {
        let published = definition().input_schema();
        assert_eq!(published["required"], json!(["title", "secret"]));
        assert_eq!(published["properties"]["kept"], Value::Null);
        assert_eq!(published["properties"]["secret"]["writeOnly"], true);
        assert_eq!(published["additionalProperties"], false);
        let state = json!({ "enum": ["open", "done"], "x-default": "open", "description": "Default: \"open\"." });
        assert_eq!(published["properties"]["state"], state);
    }

    #[test]
    fn no_published_schema_has_a_default() {
        for published in [definition().record_schema(true), definition().input_schema(), definition().patch_schema()] {
            assert!(!published.to_string().contains("\"default\""), "{published}");
        }
    }

    #[test]
    fn a_standalone_schema_has_keywords_of_json_schema_alone() {
        let mut schema = definition().record_schema(true);
        schema["properties"]["note"]["x-mine"] = json!({ "a": 1 });
        schema["properties"]["note"]["then"] = json!(false);
        schema["properties"]["note"]["format"] = json!("ulid");
        schema["properties"]["kept"]["minContains"] = json!(2);
        schema["properties"]["place"]["if"] = json!({ "x-deep": true });
        without_extensions(&mut schema);
        let comment = |name: &str| -> Value {
            serde_json::from_str(schema["properties"][name]["$comment"].as_str().unwrap()).unwrap()
        };
        assert_eq!(comment("owner"), json!({ "x-relation": { "collection": "users" } }));
        assert_eq!(comment("title"), json!({ "x-writeOnce": true }));
        assert_eq!(comment("state"), json!({ "x-default": "open" }));
        assert_eq!(comment("note"), json!({ "x-mine": { "a": 1 }, "format": "ulid" }));
        assert_eq!(schema["properties"]["id"]["format"], "uuid");
        for absent in ["\"x-", "then", "minContains", "\"if\""] {
            let outside_comments = schema.to_string().replace("\\\"", "'");
            assert!(!outside_comments.contains(absent), "{absent}: {schema}");
        }
    }

    #[test]
    fn a_patch_removes_optional_fields_with_null() {
        let published = definition().patch_schema();
        assert_eq!(published["properties"]["note"], json!({ "anyOf": [{ "type": "string" }, { "type": "null" }] }));
        assert_eq!(published["properties"]["state"], json!({ "enum": ["open", "done"] }));
        assert_eq!(published["properties"]["place"], json!({}), "an object is merged, so a part of it may be sent");
        assert_eq!(published["properties"]["title"], Value::Null, "writeOnce fields cannot be patched");
        assert_eq!(published["required"], Value::Null);
    }

    #[test]
    fn a_patch_does_not_offer_null_for_a_required_field() {
        let any_of = json!({ "anyOf": [{ "type": "string" }, { "type": "null" }] });
        for (field, published) in [
            (json!({ "type": ["string", "null"] }), json!({ "type": "string" })),
            (json!({ "type": ["string", "number", "null"] }), json!({ "type": ["string", "number"] })),
            (any_of.clone(), json!({ "anyOf": any_of["anyOf"], "not": { "type": "null" } })),
            (json!({ "enum": ["a", null] }), json!({ "enum": ["a", null], "not": { "type": "null" } })),
            (
                json!({ "enum": ["a", null], "not": { "const": 1 } }),
                json!({ "allOf": [{ "enum": ["a", null], "not": { "const": 1 } }, { "not": { "type": "null" } }] }),
            ),
            (json!({ "type": "string" }), json!({ "type": "string" })),
        ] {
            let schema = json!({ "type": "object", "required": ["v"], "properties": { "v": field } });
            let definition = Definition::parse("notes", json!({ "schema": schema }), None).unwrap();
            assert_eq!(definition.patch_schema()["properties"]["v"], published, "{field}");
        }
    }
}
