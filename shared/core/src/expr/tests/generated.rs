//! Generated expressions, records and requests for property tests, from few values so that they match often.
//!
//! The system tests include this file too, to ask the store the same questions.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, Value, json};

use super::{Auth, FieldType, FieldTypes, Kind};

/// The fields used by all generators.
pub(crate) fn fields() -> FieldTypes {
    let field = |name: &str, kind| (name.to_owned(), FieldType::plain(kind));
    FieldTypes::new([
        field("status", Kind::Text),
        field("owner", Kind::Text),
        field("priority", Kind::Number),
        field("done", Kind::Flag),
        field("due", Kind::Moment),
        field("tags", Kind::List(Box::new(Kind::Text))),
        field("address", Kind::Other),
        ("note".to_owned(), FieldType { nullable: true, ..FieldType::plain(Kind::Text) }),
        ("stamp".to_owned(), FieldType { read_only: true, ..FieldType::plain(Kind::Text) }),
        ("secret".to_owned(), FieldType { hidden: true, ..FieldType::plain(Kind::Text) }),
    ])
}

/// Values of a field's kind.
fn fitting(name: &'static str) -> BoxedStrategy<Value> {
    match name {
        "priority" => {
            prop_oneof![(-3i64..4).prop_map(Value::from), select(vec![0.5, 1.0, -2.5, 1e20]).prop_map(Value::from)]
                .boxed()
        }
        "done" => any::<bool>().prop_map(Value::from).boxed(),
        "due" => select(vec!["2026-01-01T00:00:00.000Z", "2026-06-01T00:00:00.000Z"]).prop_map(Value::from).boxed(),
        "tags" => vec(select(TEXTS.to_vec()), 0..3).prop_map(Value::from).boxed(),
        "note" => prop_oneof![select(TEXTS.to_vec()).prop_map(Value::from), Just(Value::Null)].boxed(),
        _ => select(TEXTS.to_vec()).prop_map(Value::from).boxed(),
    }
}

/// Short, similar texts, with bytes that are difficult for a codec.
const TEXTS: [&str; 8] = ["", "a", "ab", "b", "a\u{0}", "a\u{0}b", "ü", "a#b%"];
const NAMES: [&str; 8] = ["status", "owner", "note", "priority", "done", "due", "tags", "address"];

/// Data of a record with optional fields, all of the right kind.
pub(crate) fn data() -> impl Strategy<Value = Map<String, Value>> {
    data_of(fitting)
}

/// Data of a record written under another schema: any value in any field.
pub(crate) fn odd_data() -> impl Strategy<Value = Map<String, Value>> {
    let secret = option::weighted(0.25, fitting("secret"));
    let odd = data_of(|name| {
        let odd = select(vec![json!(null), json!(1), json!("a"), json!(true), json!(["a", 1]), json!({ "a": 1 })]);
        prop_oneof![3 => fitting(name), 1 => odd].boxed()
    });
    (odd, secret).prop_map(|(mut data, secret)| {
        data.extend(secret.map(|secret| ("secret".to_owned(), secret)));
        data
    })
}

