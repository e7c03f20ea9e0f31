//! Evaluation, and the parts of it that folding shares.

use std::cmp::Ordering;

use serde_json::{Map, Number, Value};

use super::number;
use super::tree::{AuthField, Expr, Op, Operand, Test, Variable};

/// The caller, as expressions see it. An anonymous caller has no `Auth`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Auth {
    /// The account's id.
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
    /// When it was created, in the canonical form of [`moment`](super::moment).
    pub created_at: &'a str,
    /// When it was last changed, in the same form.
    pub updated_at: &'a str,
    /// The number of writes.
    pub version: u64,
    /// Its data fields.
    pub data: &'a Map<String, Value>,
}

/// The data being written.
#[derive(Debug, Clone, Copy)]
pub enum Input<'a> {
    /// Nothing.
    None,
    /// A new record's data fields as they will be stored. The client chose all of them.
    Whole(&'a Map<String, Value>),
    /// A change to a stored record.
    Change {
        /// The data fields as they will be stored.
        whole: &'a Map<String, Value>,
        /// The members that the client sent.
        sent: &'a Map<String, Value>,
    },
    /// The members of a JSON Merge Patch (RFC 7396). A field it leaves out stays as stored. An object would have to be merged
    /// with the stored one, so a test of it is unknown.
    Patch(&'a Map<String, Value>),
    /// The fields that operators change, by name. Their results depend on the stored record, so tests of them stay in the
    /// residual. Every other field stays as stored.
    Operators(&'a Map<String, Value>),
}

/// What is known of a request before a record is read.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// The caller. `None` if anonymous: every test of `auth` is then unknown.
    pub auth: Option<&'a Auth>,
    /// The time of the request, in the canonical form of [`moment`](super::moment).
    pub now: &'a str,
    /// The data being written.
    pub input: Input<'a>,
}

/// A value during evaluation.
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
    /// The value of a field, server-owned fields included. `None` if it has none.
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
    /// Whether the expression is known to hold. A test with a missing value is unknown, and unknown counts as no.
    pub fn eval(&self, known: &Known, record: Option<&RecordRef>) -> bool {
        self.holds(&|test| answer(test, Some(known), record))
    }

    /// Whether a record matches an expression that depends on the record alone: a filter, or a residual rule.
    pub fn matches(&self, record: &RecordRef) -> bool {
        self.holds(&|test| answer(test, None, Some(record)))
    }

    /// Whether the expression is known to hold with these values alone.
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
                Input::Operators(names) => return (!names.contains_key(field)).then_some(false),
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

/// Whether the client sent the field. Unknown if nothing is written.
pub(super) fn sent(input: Input, field: &str) -> Option<bool> {
    match input {
        Input::None => None,
        Input::Whole(sent) | Input::Patch(sent) | Input::Operators(sent) | Input::Change { sent, .. } => {
            Some(sent.contains_key(field))
        }
    }
}

fn has_input(field: &str, input: Input, record: Option<&RecordRef>) -> Option<bool> {
    match input {
        Input::None => None,
        Input::Operators(names) if names.contains_key(field) => None,
        Input::Operators(_) => Some(record?.data.contains_key(field)),
        Input::Whole(whole) | Input::Change { whole, .. } => Some(whole.contains_key(field)),
        Input::Patch(patch) => match patch.get(field) {
            Some(member) => Some(!member.is_null()),
            None => Some(record?.data.contains_key(field)),
        },
    }
}

/// The result of a merge patch's member: a value, or nothing for `null`. `None` for an object, which would be merged.
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
            Input::Operators(names) if names.contains_key(field) => None,
            Input::Operators(_) => record?.field(field),
            Input::Whole(whole) | Input::Change { whole, .. } => whole.get(field).map(Datum::from),
            Input::Patch(patch) => match patch.get(field) {
                Some(member) => patched(member)?.map(Datum::from),
                None => record?.field(field),
            },
        },
    }
}

/// The value of a caller field.
pub(super) fn caller(auth: &Auth, field: AuthField) -> Datum<'_> {
    match field {
        AuthField::Id => Datum::Text(&auth.id),
        AuthField::Email => Datum::Text(&auth.email),
        AuthField::Roles => Datum::Texts(&auth.roles),
        AuthField::Verified => Datum::Flag(auth.verified),
    }
}

/// The result of a test with these values. `None` if unknown.
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

/// Whether two values are equal. Numbers are compared by value, not by notation.
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
