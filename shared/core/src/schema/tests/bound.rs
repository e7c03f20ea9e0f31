//! Schemas that cost too much: refused when they are put, and before they are compiled, wherever they come from.

use serde_json::{Map, Value, json};

use super::{collection_of, parse};
use crate::expr::tests::object;
use crate::schema::Definition;

/// A definition whose `x` is `#/$defs/a0`.
fn of(defs: Map<String, Value>) -> Value {
    json!({ "schema": { "type": "object", "$defs": defs, "properties": { "x": { "$ref": "#/$defs/a0" } } } })
}

/// A chain of definitions, each made from the name of the next. The last is a string.
fn chain(length: usize, link: impl Fn(&str) -> Value) -> Value {
    let next = |number: usize| (format!("a{number}"), link(&format!("#/$defs/a{}", number + 1)));
    let mut defs: Map<String, Value> = (0..length).map(next).collect();
    defs.insert(format!("a{length}"), json!({ "type": "string" }));
    of(defs)
}

fn doubling(length: usize) -> Value {
    chain(length, |next| json!({ "allOf": [{ "$ref": next }, { "$ref": next }] }))
}

/// One of `branches`, each with a child that is again one of them.
fn tree(branches: usize, deep: bool) -> Value {
    let branch = |number| {
        let child = if deep {
            json!({ "properties": { "next": { "$ref": "#/$defs/a0" } } })
        } else {
            json!({ "$ref": "#/$defs/a0" })
        };
        json!({ "properties": { "kind": { "const": number }, "child": child } })
    };
    let any: Vec<Value> = (0..branches).map(branch).collect();
    of(Map::from_iter([("a0".to_owned(), json!({ "type": "object", "required": ["kind"], "anyOf": any }))]))
}

fn refused(body: Value) -> (String, &'static str) {
    let found = parse(body).expect_err("too much").swap_remove(0);
    (found.pointer, found.code)
}

#[test]
fn a_multiplying_schema_is_refused_with_its_pointer() {
    let (pointer, code) = refused(doubling(24));
    assert_eq!(code, "too_complex");
    assert!(pointer.starts_with("/schema/$defs/a1"), "{pointer}: the first that is too much, seen from the end");
    for keyword in ["anyOf", "oneOf", "allOf"] {
        let each = |next: &str| json!({ keyword: [{ "$ref": next }, { "$ref": next }, { "$ref": next }] });
        assert_eq!(refused(chain(12, each)).1, "too_complex", "{keyword}");
    }
    let branching =
        |next: &str| json!({ "if": { "$ref": next }, "then": { "$ref": next }, "else": { "not": { "$ref": next } } });
    assert_eq!(refused(chain(14, branching)).1, "too_complex");
    let by_member = |next: &str| {
        let all: Vec<Value> = (0..12).map(|_| json!({ "properties": { "y": { "$ref": next } } })).collect();
        json!({ "allOf": all })
    };
    assert_eq!(refused(chain(6, by_member)), ("/schema".to_owned(), "too_complex"), "a level multiplies the next");
    let by_any = |next: &str| {
        let all: Vec<Value> = (0..12).map(|_| json!({ "additionalProperties": { "$ref": next } })).collect();
        json!({ "allOf": all })
    };
    assert_eq!(refused(chain(6, by_any)), ("/schema".to_owned(), "too_complex"));
    assert_eq!(refused(tree(12, false)), ("/schema".to_owned(), "too_complex"), "so does a schema within itself");
    parse(doubling(8)).expect("256 are not too many");
    parse(tree(3, false)).expect("a tree of three kinds is common");
}

