//! Rules: checked against the fields. The list rule is also checked against the indexes.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::FieldError;
use crate::expr::{Auth, AuthField, Expr, Input, Known, Op, Operand, Rule, Test, Variable};
use crate::query::{Layout, ListQuery, Refusal, plan};

/// Maximum number of tests about the caller alone in a list rule; every combination of results is tried.
const MAX_CALLER_TESTS: usize = 6;

/// Maximum number of texts in a list rule that are tried as the id or address of a caller.
const MAX_NAMES: usize = 16;

/// Parses every rule.
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

/// Parses the rules of a stored definition. A rule that is no longer valid is left out and so allows admins only.
pub(super) fn stored(rules: &BTreeMap<Rule, String>, layout: &Layout) -> BTreeMap<Rule, Expr> {
    let mut stored = read(rules, layout, &mut Vec::new());
    let may_read = stored.get(&Rule::Read).cloned().unwrap_or(Expr::False);
    for rule in [Rule::Update, Rule::Delete, Rule::Undelete, Rule::Refer] {
        if let Some(stated) = stored.remove(&rule) {
            stored.insert(rule, seen(&stated, &may_read));
        }
    }
    stored
}

/// For callers who may not read the record, a comparison of caller-chosen values with stored ones counts as unknown: its
/// result would reveal the stored value. A caller chooses what they send, and stored fields that they sent before; in an
/// order comparison also the id and address of an account they create.
fn seen(update: &Expr, may_read: &Expr) -> Expr {
    match update {
        Expr::All(parts) => Expr::all(parts.iter().map(|part| seen(part, may_read))),
        Expr::Any(parts) => Expr::any(parts.iter().map(|part| seen(part, may_read))),
        Expr::Is(Test::Changed(_)) => update.clone().and(may_read.clone()),
        // A field that a replacement leaves out is removed, which is a change if it is stored.
        Expr::Not(Test::Changed(field)) => update.clone().and(Expr::any([sent(field, false), may_read.clone()])),
        Expr::Is(test) | Expr::Not(test) => match untold(test) {
            Some(untold) => update.clone().and(Expr::any([untold, may_read.clone()])),
            None => update.clone(),
        },
        other => other.clone(),
    }
}

fn sent(field: &str, is_sent: bool) -> Expr {
    Expr::test(Test::Sent(field.to_owned()), is_sent)
}

/// When a test does not compare a caller-chosen value with a stored one. `None` if it never does. `input.f` is the stored
/// field if the client does not send it.
fn untold(test: &Test) -> Option<Expr> {
    let operands = test.operands();
    let fields = |of: fn(&Variable) -> Option<&String>| -> BTreeSet<String> {
        let variable = |operand: &&Operand| match operand {
            Operand::Variable(variable) => of(variable).cloned(),
            Operand::Constant(_) => None,
        };
        operands.iter().filter_map(variable).collect()
    };
    let inputs = fields(|variable| if let Variable::Input(field) = variable { Some(field) } else { None });
    let stored = fields(|variable| if let Variable::Record(field) = variable { Some(field) } else { None });
    let is_name =
        |operand: &&Operand| matches!(operand, Operand::Variable(Variable::Auth(AuthField::Id | AuthField::Email)));
    let is_narrowed_by_name = test.is_narrowing() && operands.iter().any(is_name);
    let all_sent = || Expr::all(inputs.iter().map(|field| sent(field, true)));
    match (inputs.len(), stored.len()) {
        (0, 0) | (1, 0) if !is_narrowed_by_name => None,
        (0, 1) if !is_narrowed_by_name => None,
        // A field that is not sent is compared with itself.
        (1, 1) if inputs == stored => Some(Expr::all(inputs.iter().map(|field| sent(field, false)))),
        (_, 0) => Some(all_sent()),
        _ => Some(Expr::False),
    }
}

/// Parses every rule, and refuses a list rule that no index serves.
pub(super) fn check(rules: &BTreeMap<Rule, String>, layout: &Layout, problems: &mut Vec<FieldError>) {
    let read = read(rules, layout, problems);
    if let Some(refusal) = read.get(&Rule::List).and_then(|list| unserved(list, layout)) {
        let index = refusal.add_index.map_or_else(String::new, |index| format!(" Add this to `indexes`: {index}"));
        let message = format!("No index serves a list under this rule. {}{index}", refusal.message);
        problems.push(FieldError::new("/rules/list", "rule_not_served", message));
    }
}

/// The refusal that some caller would get when listing under this rule, with any filter. `None` if every caller is served.
///
/// Tests about the caller and the time alone are tried with both results. Which caller a record is compared with does not
/// affect the plan, unless the rule also compares the record with constants: callers with those values are tried too. The
/// residual rule of an anonymous caller is a part of every other caller's.
pub fn unserved(list: &Expr, layout: &Layout) -> Option<Refusal> {
    let mut questions: Vec<Test> = Vec::new();
    for (question, _) in list.tests().into_iter().filter_map(about_caller) {
        if !questions.contains(&question) {
            questions.push(question);
        }
    }
    if questions.len() > MAX_CALLER_TESTS {
        let message = format!("The rule has more than {MAX_CALLER_TESTS} tests about the caller alone. Simplify it.");
        return Some(Refusal { code: "index_required", message, add_index: None });
    }
    let callers = callers(list);
    (0..1_u32 << questions.len()).find_map(|answers| {
        let answer = |question: &Test| {
            let position = questions.iter().position(|other| other == question)?;
            Some(answers >> position & 1 == 1)
        };
        let answered = answered(list, &answer);
        callers.iter().find_map(|auth| {
            let known = Known { auth: Some(auth), now: "2026-01-01T00:00:00.000Z", input: Input::None };
            let rule = answered.partial(&known);
            plan(layout, &ListQuery { rule: &rule, filter: None, sort: &[], scan: None }).err()
        })
    })
}

/// A test about the caller or the time alone, in the form it shares with its negation, and whether it is that form.
fn about_caller(test: &Test) -> Option<(Test, bool)> {
    let about_caller =
        |operand: &&Operand| !matches!(operand, Operand::Variable(Variable::Record(_) | Variable::Input(_)));
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

/// The rule with the results of those tests inserted.
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

/// An arbitrary caller, and one for each text in the rule that records are compared with, whose id is that text or just after
/// it.
fn callers(list: &Expr) -> Vec<Auth> {
    let mut texts: Vec<&str> = Vec::new();
    let constants = list.tests().into_iter().flat_map(Test::operands).filter_map(Operand::constant);
    for constant in
        constants.flat_map(|constant| constant.as_array().map_or(std::slice::from_ref(constant), Vec::as_slice))
    {
        texts.extend(constant.as_str().filter(|text| !texts.contains(text)));
    }
    let called = |name: String| Auth { email: name.clone(), roles: vec![name.clone()], id: name, verified: true };
    let someone = Auth { email: "someone@example.com".to_owned(), ..called("someone".to_owned()) };
    let named = texts.iter().take(MAX_NAMES).flat_map(|text| [called((*text).to_owned()), called(format!("{text}\0"))]);
    std::iter::once(someone).chain(named).collect()
}
