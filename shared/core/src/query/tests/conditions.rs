//! Write conditions: their text, and that it contains no client text.

use serde_json::{Value, json};

use crate::expr::tests::{fields, object};
use crate::expr::{Auth, Expr, Input, Known, Rule};
use crate::query::{Condition, condition};

fn residual(rule: &str, patch: Value) -> Expr {
    let (auth, patch) = (Auth { id: "ada".into(), ..Auth::default() }, object(patch));
    let known = Known { auth: Some(&auth), now: "2026-01-01T00:00:00.000Z", input: Input::Patch(&patch) };
    Expr::rule(rule, &fields(), Rule::Update).unwrap_or_else(|error| panic!("{rule}: {error}")).partial(&known)
}

/// The condition with its placeholders replaced.
fn written(condition: &Condition) -> String {
    let mut text = condition.expression.clone();
    for (placeholder, value) in condition.values.iter().rev() {
        text = text.replace(placeholder.as_str(), &value.to_string());
    }
    for (placeholder, name) in condition.names.iter().rev() {
        text = text.replace(placeholder.as_str(), name);
    }
    text
}

#[test]
fn a_residual_rule_becomes_a_condition() {
    for (rule, patch, expected) in [
        ("record.owner == auth.id", json!({}), r#"d.owner = "ada""#),
        ("record.owner != auth.id", json!({}), r#"(attribute_exists(d.owner) AND d.owner <> "ada")"#),
        (
            "record.owner == auth.id && !changed('owner')",
            json!({ "owner": "ada" }),
            r#"(d.owner = "ada" AND d.owner = "ada")"#,
        ),
        ("!changed('note')", json!({ "note": null }), "attribute_not_exists(d.note)"),
        ("changed('note')", json!({ "note": "x" }), r#"(attribute_not_exists(d.note) OR d.note <> "x")"#),
        ("record.id == auth.id || record.version > 3", json!({}), r#"(sk = "ada" OR v > 3)"#),
        ("record.createdAt < request.time", json!({}), r#"ca < "2026-01-01T00:00:00.000Z""#),
        (
            "record.status == record.owner",
            json!({}),
            "(attribute_exists(d.status) AND attribute_exists(d.owner) AND d.status = d.owner)",
        ),
        ("!(record.status in ['a', 'b'])", json!({}), r#"(attribute_exists(d.status) AND NOT d.status IN ("a", "b"))"#),
        ("auth.id in record.tags", json!({}), r#"(attribute_type(d.tags, "L") AND contains(d.tags, "ada"))"#),
        (
            "!record.status.startsWith('x')",
            json!({}),
            r#"(attribute_type(d.status, "S") AND NOT begins_with(d.status, "x"))"#,
        ),
        (
            "has(record.due) && !has(record.note)",
            json!({}),
            "(attribute_exists(d.due) AND attribute_not_exists(d.note))",
        ),
        (
            "record.done || record.owner == auth.id && record.priority <= 3",
            json!({}),
            r#"(d.done = true OR (d.owner = "ada" AND d.priority <= 3))"#,
        ),
    ] {
        let condition = condition(&residual(rule, patch), "d").unwrap_or_else(|| panic!("{rule} can be said"));
        assert_eq!(written(&condition), expected, "{rule}");
    }
}

#[test]
fn a_rule_is_never_partly_expressed() {
    assert_eq!(condition(&Expr::True, "d"), None);
    assert_eq!(condition(&Expr::False, "d"), None);
    assert_eq!(condition(&residual("'abc'.startsWith(record.status)", json!({})), "d"), None);
    assert_eq!(
        condition(&Expr::rule("record.owner == auth.id", &fields(), Rule::Read).unwrap(), "d"),
        None,
        "not folded"
    );
    let long = (0..140).map(|number| format!("record.priority != {number}")).collect::<Vec<_>>().join(" || ");
    assert_eq!(condition(&residual(&long, json!({})), "d"), None);
    let busy = (0..130).map(|number| format!("record.priority == {number}")).collect::<Vec<_>>().join(" || ");
    assert_eq!(condition(&residual(&busy, json!({})), "d"), None, "more operators than the store takes");
    let fewer = (0..100).map(|number| format!("record.priority == {number}")).collect::<Vec<_>>().join(" || ");
    assert!(condition(&residual(&fewer, json!({})), "d").is_some());
    let many = (0..150).map(|number| number.to_string()).collect::<Vec<_>>().join(", ");
    assert_eq!(condition(&residual(&format!("record.priority in [{many}]"), json!({})), "d"), None);
}

#[test]
fn client_values_never_make_an_invalid_operand() {
    for (rule, patch) in [
        ("record.note < input.note", json!({ "note": false })),
        ("record.priority >= input.priority", json!({ "priority": [1] })),
        ("record.status.startsWith(input.note)", json!({ "note": 1 })),
    ] {
        assert_eq!(residual(rule, patch), Expr::False, "{rule}");
    }
    assert_eq!(condition(&residual("null in record.tags || record.owner == auth.id", json!({})), "d"), None);
}

#[test]
fn a_condition_contains_no_client_text() {
    let hostile = "x' OR attribute_exists(pk) #d :c0 SIZE";
    let rule =
        residual("record.status != input.status && !changed('note')", json!({ "status": hostile, "note": hostile }));
    let condition = condition(&rule, "d").unwrap();
    assert!(!condition.expression.contains("pk") && !condition.expression.contains("SIZE"), "{}", condition.expression);
    assert!(condition.names.iter().all(|(_, name)| ["d", "status", "note"].contains(&name.as_str())));
    assert_eq!(condition.values.iter().filter(|(_, value)| value == hostile).count(), 2);
}

/// DynamoDB rejects a test whose operands are the same path.
#[test]
fn an_unpatched_field_is_never_compared_with_itself() {
    for (rule, left) in [
        ("record.owner == input.owner", "has(owner)"),
        ("input.owner == record.owner", "has(owner)"),
        ("record.owner == record.owner", "has(owner)"),
        ("record.note != input.note", "false"),
        ("!(record.note == input.note)", "false"),
        ("input.priority < record.priority", "false"),
        ("record.priority > input.priority", "false"),
    ] {
        assert_eq!(residual(rule, json!({})).to_string(), left, "{rule}");
    }
    let owner = condition(&residual("record.owner == input.owner", json!({ "note": "x" })), "d").unwrap();
    assert_eq!(written(&owner), "attribute_exists(d.owner)");
    for rule in [
        "record.priority <= input.priority",
        "!(record.priority < input.priority)",
        "record.due >= input.due",
        "record.status.startsWith(input.status)",
        "!record.status.startsWith(input.status)",
    ] {
        let left = residual(rule, json!({}));
        assert_eq!(condition(&left, "d"), None, "{rule} leaves {left}: the record is read first");
        let mixed = residual(&format!("{rule} || record.owner == auth.id"), json!({}));
        assert_eq!(condition(&mixed, "d"), None, "{rule}");
    }
}
