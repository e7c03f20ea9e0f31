//! What a rule cannot know or must not reveal: the identity of an anonymous caller, the value of a hidden field.

use serde_json::json;

use super::{ada, fields, object, record};
use crate::expr::{Expr, Input, Known, Rule};

#[test]
fn without_a_caller_a_test_of_auth_is_unknown() {
    let known = Known { auth: None, now: "2026-01-01T00:00:00.000Z", input: Input::None };
    let auth = ada();
    let of_ada = Known { auth: Some(&auth), ..known };
    for (rule, expected) in [
        ("auth.id != ''", [false, true]),
        ("auth.id == ''", [false, false]),
        ("!(auth.id != '')", [false, false]),
        ("!(auth.id == '')", [false, true]),
        ("auth.verified", [false, true]),
        ("!auth.verified", [false, false]),
        ("'admin' in auth.roles", [false, false]),
        ("!('admin' in auth.roles)", [false, true]),
        ("auth.email != 'eve@example.com'", [false, true]),
        ("auth.id in ['', 'ada']", [false, true]),
        ("record.owner != auth.id", [false, true]),
        ("record.path.startsWith(auth.id)", [false, true]),
        ("record.path.startsWith(auth.id) || record.done", [true, true]),
        ("!(record.path.startsWith(auth.id) && record.done)", [false, false]),
        ("!(auth.verified && !record.done)", [true, true]),
        ("auth.id == '' || record.done", [true, true]),
    ] {
        let parsed = Expr::rule(&rule.replace("path", "status"), &fields(), Rule::Read).unwrap();
        let data = object(json!({ "status": "ada/x", "owner": "bob", "done": true }));
        let ours = [&known, &of_ada].map(|known| parsed.eval(known, Some(&record(&data))));
        assert_eq!(ours, expected, "{rule}");
        let folded = [&known, &of_ada].map(|known| parsed.partial(known).matches(&record(&data)));
        assert_eq!(folded, expected, "{rule}");
    }
}

#[test]
fn a_rule_cannot_compare_a_hidden_field_with_a_guess() {
    for (rule, source, column) in [
        (Rule::Update, "input.secret == record.secret", 1),
        (Rule::Update, "record.secret == input.secret", 1),
        (Rule::Update, "record.owner == auth.id && input.status == record.secret", 44),
        (Rule::Update, "input.secret == input.status", 1),
        (Rule::Create, "input.secret == input.status", 1),
        (Rule::Update, "record.secret != input.status", 1),
        (Rule::Update, "!(record.secret < input.status)", 3),
        (Rule::Update, "input.status in [record.secret, 'x']", 18),
        (Rule::Update, "record.secret in [input.status]", 1),
        (Rule::Update, "record.secret in input.tags", 1),
        (Rule::Update, "record.secret.startsWith(input.status)", 1),
        (Rule::Update, "input.status.startsWith(record.secret)", 25),
        // A stored value was sent earlier, and can be another guess each time.
        (Rule::Read, "record.secret == record.status", 1),
        (Rule::Read, "record.secret in record.tags", 1),
        (Rule::Delete, "record.status.startsWith(record.secret)", 26),
        (Rule::Read, "record.secret == record.secret", 1),
        (Rule::Read, "record.secret == record.id", 1),
        // A caller who chooses an address halves the range with each account.
        (Rule::Read, "record.secret < auth.email", 1),
        (Rule::Read, "auth.email.startsWith(record.secret)", 23),
        (Rule::Read, "record.secret.startsWith(auth.id)", 1),
    ] {
        let error = Expr::rule(source, &fields(), rule).expect_err(source);
        let expected = (column, true);
        assert_eq!((error.column, error.message.contains("lets them guess it")), expected, "{source}: {error}");
    }
    for source in [
        "record.secret == 'x'",
        "record.secret != 'x' && !(record.secret < 'm')",
        "record.secret in ['x', 'y']",
        "has(record.secret) && !has(input.secret)",
        "input.secret.startsWith('x')",
        "record.secret == auth.id || record.secret in auth.roles || auth.email in [record.secret]",
        "record.secret == record.stamp || record.secret < record.stamp",
        "changed('secret')",
    ] {
        Expr::rule(source, &fields(), Rule::Update).unwrap_or_else(|error| panic!("{source}: {error}"));
    }
}

#[test]
fn a_hidden_field_counts_as_changed_whenever_it_is_sent() {
    let auth = ada();
    let (none, same, other) = (object(json!({})), object(json!({ "secret": "x" })), object(json!({ "secret": "y" })));
    let whole = |whole, sent| Input::Change { whole, sent };
    for (stored, input, sent) in [
        (&same, Input::Patch(&same), true),
        (&same, Input::Patch(&other), true),
        (&none, Input::Patch(&same), true),
        (&same, Input::Patch(&none), false),
        (&same, whole(&same, &same), true),
        (&same, whole(&other, &same), true),
        (&same, whole(&same, &none), false),
        (&none, whole(&same, &none), false),
    ] {
        let known = Known { auth: Some(&auth), now: "2026-01-01T00:00:00.000Z", input };
        for (rule, expected) in [("changed('secret')", sent), ("!changed('secret')", !sent)] {
            let rule = Expr::rule(rule, &fields(), Rule::Update).unwrap();
            assert_eq!(rule.eval(&known, Some(&record(stored))), expected, "{input:?} on {stored:?}");
            assert_eq!(rule.partial(&known), Expr::constant(expected), "the stored record is not used");
        }
    }
}