#[test]
fn endless_and_too_deep_schemas_are_refused() {
    assert_eq!(refused(chain(40, |next| json!({ "$ref": next }))).1, "too_deep");
    assert_eq!(refused(chain(1_200, |next| json!({ "$ref": next }))).1, "too_deep");
    parse(chain(1_200, |next| json!({ "properties": { "y": { "$ref": next } } }))).expect("each is of another value");
    for endless in [
        json!({ "a0": { "$ref": "#/$defs/a0" } }),
        json!({ "a0": { "allOf": [{ "$ref": "#/$defs/b" }] }, "b": { "not": { "$ref": "#/$defs/a0" } } }),
        json!({ "a0": { "$dynamicRef": "#again", "$dynamicAnchor": "again" } }),
        json!({ "a0": { "dependentSchemas": { "y": { "$ref": "#/$defs/a0" } } } }),
    ] {
        let (pointer, code) = refused(of(object(endless)));
        assert!(code == "endless" && pointer.starts_with("/schema/$defs/"), "{pointer} {code}");
    }
    let value = json!({ "a0": { "anyOf": [{ "type": "array", "items": { "$ref": "#/$defs/a0" } },
        { "type": "object", "additionalProperties": { "$ref": "#/$defs/a0" } }, { "type": ["string", "number", "null"] }] } });
    parse(of(object(value))).expect("any JSON value ends with the record");
}

#[test]
fn patterns_are_bounded_in_number_and_in_size() {
    let patterns = |count: usize| -> Value {
        let each = |number| (format!("^{number}$"), json!({ "type": "string" }));
        json!({ "schema": { "type": "object", "properties": {
            "x": { "type": "object", "patternProperties": (0..count).map(each).collect::<Map<_, _>>() } } } })
    };
    parse(patterns(100)).expect("the limit itself is allowed");
    assert_eq!(refused(patterns(101)), ("/schema/properties/x".to_owned(), "too_many"));
    for pattern in ["^a{1,100000}$", "^(a{1,300}){1,300}$", "^\\w{1,20000}$"] {
        let body =
            json!({ "schema": { "type": "object", "properties": { "x": { "type": "string", "pattern": pattern } } } });
        assert_eq!(refused(body), ("/schema/properties/x/pattern".to_owned(), "bad_schema"), "{pattern}");
    }
}

/// A definition that was stored before there was a bound: writes to it are refused, and nothing is compiled.
#[test]
fn the_bound_applies_to_stored_definitions_too() {
    let mut definition: Definition = parse(doubling(2)).unwrap();
    definition.schema = doubling(24)["schema"].clone();
    let stored = collection_of(definition);
    let found = stored.validate(&mut object(json!({ "x": 1 }))).unwrap_err();
    assert_eq!(found.iter().map(|found| found.code).collect::<Vec<_>>(), ["too_complex"]);
    let found = stored.validate_patch(&mut object(json!({ "x": 1 }))).unwrap_err();
    assert_eq!(found[0].code, "too_complex");
}

/// `unevaluated*` keywords apply all siblings again; nested ones double the cost at each level.
#[test]
fn unevaluated_keywords_count_their_siblings_again() {
    let rest = |depth: usize, keyword: &str, wide: usize| {
        (0..depth).fold(json!({ "type": ["object", "array"] }), |inner, _| {
            let mut branches = vec![json!({ "required": ["no"] }); wide - 1];
            branches.push(inner);
            json!({ "anyOf": branches, keyword: false })
        })
    };
    for keyword in ["unevaluatedProperties", "unevaluatedItems"] {
        for (depth, wide) in [(12, 2), (14, 1), (9, 3)] {
            assert_eq!(refused(lists_of(rest(depth, keyword, wide))).1, "too_complex", "{keyword} {depth} {wide}");
        }
        parse(lists_of(rest(3, keyword, 3))).expect("a common schema is accepted");
        let inner = (0..20).map(|_| json!({ "type": "object" })).collect::<Vec<_>>();
        parse(lists_of(json!({ "allOf": inner, keyword: false }))).expect("one level asks once more");
    }
}

/// An exact division takes as long as a hundred other keywords.
#[test]
fn divisions_count_by_their_cost() {
    let divided =
        |count: usize| json!({ "allOf": (0..count).map(|_| json!({ "multipleOf": 0.01 })).collect::<Vec<_>>() });
    assert_eq!(refused(lists_of(divided(150))).1, "too_complex");
    parse(lists_of(divided(2))).expect("a common schema is accepted");
    let prices = collection_of(parse(lists_of(json!({ "multipleOf": 0.01 }))).unwrap());
    prices.validate(&mut object(json!({ "x": vec![9.75; 100_000] }))).expect("a record holds this many");
}

