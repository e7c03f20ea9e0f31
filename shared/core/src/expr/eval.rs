//! The answer to an expression: plain evaluation, and the few decisions it shares with folding.

use std::cmp::Ordering;

use serde_json::{Map, Number, Value};

use super::number;
use super::tree::{AuthField, Expr, Op, Operand, Test, Variable};

/// Who is asking, as expressions see them. Without a caller there is no `Auth`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Auth {
    /// The account.
    pub id: String,
    /// The account's address.
    pub email: String,
    /// The account's roles.
    pub roles: Vec<String>,
    /// Whether the address is verified.
    pub verified: bool,
}

/// A stored record, as expressions and indexes see it.
#[derive(Debug, Clone, Copy)]
pub struct RecordRef<'a> {
    /// Its id.
    pub id: &'a str,
    /// When it was made, in the canonical form of [`moment`](super::moment).
    pub created_at: &'a str,
    /// When it was last changed, in the same form.
    pub updated_at: &'a str,
    /// How often it was written.
    pub version: u64,
    /// Its data fields.
    pub data: &'a Map<String, Value>,
}

/// What is being written.
#[derive(Debug, Clone, Copy)]
pub enum Input<'a> {
    /// Nothing.
    None,
    /// The data fields as they will be stored, all of them the client's.
    Whole(&'a Map<String, Value>),
    /// A change to a stored record.
    Change {
        /// The data fields as they will be stored.
        whole: &'a Map<String, Value>,
        /// The members that the client sent for it.
        sent: &'a Map<String, Value>,
    },
    /// The members of a JSON Merge Patch (RFC 7396); what it does not mention stays as it is stored. An object among
    /// them would need the stored one to merge with, so whatever is asked of it is unknown.
    Patch(&'a Map<String, Value>),
}

/// What is known of a request before a record is read.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// Who is asking; `None` when nobody is signed in. Whatever is asked of `auth` is then unknown.
    pub auth: Option<&'a Auth>,
    /// When the request came in, in the canonical form of [`moment`](super::moment).
    pub now: &'a str,
    /// What is being written.
    pub input: Input<'a>,
}

/// A value met during evaluation.
#[derive(Debug, Clone, PartialEq)]
pub enum Datum<'a> {
    /// `null`.
    Null,
    /// A boolean.
    Flag(bool),
    /// A number.
    Number(Number),
    /// A string.
    Text(&'a str),
    /// An array or an object.
    Nested(&'a Value),
    /// A list of texts that is not stored as JSON: the caller's roles.
    Texts(&'a [String]),
}

impl<'a> From<&'a Value> for Datum<'a> {
    fn from(value: &'a Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(flag) => Self::Flag(*flag),
            Value::Number(number) => Self::Number(number.clone()),
            Value::String(text) => Self::Text(text),
            nested => Self::Nested(nested),
        }
    }
}

impl<'a> RecordRef<'a> {
    /// The value of a field, the system's own included; `None` where there is none.
    pub fn field(&self, name: &str) -> Option<Datum<'a>> {
        match name {
            "id" => Some(Datum::Text(self.id)),
            "createdAt" => Some(Datum::Text(self.created_at)),
            "updatedAt" => Some(Datum::Text(self.updated_at)),
            "version" => Some(Datum::Number(self.version.into())),
            data => self.data.get(data).map(Datum::from),
        }
    }
}

impl Expr {
    /// Whether the expression is known to hold. What is missing makes a test unknown, and unknown is no.
    pub fn eval(&self, known: &Known, record: Option<&RecordRef>) -> bool {
        self.holds(&|test| answer(test, Some(known), record))
    }

    /// Whether a record matches an expression that asks for nothing else: a filter, or what folding left of a rule.
    pub fn matches(&self, record: &RecordRef) -> bool {
        self.holds(&|test| answer(test, None, Some(record)))
    }

    /// Whether the expression is known to hold of these values alone.
    pub(crate) fn holds_given<'a>(&'a self, look_up: &impl Fn(&Variable) -> Option<Datum<'a>>) -> bool {
        self.holds(&|test| decide(test, look_up))
    }

    fn holds<'a>(&'a self, answer: &impl Fn(&'a Test) -> Option<bool>) -> bool {
        match self {
            Self::True => true,
            Self::False => false,
            Self::All(parts) => parts.iter().all(|part| part.holds(answer)),
            Self::Any(parts) => parts.iter().any(|part| part.holds(answer)),
            Self::Is(test) => answer(test) == Some(true),
            Self::Not(test) => answer(test) == Some(false),
        }
    }
}

fn answer(test: &Test, known: Option<&Known>, record: Option<&RecordRef>) -> Option<bool> {
    match test {
        Test::Has(Variable::Record(field)) => Some(record?.field(field).is_some()),
        Test::Has(Variable::Input(field)) => has_input(field, known?.input, record),
        Test::Changed(field) => {
            let incoming = match known?.input {
                Input::None => return None,
                Input::Patch(patch) if !patch.contains_key(field) => return Some(false),
                Input::Patch(patch) => patched(patch.get(field)?)?,
                Input::Whole(whole) | Input::Change { whole, .. } => whole.get(field),
            };
            Some(!same_or_absent(record?.data.get(field), incoming))
        }
        Test::Sent(field) => sent(known?.input, field),
        Test::Stored { field, value } => Some(same_or_absent(record?.data.get(field), value.as_ref())),
        _ => decide(test, |place| look_up(place, known, record)),
    }
}

