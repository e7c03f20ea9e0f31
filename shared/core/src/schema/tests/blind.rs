//! A patch that is written without a read gets the same result as the merged record would: over generated schemas and
//! patches.

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::{Map, Value, json};

use crate::schema::{Collection, Definition};

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

/// A generated field, with references.
fn property() -> impl Strategy<Value = Value> {
    let references = select(vec![
        json!({ "type": "array", "items": { "$ref": "#" } }),
        json!({ "type": "array", "items": { "$ref": "#/properties/a" } }),
        json!({ "type": "array", "items": { "$ref": "#/$defs/pair" } }),
    ]);
    let plain = select(vec![
        json!({}),
        json!({ "type": "string", "maxLength": 2 }),
        json!({ "type": ["integer", "null"], "minimum": 0 }),
        json!({ "type": "number", "multipleOf": 0.5 }),
        json!({ "type": "string", "format": "date-time" }),
        json!({ "enum": ["x", 1, null] }),
        json!({ "type": "array", "items": { "type": "integer" }, "maxItems": 2 }),
        json!({ "type": "object", "required": ["n"], "properties": { "n": { "type": "integer" } } }),
        json!({ "not": { "type": "string" } }),
        json!({ "anyOf": [{ "type": "string" }, { "$ref": "#/$defs/short" }] }),
    ]);
    prop_oneof![1 => references, 5 => plain]
}

/// Generated top-level keywords.
fn top() -> impl Strategy<Value = Map<String, Value>> {
    let keywords = vec![
        ("minProperties", json!(2)),
        ("maxProperties", json!(2)),
        ("dependentRequired", json!({ "a": ["b"] })),
        ("dependentSchemas", json!({ "a": { "properties": { "b": { "type": "integer" } } } })),
        ("anyOf", json!([{ "required": ["a"] }, { "properties": { "b": { "type": "string" } } }])),
        ("not", json!({ "required": ["c", "d"] })),
        ("propertyNames", json!({ "enum": ["a", "b", "c"] })),
        ("title", json!("things")),
        ("$comment", json!("of no account")),
    ];
    let count = keywords.len();
    prop_oneof![
        3 => Just(Map::new()),
        2 => subsequence(keywords, 0..=count).prop_map(|picked| {
            picked.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
        }),
    ]
}

fn schema() -> impl Strategy<Value = Value> {
    (vec(property(), 4), subsequence(NAMES.to_vec(), 0..2), top()).prop_map(|(properties, required, top)| {
        let properties: Map<String, Value> = NAMES.iter().map(ToString::to_string).zip(properties).collect();
        let mut schema = json!({
            "type": "object", "required": required, "properties": properties,
            "$defs": { "short": { "type": "array", "maxItems": 1 }, "pair": { "type": "array", "minItems": 2 } },
        });
        schema.as_object_mut().unwrap().extend(top);
        schema
    })
}

fn value() -> impl Strategy<Value = Value> {
    select(vec![
        json!(null),
        json!("x"),
        json!("xyz"),
        json!(1),
        json!(-1),
        json!(1.25),
        json!(1e200),
        json!("2026-03-01T12:00:00Z"),
        json!("2026-03-01T12:00:00.0001Z"),
        json!([]),
        json!([{}]),
        json!([1, 2]),
        json!([1, 2, 3]),
        json!([{ "a": "x" }]),
        json!([{ "z": 1 }]),
        json!([[1, 2]]),
        json!({ "n": 1 }),
        json!(true),
    ])
}

fn members() -> impl Strategy<Value = Map<String, Value>> {
    btree_map(select(vec!["a", "a", "b", "b", "c", "d", "ghost"]), value(), 0..4)
        .prop_map(|members| members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

/// RFC 7396, for a patch without objects.
fn merged(stored: &Map<String, Value>, patch: &Map<String, Value>) -> Map<String, Value> {
    let mut merged = stored.clone();
    for (name, value) in patch {
        match value {
            Value::Null => merged.remove(name),
            value => merged.insert(name.clone(), value.clone()),
        };
    }
    merged
}

/// Whether the patch of a record is valid without a read. `None` if the record itself is invalid.
fn judged(schema: &Value, stored: &Map<String, Value>, patch: &Map<String, Value>) -> Option<bool> {
    let definition = Definition::parse("things", json!({ "schema": schema }), None).unwrap();
    let things = Collection::compile(definition).unwrap();
    let stored = without_misfits(&things, stored)?;
    let blind = things.judges_each(patch);
    assert!(
        blind || things.read_reasons(patch).next().is_some(),
        "a patch that cannot be validated separately must not be written without a read: {schema}"
    );
    if blind {
        // Removing an unknown field is an error too, which the merged record cannot show.
        let known = patch.keys().all(|name| things.field(name).is_some());
        let (by_itself, as_whole) =
            (things.validate_patch(&mut patch.clone()), things.validate(&mut merged(&stored, patch)));
        let right = known && as_whole.is_ok();
        assert_eq!(by_itself.is_ok(), right, "{schema}\n{stored:?}\n{patch:?}\n{by_itself:?}\n{as_whole:?}");
    }
    Some(blind)
}

/// The members that are valid. `None` if the record is invalid without the others.
fn without_misfits(things: &Collection, members: &Map<String, Value>) -> Option<Map<String, Value>> {
    let wrong = things.validate(&mut members.clone()).err().unwrap_or_default();
    let is_wrong = |name: &String| {
        let (place, within) = (format!("/{name}"), format!("/{name}/"));
        wrong.iter().any(|problem| problem.pointer == place || problem.pointer.starts_with(&within))
    };
    let mut kept: Map<_, _> = members.clone().into_iter().filter(|(name, _)| !is_wrong(name)).collect();
    things.validate(&mut kept).is_ok().then_some(kept)
}

proptest! {
    #![proptest_config(ProptestConfig { max_global_rejects: 10_000, ..ProptestConfig::with_cases(1_000) })]

    #[test]
    fn a_patch_without_a_read_gives_the_same_result_as_with_one(schema in schema(), stored in members(), patch in members()) {
        prop_assume!(judged(&schema, &stored, &patch).is_some());
    }
}

#[test]
fn a_reference_to_the_whole_record_is_not_validated_member_by_member() {
    let schema = json!({ "type": "object", "required": ["b"], "properties": {
        "a": { "type": "array", "items": { "$ref": "#" } }, "b": { "type": "integer" } } });
    let patch = Map::from_iter([("a".to_owned(), json!([{ "a": [] }]))]);
    assert_eq!(judged(&schema, &Map::from_iter([("b".to_owned(), json!(1))]), &patch), Some(false));
}

/// The property is meaningless if hardly any patch is written without a read.
#[test]
fn enough_generated_patches_need_no_read() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let judgements = (0..300).filter_map(|_| {
        let (schema, stored, patch) = (schema(), members(), members()).new_tree(&mut runner).unwrap().current();
        judged(&schema, &stored, &patch)
    });
    let (blind, seeing): (Vec<bool>, Vec<bool>) = judgements.partition(|blind| *blind);
    assert!(blind.len() > 20 && seeing.len() > 20, "{} blind, {} seeing", blind.len(), seeing.len());
}
