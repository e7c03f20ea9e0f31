//! The language in tables: syntax, semantics, errors with their columns.

pub(crate) mod generated;
mod properties;
mod unknown;

use serde_json::{Map, Value, json};

pub(crate) use self::generated::fields;
use super::*;

pub(crate) fn object(value: Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap()
}

fn record(data: &Map<String, Value>) -> RecordRef<'_> {
    RecordRef {
        id: "0198c5a2-0000-7000-8000-000000000001",
        created_at: "2025-08-20T00:00:00.000Z",
        updated_at: "2025-08-21T00:00:00.000Z",
        version: 3,
        data,
    }
}

fn matches(filter: &str, data: Value) -> bool {
    let data = object(data);
    let filter = Expr::filter(filter, &fields()).unwrap_or_else(|error| panic!("{filter}: {error}"));
    filter.matches(&record(&data))
}

fn ada() -> Auth {
    Auth { id: "ada".into(), email: "ada@example.com".into(), roles: vec!["editor".into()], verified: true }
}

#[test]
fn a_filter_matches_its_records() {
    let task = json!({ "status": "open", "priority": 3, "done": false, "tags": ["home", "late"], "due": "2026-03-01T12:00:00.000Z" });
    for (filter, expected) in [
        (r#"status == "open" && priority >= 3"#, true),
        ("status == 'open' && priority > 3", false),
        ("status == 'done' || priority < 3.5", true),
        ("priority == 3.0", true),
        ("3 == priority", true),
        ("2 < priority && -1 < priority", true),
        ("status in ['done', 'open']", true),
        ("status in []", false),
        ("!(status in ['done'])", true),
        ("'late' in tags", true),
        ("!('late' in tags)", false),
        ("done", false),
        ("!done", true),
        ("done == false && done != true", true),
        ("status.startsWith('op')", true),
        ("!status.startsWith('op')", false),
        ("has(status) && !has(owner)", true),
        ("due < '2026-03-01T14:00:00.001+02:00'", true),
        ("due == '2026-03-01T14:00:00+02:00'", true),
        ("createdAt < updatedAt && version == 3", true),
        ("id.startsWith('0198')", true),
        ("status == '\\u006fpen'", true),
        ("true", true),
        ("false || (((true)))", true),
    ] {
        assert_eq!(matches(filter, task.clone()), expected, "{filter}");
    }
}

#[test]
fn a_test_of_a_missing_field_is_unknown() {
    for filter in [
        "status == 'done'",
        "status != 'done'",
        "!(status == 'done')",
        "!(status != 'done')",
        "priority < 3",
        "!(priority < 3)",
        "done",
        "!done",
        "status in ['done']",
        "!(status in ['done'])",
        "'a' in tags",
        "!('a' in tags)",
        "status.startsWith('')",
        "!status.startsWith('x')",
        "note == null",
        "note != null",
        "status == owner",
        "status != owner",
    ] {
        assert!(!matches(filter, json!({})), "{filter}");
    }
    assert!(matches("status != 'done' || true", json!({})), "the deciding side decides");
    assert!(matches("!(status == 'done' && false)", json!({})));
}

#[test]
fn null_is_a_value_without_an_order() {
    let noted = || json!({ "note": null });
    for (filter, expected) in [
        ("note == null", true),
        ("note != null", false),
        ("note != 'x'", true),
        ("has(note)", true),
        ("note < 'x'", false),
        ("!(note < 'x')", false),
        ("note in ['x', null]", true),
    ] {
        assert_eq!(matches(filter, noted()), expected, "{filter}");
    }
}

#[test]
fn a_stored_value_of_another_kind_never_matches() {
    let odd = || json!({ "status": 5, "priority": "9", "tags": "home", "done": "true" });
    for filter in ["status == 'open'", "priority < 10", "priority >= 1", "'home' in tags", "!('home' in tags)", "done"]
    {
        assert!(!matches(filter, odd()), "{filter}");
    }
    assert!(matches("status != 'open'", odd()));
}

#[test]
fn a_rule_sees_the_caller_the_record_and_the_input() {
    let (stored, input) =
        (object(json!({ "owner": "ada", "status": "open" })), object(json!({ "owner": "ada", "status": "done" })));
    let auth = ada();
    let known = Known { auth: Some(&auth), now: "2026-01-01T00:00:00.000Z", input: Input::Whole(&input) };
    for (rule, expected) in [
        ("record.owner == auth.id && !changed('owner')", true),
        ("changed('status')", true),
        ("changed('priority')", false),
        ("'editor' in auth.roles && auth.verified", true),
        ("'admin' in auth.roles", false),
        ("auth.id in [record.owner, input.owner]", true),
        ("!(auth.id in [record.owner, 'bob'])", false),
        ("auth.email.startsWith(record.owner)", true),
        ("record.createdAt < request.time", true),
        ("input.status == 'done' && record.status == 'open'", true),
        ("has(input.owner) && !has(input.tags)", true),
        ("record.secret == 'x'", false),
    ] {
        let parsed = Expr::rule(rule, &fields(), Rule::Update).unwrap_or_else(|error| panic!("{rule}: {error}"));
        assert_eq!(parsed.eval(&known, Some(&record(&stored))), expected, "{rule}");
    }
}

#[test]
fn an_anonymous_caller_has_no_auth() {
    let known = Known { auth: None, now: "2026-01-01T00:00:00.000Z", input: Input::None };
    let rule = Expr::rule("record.owner == auth.id", &fields(), Rule::Read).unwrap();
    for owner in [json!({}), json!({ "owner": null }), json!({ "owner": "" })] {
        assert!(!rule.eval(&known, Some(&record(&object(owner.clone())))), "{owner}");
    }
    assert!(!rule.eval(&known, None), "a missing record is never granted");
}

#[test]
fn folding_leaves_only_the_record() {
    let auth = ada();
    let patch = object(json!({ "owner": "bob", "note": null, "address": { "city": "x" } }));
    let known = Known { auth: Some(&auth), now: "2026-01-01T00:00:00.000Z", input: Input::Patch(&patch) };
    for (rule, left) in [
        ("record.owner == auth.id && !changed('status')", r#"owner == "ada""#),
        ("auth.id != '' && record.owner == auth.id", r#"owner == "ada""#),
        ("auth.id == '' || record.owner == auth.id", r#"owner == "ada""#),
        ("'editor' in auth.roles || record.owner == auth.id", "true"),
        ("'admin' in auth.roles && record.owner == auth.id", "false"),
        ("!changed('owner')", r#"(owner is "bob")"#),
        ("changed('note')", "!(note is absent)"),
        ("input.status == 'x'", r#"status == "x""#),
        ("input.owner == 'bob'", "true"),
        ("has(input.note)", "false"),
        ("has(input.status)", "has(status)"),
        ("changed('address')", "false"),
        ("!changed('address')", "false"),
        ("auth.id == record.owner", r#"owner == "ada""#),
        ("3 > record.priority", "priority < 3"),
    ] {
        let parsed = Expr::rule(rule, &fields(), Rule::Update).unwrap_or_else(|error| panic!("{rule}: {error}"));
        assert_eq!(parsed.partial(&known).to_string(), left, "{rule}");
    }
}

#[test]
fn errors_in_a_filter_have_message_and_column() {
    for (filter, column, message) in [
        ("", 1, "A value was expected here, not the end"),
        ("status = 'x'", 8, "Write =="),
        ("status == 'open' &&", 20, "the end"),
        ("status == 'open' & done", 18, "Write &&"),
        ("nothing == 1", 1, "There is no field `nothing`"),
        ("status == 'open' && ghost == 1", 21, "There is no field `ghost`"),
        ("secret == 'x'", 1, "There is no field `secret`"),
        ("has(secret)", 5, "There is no field `secret`"),
        ("status == 3", 11, "Cannot compare text with a number"),
        ("priority == '3'", 13, "Cannot compare a number with text"),
        ("status == null", 1, "never null"),
        ("note < null", 8, "needs an order"),
        ("done < true", 1, "needs an order"),
        ("status", 1, "A condition was expected, and this is text"),
        ("'x'", 1, "A condition was expected"),
        ("tags == 'x'", 1, "a list and cannot be compared"),
        ("address == 'x'", 1, "an object or of mixed type and cannot be compared"),
        ("3 in tags", 6, "Cannot compare a number with text"),
        ("status in 'open'", 11, "A list was expected"),
        ("due < 'tomorrow'", 7, "time with at most milliseconds was expected"),
        ("due < '2026-03-01T00:00:00.0001Z'", 7, "time with at most milliseconds was expected"),
        ("priority + 1 == 2", 10, "rithmetic is not supported"),
        ("-priority == 2", 1, "rithmetic is not supported"),
        ("done ? true : false", 6, "`? :` is not supported"),
        ("tags[0] == 'x'", 5, "Indexing is not supported"),
        ("address.city == 'x'", 1, "without a prefix"),
        ("auth.id == 'x'", 1, "without a prefix"),
        ("changed('status')", 1, "only in update rules"),
        ("status.matches('x')", 1, "`matches` does not exist"),
        ("size(tags) == 1", 1, "`size` does not exist"),
        ("tags.exists(t, t == 'x')", 1, "`exists` does not exist"),
        ("status == 'open", 11, "closing quote"),
        ("status == 'a\\qb'", 13, "escape"),
        ("status == '\\ud800'", 12, "hex digits of a character"),
        ("priority == 0x10", 13, "decimal digits"),
        ("priority == 5u", 13, "decimal digits"),
        ("priority == 1.", 13, "incomplete"),
        ("priority == 1e", 13, "incomplete"),
        ("priority == 1.e5", 13, "incomplete"),
        ("priority == 1e999", 13, "between 1e-130 and 1e126"),
        ("priority == -1e126", 14, "between 1e-130 and 1e126"),
        ("priority == 0.123456789012345678901234567890123456789", 13, "38 significant digits"),
        ("priority == 123456789012345678901234567890123456789", 13, "38 significant digits"),
        ("1 < priority < 3", 1, "cannot be chained"),
        ("!status == 'x'", 1, "not a condition"),
        ("status == 'ä' && ü == 1", 18, "`ü` is not allowed in a name. Names have a-z, A-Z, 0-9 and _"),
        ("(done", 6, "`)` is missing"),
        ("done)", 5, "An operator was expected here, not `)`"),
        ("status == $x", 11, "is not allowed here"),
        ("{\"$ne\": \"\"}", 1, "A value was expected here, not `{`"),
        ("status == #x", 11, "is not allowed here"),
        ("[1, 2]", 1, "A condition was expected"),
        ("startsWith(status, 'x')", 1, "is called wrongly"),
    ] {
        let error = Expr::filter(filter, &fields()).expect_err(filter);
        assert_eq!((error.column, error.message.contains(message)), (column, true), "{filter}: {error}");
    }
}

#[test]
fn a_rule_may_use_only_available_names() {
    for (rule, source, message) in [
        (Rule::Create, "record.owner == auth.id", "`record` is not available in the create rule"),
        (Rule::Delete, "input.owner == auth.id", "`input` is not available in the delete rule"),
        (Rule::List, "input.owner == auth.id", "`input` is not available in the list rule"),
        (Rule::Create, "changed('owner')", "only in update rules"),
        (Rule::Update, "changed('id')", "set by the server"),
        (Rule::Update, "changed(owner)", "in quotes"),
        (Rule::Update, "changed('ghost')", "no field `ghost`"),
        (Rule::Update, "input.version == 3", "set by the server"),
        (Rule::Read, "owner == auth.id", "`record.owner`"),
        (Rule::Read, "auth == 'x'", "needs a field, like"),
        (Rule::Read, "auth.password == 'x'", "no `password`"),
        (Rule::Read, "request.ip == 'x'", "no `ip`"),
        (Rule::Read, "record.address.city == 'x'", "Nested fields"),
        (Rule::Read, "has(auth.id)", "a field of a record"),
        (Rule::Read, "auth.roles == 'x'", "a list and cannot be compared"),
    ] {
        let error = Expr::rule(source, &fields(), rule).expect_err(source);
        assert!(error.message.contains(message), "{source}: {error}");
    }
    Expr::rule("record.secret == 'x'", &fields(), Rule::Read).expect("a rule may use a hidden field");
}

#[test]
fn changed_compares_values_not_notation_and_counts_absence() {
    for (stored, incoming, changed) in [
        (json!({ "address": [1, { "a": 2 }] }), json!({ "address": [1.0, { "a": 2 }] }), false),
        (json!({ "address": [] }), json!({ "address": {} }), true),
        (json!({ "address": [1] }), json!({ "address": [1, 2] }), true),
        (json!({ "address": { "a": 1 } }), json!({ "address": { "b": 1 } }), true),
        (json!({ "address": null }), json!({}), true),
        (json!({}), json!({ "address": null }), true),
        (json!({}), json!({}), false),
    ] {
        let (auth, before, after) = (Auth::default(), object(stored), object(incoming));
        let known = Known { auth: Some(&auth), now: "2026-01-01T00:00:00.000Z", input: Input::Whole(&after) };
        for (rule, expected) in [("changed('address')", changed), ("!changed('address')", !changed)] {
            let rule = Expr::rule(rule, &fields(), Rule::Update).unwrap();
            assert_eq!(rule.eval(&known, Some(&record(&before))), expected, "{before:?} -> {after:?}");
        }
    }
}

#[test]
fn excessive_size_and_depth_are_refused() {
    let deep = |open: &str, close: &str, times| format!("{}done{}", open.repeat(times), close.repeat(times));
    for hostile in [
        deep("(", ")", 1_900),
        deep("!", "", 5_900),
        deep("!(", ")", 1_300),
        "(".repeat(6_000),
        "[".repeat(6_000),
        format!("status in {}", "[".repeat(5_900)),
        format!("status{}", ".x".repeat(1_900)),
        format!("done{}", " && done".repeat(480)),
        format!("done{}", "|| done ".repeat(480)),
        format!("status in [{}'x']", "'x',".repeat(900)),
        format!("has({}", "has(".repeat(900)),
        format!("priority == {}", "9".repeat(5_900)),
        format!("priority == {}1", "-".repeat(5_900)),
        format!("status == '{}'", "x".repeat(MAX_CHARS)),
        "\u{0}".repeat(6_000),
        "'\\u".repeat(1_000),
    ] {
        let error = Expr::filter(&hostile, &fields()).expect_err("refused");
        assert!(error.column <= MAX_CHARS + 1 && error.message.len() < 200, "{error}");
    }
    Expr::filter(&deep("(", ")", MAX_DEPTH), &fields()).expect("the limit itself is allowed");
    Expr::filter(&deep("(", ")", MAX_DEPTH + 1), &fields()).expect_err("one more is not");
    Expr::filter(&format!("done{}", "||done".repeat(MAX_TERMS - 1)), &fields()).expect("the limit itself is allowed");
    Expr::filter(&format!("done{}", "||done".repeat(MAX_TERMS)), &fields()).expect_err("one more is not");
}

#[test]
fn an_expression_can_be_written_as_text() {
    for filter in [
        r#"status == "open" && (priority >= 3 || !has(note))"#,
        r#"!(status in ["a","b"]) && !status.startsWith("x")"#,
        r#"("late" in tags || done == true) && due < "2026-03-01T12:00:00.000Z""#,
    ] {
        let filter = Expr::filter(filter, &fields()).unwrap();
        let again = filter.to_string().replace("\"late\" in tags", "'late' in tags");
        assert_eq!(Expr::filter(&again, &fields()).unwrap(), filter, "{again}");
    }
}
