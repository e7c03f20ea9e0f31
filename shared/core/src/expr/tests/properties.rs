//! The language compared with itself and with CEL's own interpreter, over generated expressions and records.

use std::collections::HashMap;

use cel::{Context, Program, Value as CelValue};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::generated::{auth, data, filter, list_rule, odd_data, update_rule};
use super::{fields, record};
use crate::expr::{Auth, Expr, Input, Known, Rule, Test};

const NOW: &str = "2026-02-01T00:00:00.000Z";

fn known<'a>(auth: &'a Option<Auth>, input: Input<'a>) -> Known<'a> {
    Known { auth: auth.as_ref(), now: NOW, input }
}

/// Whether the `cel` crate evaluates a rule to true. An anonymous caller has no `auth`.
fn cel_says_yes(rule: &str, auth: Option<&Auth>, data: &Map<String, Value>) -> bool {
    let mut context = Context::default();
    if let Some(auth) = auth {
        let auth = json!({ "id": auth.id, "email": auth.email, "roles": auth.roles, "verified": auth.verified });
        context.add_variable("auth", as_cel(&auth)).unwrap();
    }
    context.add_variable("record", as_cel(&Value::Object(data.clone()))).unwrap();
    let program = Program::compile(rule).unwrap_or_else(|error| panic!("CEL refuses {rule}: {error}"));
    matches!(program.execute(&context), Ok(CelValue::Bool(true)))
}

/// The value in CEL's types. Converted by hand because CEL's numbers are machine numbers.
fn as_cel(value: &Value) -> CelValue {
    match value {
        Value::Null => CelValue::Null,
        Value::Bool(flag) => (*flag).into(),
        Value::Number(number) => {
            number.as_i64().map_or_else(|| number.as_f64().unwrap_or(f64::NAN).into(), CelValue::from)
        }
        Value::String(text) => text.clone().into(),
        Value::Array(items) => items.iter().map(as_cel).collect::<Vec<_>>().into(),
        Value::Object(members) => {
            members.iter().map(|(name, member)| (name.clone(), as_cel(member))).collect::<HashMap<_, _>>().into()
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn folding_first_changes_no_answer(rule in update_rule(), auth in auth(), stored in odd_data(), input in odd_data(), sent in odd_data(), kind in 0..4) {
        let rule = Expr::rule(&rule, &fields(), Rule::Update).unwrap();
        let input = match kind {
            0 => Input::None,
            1 => Input::Whole(&input),
            2 => Input::Change { whole: &input, sent: &sent },
            _ => Input::Patch(&input),
        };
        let known = known(&auth, input);
        prop_assert_eq!(rule.partial(&known).matches(&record(&stored)), rule.eval(&known, Some(&record(&stored))));
    }

    #[test]
    fn a_refusal_names_tests_of_the_input_exactly_if_another_input_may_be_allowed(
        rule in update_rule(), auth in auth(), stored in odd_data(), input in odd_data(), sent in odd_data(), whole in any::<bool>(),
    ) {
        let rule = Expr::rule(&rule, &fields(), Rule::Update).unwrap();
        let known = known(&auth, if whole { Input::Change { whole: &input, sent: &sent } } else { Input::Patch(&input) });
        let refused = rule.refused_input(&known, &record(&stored));
        prop_assert_eq!(refused.is_true(), rule.eval(&known, Some(&record(&stored))));
        let beside = rule.beside_input();
        prop_assert_eq!(refused != Expr::False, beside.eval(&known, Some(&record(&stored))), "{} {}", refused, beside);
        prop_assert!(!beside.to_string().contains("input.") && !beside.to_string().contains("changed("), "{}", beside);
        for test in refused.tests() {
            let shown = test.to_string();
            prop_assert!(shown.contains("input.") || shown.contains("changed("), "{} in {}", shown, refused);
        }
        if !refused.is_true() && refused != Expr::False {
            prop_assert!(!refused.eval(&known, Some(&record(&stored))), "{} holds", refused);
        }
    }

    #[test]
    fn nothing_of_the_request_is_left_after_folding(rule in update_rule(), auth in auth(), input in data()) {
        let folded = Expr::rule(&rule, &fields(), Rule::Update).unwrap().partial(&known(&auth, Input::Patch(&input)));
        let left = folded.to_string();
        prop_assert!(!left.contains("auth.") && !left.contains("input.") && !left.contains("changed("), "{}", left);
        prop_assert_eq!(&folded.partial(&known(&None, Input::None)), &folded);
    }

    #[test]
    fn folding_leaves_no_undecidable_constant(rule in update_rule(), auth in auth(), input in odd_data(), whole in any::<bool>()) {
        let input = if whole { Input::Whole(&input) } else { Input::Patch(&input) };
        let folded = Expr::rule(&rule, &fields(), Rule::Update).unwrap().partial(&known(&auth, input));
        for test in folded.tests() {
            let constants = test.operands().into_iter().filter_map(|operand| operand.constant());
            let fits = |constant: &Value| match test {
                Test::Compare { op, .. } if op.is_order() => constant.is_string() || constant.is_number(),
                Test::StartsWith { .. } => constant.is_string(),
                _ => true,
            };
            prop_assert!(constants.into_iter().all(fits), "{} leaves {}", rule, test);
        }
    }

    #[test]
    fn a_rule_means_what_cel_says(rule in list_rule(), auth in auth(), stored in data()) {
        let ours = Expr::rule(&rule, &fields(), Rule::List).unwrap();
        prop_assert_eq!(ours.eval(&known(&auth, Input::None), Some(&record(&stored))), cel_says_yes(&rule, auth.as_ref(), &stored), "{}", rule);
    }

    #[test]
    fn an_expression_and_its_negation_never_both_hold(source in filter(), stored in odd_data()) {
        let yes = Expr::filter(&source, &fields()).unwrap();
        let no = Expr::filter(&format!("!({source})"), &fields()).unwrap();
        prop_assert!(!(yes.matches(&record(&stored)) && no.matches(&record(&stored))));
    }

    #[test]
    fn any_text_is_read_or_refused(source in "[ -~]{0,80}|\\PC{0,40}") {
        if let Err(error) = Expr::filter(&source, &fields()) {
            prop_assert!(error.column >= 1 && error.column <= source.chars().count() + 1);
        }
    }

    #[test]
    fn words_in_any_order_are_read_or_refused(words in prop::collection::vec(prop::sample::select(WORDS.to_vec()), 0..60)) {
        let source = words.join(" ");
        let _ = Expr::filter(&source, &fields());
        let _ = Expr::rule(&source, &fields(), Rule::Update);
    }
}

const WORDS: [&str; 30] = [
    "(",
    ")",
    "[",
    "]",
    "!",
    "-",
    "&&",
    "||",
    "==",
    "!=",
    "<",
    ">=",
    "in",
    "has",
    "changed",
    ".",
    ",",
    "startsWith",
    "status",
    "priority",
    "record",
    "auth",
    "input",
    "id",
    "'a'",
    "1",
    "1.5",
    "null",
    "true",
    "tags",
];
