//! Folding: inserts what is known of a request into an expression, which leaves the residual that depends on the stored
//! record.

use serde_json::{Map, Value};

use super::eval::{Datum, Input, Known, caller, decide, patched, sent};
use super::tree::{Expr, Op, Operand, Test, Variable};

impl Expr {
    /// The expression with caller, time and input folded to constants. The residual depends on the stored record alone, and
    /// matches exactly the records for which [`Expr::eval`] says yes.
    #[must_use]
    pub fn partial(&self, known: &Known) -> Expr {
        match self {
            Self::True => Self::True,
            Self::False => Self::False,
            Self::All(parts) => Self::all(parts.iter().map(|part| part.partial(known))),
            Self::Any(parts) => Self::any(parts.iter().map(|part| part.partial(known))),
            Self::Is(test) => fold(test, true, known),
            Self::Not(test) => fold(test, false, known),
        }
    }
}

fn fold(test: &Test, positive: bool, known: &Known) -> Expr {
    match test {
        Test::Has(Variable::Input(field)) => fold_has(field, positive, known.input),
        Test::Changed(field) => fold_changed(field, positive, known.input),
        Test::Sent(field) => Expr::constant(sent(known.input, field) == Some(positive)),
        Test::Has(_) | Test::Stored { .. } => Expr::test(test.clone(), positive),
        Test::Compare { left, op, right } => {
            let ordered =
                |side: &Operand| !op.is_order() || may_be(side, |value| value.is_number() || value.is_string());
            let sides = (put_in(left, known).filter(ordered), put_in(right, known).filter(ordered));
            let settled = settle(sides, positive, |left, right| Test::compare(left, *op, right));
            of_one_field(&settled).unwrap_or(settled)
        }
        Test::In { item, list } => {
            let sides = (put_in(item, known), put_in(list, known));
            settle(sides, positive, |item, list| Test::In { item, list })
        }
        Test::StartsWith { text, prefix } => {
            let is_text = |side: &Operand| may_be(side, Value::is_string);
            let sides = (put_in(text, known).filter(is_text), put_in(prefix, known).filter(is_text));
            settle(sides, positive, |text, prefix| Test::StartsWith { text, prefix })
        }
    }
}

/// The test with both sides folded: decided if both are constants; unknown, and so never true, if one has no value.
fn settle(sides: (Option<Operand>, Option<Operand>), positive: bool, test: impl Fn(Operand, Operand) -> Test) -> Expr {
    let (Some(left), Some(right)) = sides else { return Expr::False };
    let decided = left.constant().is_some() && right.constant().is_some();
    let test = test(left, right);
    if decided { Expr::constant(decide(&test, |_| None) == Some(positive)) } else { Expr::test(test, positive) }
}

/// The result of comparing a field with itself, which occurs when a patch leaves out a field that is compared with the input.
/// DynamoDB rejects such a test. `<=` and `>=` remain because they test the kind of the value.
fn of_one_field(settled: &Expr) -> Option<Expr> {
    let Expr::Is(test @ Test::Compare { left, op, .. }) = settled else { return None };
    let field = left.record_field().filter(|_| test.is_of_one_place())?;
    match op {
        Op::Eq => Some(Expr::Is(Test::Has(Variable::Record(field.to_owned())))),
        Op::Ne | Op::Lt | Op::Gt => Some(Expr::False),
        Op::Le | Op::Ge => None,
    }
}

/// Whether the operand's kind fits the test. Input may be `null` or of any kind, and DynamoDB rejects a constant of a kind
/// that makes a test unknown for every record.
fn may_be(operand: &Operand, fits: impl Fn(&Value) -> bool) -> bool {
    operand.constant().is_none_or(fits)
}

fn fold_has(field: &str, positive: bool, input: Input) -> Expr {
    let present = match input {
        Input::None => return Expr::False,
        Input::Operators(names) if names.contains_key(field) => {
            return Expr::test(Test::Has(Variable::Input(field.to_owned())), positive);
        }
        Input::Operators(_) => return Expr::test(Test::Has(Variable::Record(field.to_owned())), positive),
        Input::Whole(whole) | Input::Change { whole, .. } => whole.contains_key(field),
        Input::Patch(patch) => match patch.get(field) {
            Some(member) => !member.is_null(),
            None => return Expr::test(Test::Has(Variable::Record(field.to_owned())), positive),
        },
    };
    Expr::constant(present == positive)
}

fn fold_changed(field: &str, positive: bool, input: Input) -> Expr {
    let incoming = match input {
        Input::None => return Expr::False,
        Input::Operators(names) if names.contains_key(field) => {
            return Expr::test(Test::Changed(field.to_owned()), positive);
        }
        Input::Operators(_) => return Expr::constant(!positive),
        Input::Whole(whole) | Input::Change { whole, .. } => whole.get(field),
        Input::Patch(patch) => match patch.get(field).map(patched) {
            None => return Expr::constant(!positive),
            Some(None) => return Expr::False,
            Some(Some(value)) => value,
        },
    };
    Expr::test(Test::Stored { field: field.to_owned(), value: incoming.cloned() }, !positive)
}

/// The operand with known values inserted. `None` if it has no value.
fn put_in(operand: &Operand, known: &Known) -> Option<Operand> {
    let place = match operand {
        Operand::Constant(_) => return Some(operand.clone()),
        Operand::Variable(place) => place,
    };
    match place {
        Variable::Record(_) => Some(operand.clone()),
        Variable::Auth(field) => known.auth.map(|auth| Operand::Constant(caller(auth, *field).to_value())),
        Variable::Now => Some(Operand::Constant(known.now.into())),
        Variable::Input(field) => match known.input {
            Input::None => None,
            Input::Operators(names) if names.contains_key(field) => Some(operand.clone()),
            Input::Operators(_) => Some(Operand::Variable(Variable::Record(field.clone()))),
            Input::Whole(whole) | Input::Change { whole, .. } => constant(whole, field),
            Input::Patch(patch) => match patch.get(field) {
                Some(member) => patched(member)?.map(|value| Operand::Constant(value.clone())),
                None => Some(Operand::Variable(Variable::Record(field.clone()))),
            },
        },
    }
}

fn constant(map: &Map<String, Value>, field: &str) -> Option<Operand> {
    map.get(field).map(|value| Operand::Constant(value.clone()))
}

impl Datum<'_> {
    /// The datum as JSON.
    pub fn to_value(&self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Flag(flag) => Value::Bool(*flag),
            Self::Number(number) => Value::Number(number.clone()),
            Self::Text(text) => Value::from(*text),
            Self::Nested(value) => (*value).clone(),
            Self::Texts(texts) => Value::from(texts.to_vec()),
        }
    }
}

impl Operand {
    /// The constant, if it is one.
    pub fn constant(&self) -> Option<&Value> {
        match self {
            Self::Constant(value) => Some(value),
            Self::Variable(_) => None,
        }
    }

    /// The stored field, if it is one.
    pub fn record_field(&self) -> Option<&str> {
        match self {
            Self::Variable(Variable::Record(field)) => Some(field),
            _ => None,
        }
    }
}