/// The amount of hidden data does not affect errors of visible fields.
#[test]
fn hidden_fields_are_checked_and_reported_separately() {
    let deep = json!({ "oneOf": (0..40).map(|number| json!({ "const": number })).collect::<Vec<_>>() });
    let definition = json!({ "schema": { "type": "object", "required": ["pin"], "properties": {
        "x": { "type": "array", "items": deep.clone() }, "list": { "type": "array", "items": deep, "hidden": true },
        "pin": { "type": "string", "hidden": true } } } });
    let lists = collection_of(parse(definition).unwrap());
    let errors = |hidden: usize, x: &Value| {
        let mut record = object(json!({ "x": x, "list": vec![3; hidden], "pin": "a" }));
        lists.validate(&mut record).unwrap_err()
    };
    for x in [json!(["no"]), json!(vec!["no"; 3_000]), json!(7)] {
        assert_eq!(errors(0, &x), errors(5_000, &x));
    }
    assert_eq!(errors(5_000, &json!(["no"]))[0].pointer, "/x/0");
    let mut missing = object(json!({ "x": [1] }));
    assert_eq!(lists.validate(&mut missing).unwrap_err()[0].pointer, "/pin");
    let mut bad = object(json!({ "x": [1], "list": [99], "pin": "a" }));
    assert_eq!(lists.validate(&mut bad).unwrap_err()[0].pointer, "/list/0");
    let mut large = object(json!({ "x": [1], "list": vec![99; 5_000], "pin": "a" }));
    assert_eq!(lists.validate(&mut large).unwrap_err()[0].code, "invalid");
}

/// The cost of validating a record, and the number of its errors, do not multiply with its depth.
#[test]
fn a_deep_record_is_validated_by_a_recursive_schema() {
    let trees = collection_of(parse(tree(3, false)).unwrap());
    let nested = |depth, leaf: Value| {
        let whole = (0..depth).fold(leaf, |inner, _| json!({ "kind": 2, "child": inner }));
        object(json!({ "x": whole }))
    };
    trees.validate(&mut nested(28, json!({ "kind": 0 }))).expect("it fits");
    let found = trees.validate(&mut nested(28, json!({ "kind": 9 }))).unwrap_err();
    assert!(found.len() == 1 && found[0].message.contains("too deeply nested"), "{found:?}");
    let found = trees.validate(&mut nested(2, json!({ "kind": 9 }))).unwrap_err();
    assert_eq!(found[0].pointer, "/x", "errors at a lower depth have their pointer");
}

/// A definition of lists whose elements have this schema.
fn lists_of(elements: Value) -> Value {
    json!({ "schema": { "type": "object", "properties": { "x": { "type": "array", "items": elements } } } })
}

#[test]
fn compared_values_count_too() {
    let objects = |count: usize| json!({ "enum": (0..count).map(|number| json!({ "a": number })).collect::<Vec<_>>() });
    let texts: Vec<Value> = ('\u{4e00}'..).take(10_000).map(|text| json!(text.to_string())).collect();
    let numbers = |count: u32| json!({ "enum": (0..count).collect::<Vec<_>>() });
    let constants: Vec<Value> = (0..1_000).map(|number| json!({ "const": [number, 1, 1, 1, 1, 1, 1, 1, 1] })).collect();
    for elements in [
        objects(5_000),
        json!({ "anyOf": constants }),
        json!({ "const": (0..10_000).collect::<Vec<_>>() }),
        json!({ "enum": [(0..10_000).collect::<Vec<_>>()] }),
        numbers(10_000),
        json!({ "enum": texts.iter().cloned().chain([json!(1)]).collect::<Vec<_>>() }),
    ] {
        assert_eq!(refused(lists_of(elements)), ("/schema/properties/x/items".to_owned(), "too_complex"));
    }
    parse(lists_of(json!({ "enum": texts }))).expect("texts are looked up by their hash");
    parse(lists_of(objects(100))).expect("a hundred are not too many");
    parse(lists_of(numbers(1_000))).expect("nor are a thousand numbers");
}

