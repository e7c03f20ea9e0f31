//! Rules: read against the fields, and the list rule held against the indexes before anyone can depend on it.

use std::collections::BTreeMap;

use crate::error::FieldError;
use crate::expr::{Auth, Expr, Input, Known, Op, Operand, Place, Rule, Test};
use crate::query::{Layout, Query, Refusal, plan};

/// How many questions about the caller alone a list rule may ask; every combination of answers is tried.
const MAX_CALLER_TESTS: usize = 6;

/// Reads every rule.
fn read(rules: &BTreeMap<Rule, String>, layout: &Layout, problems: &mut Vec<FieldError>) -> BTreeMap<Rule, Expr> {
    let mut read = BTreeMap::new();
    for (rule, source) in rules {
        match Expr::rule(source, &layout.fields, *rule) {
            Ok(expr) => {
                read.insert(*rule, expr);
            }
            Err(error) => {
                problems.push(FieldError::new(format!("/rules/{}", rule.name()), "bad_rule", error.to_string()))
            }
        }
    }
    read
}

/// Reads the rules of a stored definition. One that is not taken any more is left out: it allows admins only.
pub(super) fn stored(rules: &BTreeMap<Rule, String>, layout: &Layout) -> BTreeMap<Rule, Expr> {
    read(rules, layout, &mut Vec::new())
}

/// Reads every rule, and refuses a list rule that no index serves.
pub(super) fn check(rules: &BTreeMap<Rule, String>, layout: &Layout, problems: &mut Vec<FieldError>) {
    let read = read(rules, layout, problems);
    if let Some(refusal) = read.get(&Rule::List).and_then(|list| unserved(list, layout)) {
        let index = refusal.add_index.map_or_else(String::new, |index| format!("; add to `indexes`: {index}"));
        let message = format!("a list under this rule could not be read from an index: {}{index}", refusal.message);
        problems.push(FieldError::new("/rules/list", "rule_not_served", message));
    }
}

/// The refusal some caller, or somebody who has not signed in, would meet when listing under this rule, whatever they filter
/// by; `None` if nobody would.
pub fn unserved(list: &Expr, layout: &Layout) -> Option<Refusal> {
    unserved_by_answers(list, layout).or_else(|| unserved_by_answers(&without_caller(list), layout))
}

/// The rule as it is where nobody is signed in: what it asks of the caller is known neither to hold nor not to.
fn without_caller(expr: &Expr) -> Expr {
    let is_auth = |operand: &&Operand| matches!(operand, Operand::Place(Place::Auth(_)));
    match expr {
        Expr::True => Expr::True,
        Expr::All(parts) => Expr::all(parts.iter().map(without_caller)),
        Expr::Any(parts) => Expr::any(parts.iter().map(without_caller)),
        Expr::Is(test) | Expr::Not(test) if !test.operands().iter().any(is_auth) => expr.clone(),
        Expr::False | Expr::Is(_) | Expr::Not(_) => Expr::False,
    }
}

/// What a rule asks of the caller and the time alone is tried with every answer; where it compares a record with the caller,
/// which caller that is makes no difference to the plan.
fn unserved_by_answers(list: &Expr, layout: &Layout) -> Option<Refusal> {
    let mut questions: Vec<Test> = Vec::new();
    for (question, _) in list.tests().into_iter().filter_map(about_caller) {
        if !questions.contains(&question) {
            questions.push(question);
        }
    }
    if questions.len() > MAX_CALLER_TESTS {
        let message = format!("the rule asks more than {MAX_CALLER_TESTS} things of the caller alone");
        return Some(Refusal { code: "index_required", message, add_index: None });
    }
    (0..1_u32 << questions.len()).find_map(|answers| {
        let answer = |question: &Test| {
            let position = questions.iter().position(|other| other == question)?;
            Some(answers >> position & 1 == 1)
        };
        let rule = answered(list, &answer).partial(&someone());
        plan(layout, &Query { rule: &rule, filter: None, sort: &[], scan: None }).err()
    })
}

/// A test that asks nothing of the record, in the one form it shares with its negation, and whether it is that form.
fn about_caller(test: &Test) -> Option<(Test, bool)> {
    let about_caller = |operand: &&Operand| !matches!(operand, Operand::Place(Place::Record(_) | Place::Input(_)));
    if test.operands().is_empty() || !test.operands().iter().all(about_caller) {
        return None;
    }
    match test {
        Test::Compare { left, op: op @ (Op::Ne | Op::Ge | Op::Gt), right } => {
            Some((Test::Compare { left: left.clone(), op: op.negated(), right: right.clone() }, false))
        }
        same => Some((same.clone(), true)),
    }
}

/// The rule with the answers to those tests put in.
fn answered(expr: &Expr, answer: &impl Fn(&Test) -> Option<bool>) -> Expr {
    let decided = |test: &Test, positive: bool| {
        let (question, same) = about_caller(test)?;
        answer(&question).map(|yes| Expr::constant((yes == same) == positive))
    };
    match expr {
        Expr::True => Expr::True,
        Expr::False => Expr::False,
        Expr::All(parts) => Expr::all(parts.iter().map(|part| answered(part, answer))),
        Expr::Any(parts) => Expr::any(parts.iter().map(|part| answered(part, answer))),
        Expr::Is(test) => decided(test, true).unwrap_or_else(|| expr.clone()),
        Expr::Not(test) => decided(test, false).unwrap_or_else(|| expr.clone()),
    }
}

/// A caller like any other.
fn someone() -> Known<'static> {
    static SOMEONE: std::sync::LazyLock<Auth> = std::sync::LazyLock::new(|| Auth {
        id: "someone".to_owned(),
        email: "someone@example.com".to_owned(),
        roles: vec!["role".to_owned()],
        verified: true,
    });
    Known { auth: Some(&SOMEONE), now: "2026-01-01T00:00:00.000Z", input: Input::None }
}
