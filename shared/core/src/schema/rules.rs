//! Rules: read against the fields, and the list rule held against the indexes before anyone can depend on it.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::FieldError;
use crate::expr::{Auth, AuthField, Expr, Input, Known, Op, Operand, Rule, Test, Variable};
use crate::query::{Layout, ListQuery, Refusal, plan};

/// How many questions about the caller alone a list rule may ask; every combination of answers is tried.
const MAX_CALLER_TESTS: usize = 6;

/// How many of the texts in a list rule are tried as the names of callers.
const MAX_NAMES: usize = 16;

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
    let mut stored = read(rules, layout, &mut Vec::new());
    let may_read = stored.get(&Rule::Read).cloned().unwrap_or(Expr::False);
    for rule in [Rule::Update, Rule::Delete, Rule::Undelete, Rule::Refer] {
        if let Some(stated) = stored.remove(&rule) {
            stored.insert(rule, seen(&stated, &may_read));
        }
    }
    stored
}

/// A rule that compares what a caller may choose with what is stored only for those who may read the record: whether it differs
/// from it, is more or less, or is in it, would tell others what is stored. For them nothing of that kind is known to hold, nor not
/// to hold. A caller chooses what they send, and what a stored field holds that they sent before; in a comparison by order, also
/// the name and address of an account that they make.
fn seen(update: &Expr, may_read: &Expr) -> Expr {
    match update {
        Expr::All(parts) => Expr::all(parts.iter().map(|part| seen(part, may_read))),
        Expr::Any(parts) => Expr::any(parts.iter().map(|part| seen(part, may_read))),
        Expr::Is(Test::Changed(_)) => update.clone().and(may_read.clone()),
        // What a replacement leaves out is not sent, and is a change where it is stored.
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

/// When a test compares nothing that a caller may choose with what is stored; `None` where it never does so. `input.f` is the stored
/// field where the client does not send it.
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

/// Reads every rule, and refuses a list rule that no index serves.
pub(super) fn check(rules: &BTreeMap<Rule, String>, layout: &Layout, problems: &mut Vec<FieldError>) {
    let read = read(rules, layout, problems);
    if let Some(refusal) = read.get(&Rule::List).and_then(|list| unserved(list, layout)) {
        let index = refusal.add_index.map_or_else(String::new, |index| format!("; add to `indexes`: {index}"));
        let message = format!("a list under this rule could not be read from an index: {}{index}", refusal.message);
        problems.push(FieldError::new("/rules/list", "rule_not_served", message));
    }
}

/// The refusal some caller would meet when listing under this rule, whatever they filter by; `None` if nobody would.
///
/// What a rule asks of the caller and the time alone is tried with every answer. Where it compares a record with the caller, which
/// caller that is makes no difference to the plan, unless the record is also compared with what is written in the rule: callers
/// of those names are tried as well. What is left without a caller is a part of what is left for each.
pub fn unserved(list: &Expr, layout: &Layout) -> Option<Refusal> {
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

/// A test that asks nothing of the record, in the one form it shares with its negation, and whether it is that form.
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

/// A caller like any other, and one for each text that the rule compares records with, who is called that, or just after it.
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