#[test]
fn a_record_with_too_many_values_is_refused_cheaply() {
    let kinds: Vec<Value> = (0..4_000).map(|number| json!({ "a": number })).collect();
    let lists = collection_of(parse(lists_of(json!({ "enum": kinds }))).unwrap());
    let of = |count: usize| object(json!({ "x": vec![json!({ "a": 3 }); count] }));
    lists.validate(&mut of(1_000)).expect("these are not too many");
    let found = lists.validate(&mut of(30_000)).unwrap_err();
    assert_eq!(found.iter().map(|found| found.code).collect::<Vec<_>>(), ["too_complex"]);
    let found = lists.validate_patch(&mut of(30_000)).unwrap_err();
    assert_eq!(found[0].code, "too_complex");
    let plain = collection_of(parse(lists_of(json!({ "type": "integer" }))).unwrap());
    plain.validate(&mut object(json!({ "x": vec![7; 100_000] }))).expect("errors are limited");
}

/// Lists whose elements have equal hashes if a number is hashed as its nearest binary float, or a list as its content.
/// Pairwise comparison takes minutes.
#[test]
fn unique_items_needs_no_pairwise_comparison() {
    let lists = collection_of(
        parse(
            json!({ "schema": { "type": "object", "properties": { "x": { "type": "array", "uniqueItems": true } } } }),
        )
        .unwrap(),
    );
    let numbers: Vec<Value> =
        (0..30_000).map(|number| serde_json::from_str(&format!("1{number:025}")).unwrap()).collect();
    // Only brackets: the bits of each number, as nested lists.
    let brackets = |number: u32| (0..15).map(move |bit| if number >> bit & 1 == 1 { json!([[]]) } else { json!([]) });
    let nested: Vec<Value> = (0..30_000).map(|number| brackets(number).collect()).collect();
    for mut elements in [numbers, nested] {
        lists.validate(&mut object(json!({ "x": elements }))).expect("they differ");
        elements.push(elements[7].clone());
        let found = lists.validate(&mut object(json!({ "x": elements }))).unwrap_err();
        assert_eq!((found[0].pointer.as_str(), found[0].code), ("/x", "unique_items"));
        assert_eq!(found[0].message, "value has non-unique elements");
    }
}

#[test]
fn elements_are_equal_if_their_values_are() {
    let lists = collection_of(
        parse(
            json!({ "schema": { "type": "object", "properties": { "x": { "type": "array", "uniqueItems": true } } } }),
        )
        .unwrap(),
    );
    let is_unique = |text: &str| {
        let elements: Value = serde_json::from_str(text).unwrap();
        lists.validate(&mut object(json!({ "x": elements }))).is_ok()
    };
    for text in [
        "[]",
        r#"[1, "1", [1], true, null, {"a": 1}, "n", "t"]"#,
        "[[[1, 2], [3]], [[1], [2, 3]], [1, 2, 3]]",
        "[10000000000000000000000001, 10000000000000000000000002]",
        "[0.1, 0.10000000000000000001, 1e-7, 1e7]",
        r#"["a,", "a", ["a", ""], ["", "a"], "\"1:a"]"#,
        r#"[{"a": 1, "b": 2}, {"a": 2, "b": 1}, {"a": {"b": 2}}]"#,
    ] {
        assert!(is_unique(text), "{text}");
    }
    for text in [
        "[1, 1.0]",
        "[0, -0.0]",
        "[100, 1e2]",
        "[1e20, 100000000000000000000]",
        r#"[{"a": 1, "b": [2.0]}, {"b": [2], "a": 1}]"#,
        r#"["\u0061", "a"]"#,
        "[null, 1, null]",
    ] {
        assert!(!is_unique(text), "{text}");
    }
}
