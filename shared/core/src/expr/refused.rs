//! Why a rule refuses a write that another input would have been allowed: the tests of the input that do not hold.

use serde_json::Value;

use super::eval::{Known, RecordRef};
use super::tree::{Expr, Operand, Test, Variable};

/// Stands for a text of a rule, which may be something that only the rule's author knows.
const TEXT: &str = "...";

impl Expr {
    /// The rule without its tests of the input: whether some input may be allowed.
    #[must_use]
    pub fn beside_input(&self) -> Expr {
        match self {
            Self::All(parts) => Self::all(parts.iter().map(Self::beside_input)),
            Self::Any(parts) => Self::any(parts.iter().map(Self::beside_input)),
            Self::Is(test) | Self::Not(test) if test.is_of_input() => Self::True,
            other => other.clone(),
        }
    }

    /// The tests of the input that do not hold, of those alternatives that another input would satisfy. [`Expr::True`] if the
    /// rule holds, [`Expr::False`] if no input satisfies it.
    #[must_use]
    pub fn refused_input(&self, known: &Known, record: &RecordRef) -> Expr {
        let of_parts = |parts: &[Self]| parts.iter().map(|part| part.refused_input(known, record)).collect::<Vec<_>>();
        match self {
            Self::True | Self::False => self.clone(),
            Self::All(parts) => Self::all(of_parts(parts)),
            Self::Any(parts) => Self::any(of_parts(parts)),
            Self::Is(test) | Self::Not(test) => match self.eval(known, Some(record)) {
                true => Self::True,
                false if test.is_of_input() => self.clone(),
                false => Self::False,
            },
        }
    }

    /// The expression with its texts left out.
    #[must_use]
    pub fn without_texts(&self) -> Expr {
        match self {
            Self::All(parts) => Self::All(parts.iter().map(Self::without_texts).collect()),
            Self::Any(parts) => Self::Any(parts.iter().map(Self::without_texts).collect()),
            Self::Is(test) => Self::Is(test.without_texts()),
            Self::Not(test) => Self::Not(test.without_texts()),
            other => other.clone(),
        }
    }
}

impl Test {
    /// Whether it depends on what is written.
    fn is_of_input(&self) -> bool {
        let is_input = |operand: &&Operand| matches!(operand, Operand::Variable(Variable::Input(_)));
        matches!(self, Self::Has(Variable::Input(_)) | Self::Changed(_) | Self::Sent(_))
            || self.operands().iter().any(is_input)
    }

    /// The fields that it reads, stored or written.
    pub fn fields(&self) -> Vec<&str> {
        match self {
            Self::Has(variable) => field_of(variable).into_iter().collect(),
            Self::Changed(field) | Self::Sent(field) | Self::Stored { field, .. } => vec![field],
            _ => self
                .operands()
                .into_iter()
                .filter_map(|operand| match operand {
                    Operand::Variable(variable) => field_of(variable),
                    Operand::Constant(_) => None,
                })
                .collect(),
        }
    }

    fn without_texts(&self) -> Self {
        let operand = |operand: &Operand| match operand {
            Operand::Constant(value) => Operand::Constant(without_texts(value)),
            variable => variable.clone(),
        };
        match self {
            Self::Compare { left, op, right } => Self::Compare { left: operand(left), op: *op, right: operand(right) },
            Self::In { item, list } => Self::In { item: operand(item), list: operand(list) },
            Self::StartsWith { text, prefix } => Self::StartsWith { text: operand(text), prefix: operand(prefix) },
            other => other.clone(),
        }
    }
}

fn field_of(variable: &Variable) -> Option<&str> {
    match variable {
        Variable::Record(field) | Variable::Input(field) => Some(field),
        Variable::Auth(_) | Variable::Now => None,
    }
}

fn without_texts(value: &Value) -> Value {
    match value {
        Value::String(_) => TEXT.into(),
        Value::Array(_) => Value::Array(vec![TEXT.into()]),
        other => other.clone(),
    }
}
