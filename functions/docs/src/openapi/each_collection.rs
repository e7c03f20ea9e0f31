//! The part of the document for one collection: the routes of its records under its name, with its schemas.

use super::operation::{Naming, add, operation, schema};
use serde_json::{Map, Value, json};
use undercroft::routes::{self, Route};
use undercroft::schema::{Definition, refer};

/// Adds a collection's routes and schemas.
pub fn add_to(paths: &mut Map<String, Value>, schemas: &mut Map<String, Value>, collection: &Definition) {
    let name = &collection.name;
    for route in routes::of_each_collection() {
        let path = route.path.replace("{collection}", name);
        let mut operation = operation(&route, &format!("{name} records"), &Naming { collection: Some(collection) });
        if let Some(members) = operation.as_object_mut() {
            members.insert("operationId".into(), format!("{}_{name}", verb(&route)).into());
            members.insert("x-rules".into(), rules(&route, collection));
        }
        add(paths, &path, route.method, operation);
    }
    let own = [
        ("Record", collection.record_schema(false)),
        ("RecordInput", collection.input_schema()),
        ("RecordUpsert", with_id(collection.input_schema())),
        ("RecordPatch", collection.patch_schema()),
    ];
    for (part, schema) in own {
        place(schemas, name, self::schema(Some(name), part), schema);
    }
    for part in ["PatchedRecord", "WrittenRecord", "RecordPage", "RecordList", "DeletedPage", "DeletedRecord"] {
        let of_any = schemas.get(part).cloned().unwrap_or_default();
        schemas.insert(self::schema(Some(name), part), renamed(of_any, name));
    }
}

/// The schema of a body that may name the record's id.
fn with_id(mut input: Value) -> Value {
    if let Some(Value::Object(properties)) = input.get_mut("properties") {
        let id = json!({ "type": "string", "format": "uuid", "description": "the id, for `unique=id`" });
        properties.insert("id".to_owned(), id);
    }
    input
}

/// Returns `list` for `listRecords`.
fn verb(route: &Route) -> &'static str {
    route.id.trim_end_matches("Records").trim_end_matches("Record")
}

/// The rules of the collection that decide on the operation.
fn rules(route: &Route, collection: &Definition) -> Value {
    let undercroft::routes::Policy::Rules(names) = route.policy else { return Value::Object(Map::new()) };
    let stated = collection.rules.iter().filter(|(rule, _)| names.contains(&rule.name()));
    stated.map(|(rule, source)| (rule.name().to_owned(), Value::from(source.as_str()))).collect()
}

/// Moves a standalone schema into the document and adjusts its references. Its `$defs` become separate schemas, where code
/// generators look for them.
///
/// Their names have no dot, from which datamodel-code-generator makes modules, and `def`, so that no generator makes one class of
/// a `$def` called `page` and the collection's page.
fn place(schemas: &mut Map<String, Value>, collection: &str, key: String, mut schema: Value) {
    let separate = |name: &str| format!("{collection}-def-{name}");
    let elsewhere = |reference: &str| {
        let path = reference.strip_prefix('#')?;
        let (name, rest) = definition(path).unwrap_or_default();
        Some(match is_plain(name) {
            true => format!("#/components/schemas/{}{rest}", separate(name)),
            false => format!("#/components/schemas/{key}{path}"),
        })
    };
    refer(&mut schema, &elsewhere);
    if let Some(Value::Object(defined)) = schema.as_object_mut().and_then(|root| root.remove("$defs")) {
        let (plain, odd): (Map<_, _>, Map<_, _>) = defined.into_iter().partition(|(name, _)| is_plain(name));
        schemas.extend(plain.into_iter().map(|(name, schema)| (separate(&name), schema)));
        if let (false, Some(root)) = (odd.is_empty(), schema.as_object_mut()) {
            root.insert("$defs".into(), odd.into());
        }
    }
    schemas.insert(key, schema);
}

/// Splits `/$defs/place/properties/city` into `place` and `/properties/city`.
fn definition(path: &str) -> Option<(&str, &str)> {
    let rest = path.strip_prefix("/$defs/")?;
    Some(rest.split_at(rest.find('/').unwrap_or(rest.len())))
}

/// Whether it is a valid name of a schema in the document.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

fn renamed(mut of_any: Value, collection: &str) -> Value {
    refer(&mut of_any, &|reference| {
        let (place, name) = reference.rsplit_once('/')?;
        Some(format!("{place}/{}", schema(Some(collection), name)))
    });
    of_any
}