fn data_of(values: impl Fn(&'static str) -> BoxedStrategy<Value>) -> impl Strategy<Value = Map<String, Value>> {
    let members: Vec<_> =
        NAMES.iter().map(|name| option::weighted(0.75, values(name)).prop_map(|value| (*name, value))).collect();
    members
        .prop_map(|members| members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect())
}

/// A caller, or none.
pub(crate) fn auth() -> impl Strategy<Value = Option<Auth>> {
    let text = || select(TEXTS.to_vec()).prop_map(str::to_owned);
    let auth = (text(), text(), vec(text(), 0..3), any::<bool>());
    let auth = auth.prop_map(|(id, email, roles, verified)| Auth { id, email, roles, verified });
    option::weighted(0.75, auth)
}

/// A filter over fields without prefix.
pub(crate) fn filter() -> impl Strategy<Value = String> {
    expression(vec![""], vec![])
}

/// A rule over the caller and the stored record.
pub(crate) fn list_rule() -> impl Strategy<Value = String> {
    expression(vec!["record."], vec!["auth.id", "auth.email"])
}

/// A rule's tests about the caller alone.
const OF_CALLER: [&str; 10] = [
    "auth.verified",
    "!auth.verified",
    "'a' in auth.roles",
    "!('b' in auth.roles)",
    "auth.id != ''",
    "auth.id == ''",
    "!(auth.id != '')",
    "auth.email.startsWith(auth.id)",
    "!auth.email.startsWith('a')",
    "auth.id in ['', 'a', 'b']",
];

/// A rule over all names.
pub(crate) fn update_rule() -> impl Strategy<Value = String> {
    let changed = select([&NAMES[..], &["secret"]].concat()).prop_map(|name| format!("changed('{name}')"));
    let leaf = prop_oneof![4 => expression(vec!["record.", "input."], vec!["auth.id", "auth.email"]), 1 => changed];
    combined(leaf)
}

fn expression(owners: Vec<&'static str>, callers: Vec<&'static str>) -> impl Strategy<Value = String> {
    let of_caller = match callers.is_empty() {
        true => Just("true".to_owned()).boxed(),
        false => select(OF_CALLER.to_vec()).prop_map(str::to_owned).boxed(),
    };
    let roles = match callers.is_empty() {
        true => Just("false".to_owned()).boxed(),
        false => text_field(&owners).prop_map(|field| format!("{field} in auth.roles")).boxed(),
    };
    let leaf = prop_oneof![
        6 => text_test(owners.clone(), callers),
        4 => number_test(&owners),
        1 => of_caller,
        1 => roles,
        1 => owned(&owners, vec!["done"]),
        1 => owned(&owners, vec!["due"]).prop_flat_map(|due| op().prop_map(move |op| format!("{due} {op} '2026-03-01T00:00:00Z'"))),
        1 => (text(), owned(&owners, vec!["tags"])).prop_map(|(text, tags)| format!("{text} in {tags}")),
        1 => owned(&owners, vec!["note"]).prop_flat_map(|note| select(vec!["==", "!="]).prop_map(move |op| format!("{note} {op} null"))),
        1 => owned(&owners, NAMES.to_vec()).prop_map(|field| format!("has({field})")),
    ];
    combined(leaf)
}

fn combined(leaf: impl Strategy<Value = String> + 'static) -> impl Strategy<Value = String> {
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            3 => vec(inner.clone(), 2..4).prop_map(|parts| format!("({})", parts.join(" && "))),
            2 => vec(inner.clone(), 2..4).prop_map(|parts| format!("({})", parts.join(" || "))),
            1 => inner.prop_map(|inner| format!("!({inner})")),
        ]
    })
}

fn text_test(owners: Vec<&'static str>, callers: Vec<&'static str>) -> impl Strategy<Value = String> {
    let field = text_field(&owners);
    let caller = if callers.is_empty() { text().boxed() } else { select(callers).prop_map(str::to_owned).boxed() };
    let other = prop_oneof![3 => text(), 2 => caller, 1 => text_field(&owners)];
    prop_oneof![
        3 => (field.clone(), select(vec!["==", "==", "!="]), other.clone()).prop_map(|(left, op, right)| format!("{left} {op} {right}")),
        1 => (field.clone(), op(), other.clone()).prop_map(|(left, op, right)| format!("{left} {op} {right}")),
        1 => (other, op(), field.clone()).prop_map(|(left, op, right)| format!("{left} {op} {right}")),
        1 => (field.clone(), vec(text(), 0..4)).prop_map(|(field, list)| format!("{field} in [{}]", list.join(", "))),
        1 => (field, text()).prop_map(|(field, prefix)| format!("{field}.startsWith({prefix})")),
    ]
}

fn number_test(owners: &[&'static str]) -> impl Strategy<Value = String> + use<> {
    (owned(owners, vec!["priority"]), op(), select(vec!["-2.5", "-1", "0", "1", "1.0", "2", "100000000000000000000.0"]))
        .prop_map(|(field, op, number)| format!("{field} {op} {number}"))
}

fn text_field(owners: &[&'static str]) -> BoxedStrategy<String> {
    owned(owners, vec!["status", "owner", "note"])
}

fn owned(owners: &[&'static str], names: Vec<&'static str>) -> BoxedStrategy<String> {
    (select(owners.to_vec()), select(names)).prop_map(|(owner, name)| format!("{owner}{name}")).boxed()
}

fn op() -> impl Strategy<Value = &'static str> + Clone {
    select(vec!["==", "!=", "<", "<=", ">", ">="])
}

fn text() -> BoxedStrategy<String> {
    select(TEXTS.to_vec()).prop_map(|text| format!("'{}'", text.replace('\u{0}', "\\u0000"))).boxed()
}