/// Whether the client sent the field; unknown where nothing is written.
pub(super) fn sent(input: Input, field: &str) -> Option<bool> {
    match input {
        Input::None => None,
        Input::Whole(sent) | Input::Patch(sent) | Input::Change { sent, .. } => Some(sent.contains_key(field)),
    }
}

fn has_input(field: &str, input: Input, record: Option<&RecordRef>) -> Option<bool> {
    match input {
        Input::None => None,
        Input::Whole(whole) | Input::Change { whole, .. } => Some(whole.contains_key(field)),
        Input::Patch(patch) => match patch.get(field) {
            Some(member) => Some(!member.is_null()),
            None => Some(record?.data.contains_key(field)),
        },
    }
}

/// What a member of a merge patch leaves: a value, or nothing for `null`. `None` for an object, which would be merged.
pub(super) fn patched(member: &Value) -> Option<Option<&Value>> {
    match member {
        Value::Null => Some(None),
        Value::Object(_) => None,
        value => Some(Some(value)),
    }
}

fn look_up<'a>(place: &Variable, known: Option<&Known<'a>>, record: Option<&RecordRef<'a>>) -> Option<Datum<'a>> {
    match place {
        Variable::Record(field) => record?.field(field),
        Variable::Auth(field) => Some(caller(known?.auth?, *field)),
        Variable::Now => Some(Datum::Text(known?.now)),
        Variable::Input(field) => match known?.input {
            Input::None => None,
            Input::Whole(whole) | Input::Change { whole, .. } => whole.get(field).map(Datum::from),
            Input::Patch(patch) => match patch.get(field) {
                Some(member) => patched(member)?.map(Datum::from),
                None => record?.field(field),
            },
        },
    }
}

/// What is known of the caller under that name.
pub(super) fn caller(auth: &Auth, field: AuthField) -> Datum<'_> {
    match field {
        AuthField::Id => Datum::Text(&auth.id),
        AuthField::Email => Datum::Text(&auth.email),
        AuthField::Roles => Datum::Texts(&auth.roles),
        AuthField::Verified => Datum::Flag(auth.verified),
    }
}

/// Whether the test holds, given the places' values; `None` where that is unknown.
pub(super) fn decide<'a>(test: &'a Test, look_up: impl Fn(&Variable) -> Option<Datum<'a>>) -> Option<bool> {
    let value = |operand: &'a Operand| match operand {
        Operand::Constant(value) => Some(Datum::from(value)),
        Operand::Variable(place) => look_up(place),
    };
    match test {
        Test::Compare { left, op, right } => compare(&value(left)?, *op, &value(right)?),
        Test::In { item, list } => contains(&value(list)?, &value(item)?),
        Test::StartsWith { text, prefix } => match (value(text)?, value(prefix)?) {
            (Datum::Text(text), Datum::Text(prefix)) => Some(text.starts_with(prefix)),
            _ => None,
        },
        Test::Has(_) | Test::Changed(_) | Test::Sent(_) | Test::Stored { .. } => None,
    }
}

fn compare(left: &Datum, op: Op, right: &Datum) -> Option<bool> {
    let order = order(left, right);
    match op {
        Op::Eq => Some(equal(left, right)),
        Op::Ne => Some(!equal(left, right)),
        Op::Lt => order.map(Ordering::is_lt),
        Op::Le => order.map(Ordering::is_le),
        Op::Gt => order.map(Ordering::is_gt),
        Op::Ge => order.map(Ordering::is_ge),
    }
}

fn order(left: &Datum, right: &Datum) -> Option<Ordering> {
    match (left, right) {
        (Datum::Number(left), Datum::Number(right)) => Some(number::compare(left, right)),
        (Datum::Text(left), Datum::Text(right)) => Some(left.cmp(right)),
        _ => None,
    }
}

fn equal(left: &Datum, right: &Datum) -> bool {
    match (left, right) {
        (Datum::Number(left), Datum::Number(right)) => number::compare(left, right).is_eq(),
        (Datum::Nested(left), Datum::Nested(right)) => same(left, right),
        (left, right) => left == right,
    }
}

fn contains(list: &Datum, item: &Datum) -> Option<bool> {
    match list {
        Datum::Nested(Value::Array(elements)) => Some(elements.iter().any(|element| equal(&element.into(), item))),
        Datum::Texts(texts) => Some(texts.iter().any(|text| equal(&Datum::Text(text), item))),
        _ => None,
    }
}

fn same_or_absent(left: Option<&Value>, right: Option<&Value>) -> bool {
    match (left, right) {
        (Some(left), Some(right)) => same(left, right),
        (left, right) => left.is_none() && right.is_none(),
    }
}

/// Whether two values are the same, numbers by value and not by notation.
fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| same(left, right))
        }
        (Value::Object(left), Value::Object(right)) => {
            left.len() == right.len()
                && left.iter().all(|(key, left)| right.get(key).is_some_and(|right| same(left, right)))
        }
        (Value::Array(_) | Value::Object(_), _) | (_, Value::Array(_) | Value::Object(_)) => false,
        (left, right) => equal(&left.into(), &right.into()),
    }
}
