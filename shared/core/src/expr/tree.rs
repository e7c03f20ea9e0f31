//! The checked expression: the output of parsing and checking, and the input of evaluation, folding and planning.

use serde_json::Value;

/// A checked expression, with every `!` pushed down to a single [`Test`].
///
/// Because negation occurs only in tests, an unknown test can count as "no" everywhere and never turns into a "yes" further
/// up.
#[derive(Debug, Clone, PartialEq)]
pub enum Expr {
    /// Always.
    True,
    /// Never.
    False,
    /// All of these, at least two.
    All(Vec<Expr>),
    /// At least one of these, at least two.
    Any(Vec<Expr>),
    /// The test is known to hold.
    Is(Test),
    /// The test is known not to hold. Never a [`Test::Compare`], whose operator is inverted instead.
    Not(Test),
}

/// A single test of an expression.
#[derive(Debug, Clone, PartialEq)]
pub enum Test {
    /// `left op right`. A constant, if there is one, is on the right.
    Compare {
        /// The left side.
        left: Operand,
        /// The operator.
        op: Op,
        /// The right side.
        right: Operand,
    },
    /// `item in list`. The list is an array constant or a place that holds an array.
    In {
        /// The element.
        item: Operand,
        /// The list.
        list: Operand,
    },
    /// `text.startsWith(prefix)`.
    StartsWith {
        /// The text.
        text: Operand,
        /// The prefix.
        prefix: Operand,
    },
    /// `has(place)`: the place has a value, which may be `null`.
    Has(Variable),
    /// `changed('field')`: the stored field and the incoming one differ, including absence.
    Changed(String),
    /// The client sent the field: the meaning of `changed` for a field that is hidden from that client.
    Sent(String),
    /// The stored field equals this value, or is absent for `None`: the result of folding [`Test::Changed`].
    Stored {
        /// The field of the stored record.
        field: String,
        /// The value.
        value: Option<Value>,
    },
}

/// One side of a test.
#[derive(Debug, Clone, PartialEq)]
pub enum Operand {
    /// A constant, written in the expression or folded into it.
    Constant(Value),
    /// A place, looked up during evaluation.
    Variable(Variable),
}

/// A place that holds a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Variable {
    /// `auth.x`: the caller.
    Auth(AuthField),
    /// `record.x`, or a name without prefix in a filter: the stored record.
    Record(String),
    /// `input.x`: the record after the write.
    Input(String),
    /// `request.time`: the time of the request.
    Now,
}

/// A field of the caller. An anonymous caller has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthField {
    /// The account's id.
    Id,
    /// The account's address.
    Email,
    /// The account's roles.
    Roles,
    /// Whether the address is verified.
    Verified,
}

/// A comparison operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// `==`
    Eq,
    /// `!=`
    Ne,
    /// `<`
    Lt,
    /// `<=`
    Le,
    /// `>`
    Gt,
    /// `>=`
    Ge,
}

impl Op {
    /// The operator that is known to hold exactly when this one is known not to.
    pub fn negated(self) -> Self {
        match self {
            Self::Eq => Self::Ne,
            Self::Ne => Self::Eq,
            Self::Lt => Self::Ge,
            Self::Ge => Self::Lt,
            Self::Gt => Self::Le,
            Self::Le => Self::Gt,
        }
    }

    /// The equivalent operator for swapped sides.
    pub fn mirrored(self) -> Self {
        match self {
            Self::Lt => Self::Gt,
            Self::Gt => Self::Lt,
            Self::Le => Self::Ge,
            Self::Ge => Self::Le,
            same => same,
        }
    }

    /// The operator's symbol.
    pub fn sign(self) -> &'static str {
        match self {
            Self::Eq => "==",
            Self::Ne => "!=",
            Self::Lt => "<",
            Self::Le => "<=",
            Self::Gt => ">",
            Self::Ge => ">=",
        }
    }

    /// Whether it compares by order, which `null` and booleans do not have.
    pub fn is_order(self) -> bool {
        !matches!(self, Self::Eq | Self::Ne)
    }
}

impl Expr {
    /// True or false, as an expression.
    pub fn constant(holds: bool) -> Self {
        if holds { Self::True } else { Self::False }
    }

    /// All of `parts`, simplified.
    pub fn all(parts: impl IntoIterator<Item = Expr>) -> Self {
        let mut kept = Vec::new();
        for part in parts {
            match part {
                Self::True => {}
                Self::False => return Self::False,
                Self::All(inner) => inner.into_iter().for_each(|part| push_new(&mut kept, part)),
                other => push_new(&mut kept, other),
            }
        }
        if kept.len() > 1 { Self::All(kept) } else { kept.pop().unwrap_or(Self::True) }
    }

    /// Any of `parts`, simplified.
    pub fn any(parts: impl IntoIterator<Item = Expr>) -> Self {
        let mut kept = Vec::new();
        for part in parts {
            match part {
                Self::False => {}
                Self::True => return Self::True,
                Self::Any(inner) => inner.into_iter().for_each(|part| push_new(&mut kept, part)),
                other => push_new(&mut kept, other),
            }
        }
        if kept.len() > 1 { Self::Any(kept) } else { kept.pop().unwrap_or(Self::False) }
    }

    /// Both expressions.
    #[must_use]
    pub fn and(self, other: Expr) -> Self {
        Self::all([self, other])
    }

    /// The test, or its negation when `positive` is false.
    pub fn test(test: Test, positive: bool) -> Self {
        match (test, positive) {
            (Test::Compare { left, op, right }, false) => Self::Is(Test::compare(left, op.negated(), right)),
            (Test::Compare { left, op, right }, true) => Self::Is(Test::compare(left, op, right)),
            (Test::In { item, list: Operand::Constant(Value::Array(list)) }, positive) if list.is_empty() => {
                // No item is in an empty list; a missing item is not known to be outside it either.
                let present = item.record_field().map(|field| Test::Has(Variable::Record(field.to_owned())));
                match (positive, present) {
                    (false, Some(present)) => Self::Is(present),
                    (false, None) => Self::Not(Test::In { item, list: Operand::Constant(Value::Array(list)) }),
                    (true, _) => Self::False,
                }
            }
            (test, true) => Self::Is(test),
            (test, false) => Self::Not(test),
        }
    }

    /// The conjuncts: the members of an [`Expr::All`], none for [`Expr::True`], else the expression itself.
    pub fn conjuncts(&self) -> &[Expr] {
        match self {
            Self::All(parts) => parts,
            Self::True => &[],
            other => std::slice::from_ref(other),
        }
    }

    /// Whether this is [`Expr::True`].
    pub fn is_true(&self) -> bool {
        *self == Self::True
    }

    /// Every test in the expression, from left to right.
    pub fn tests(&self) -> Vec<&Test> {
        match self {
            Self::True | Self::False => Vec::new(),
            Self::All(parts) | Self::Any(parts) => parts.iter().flat_map(Expr::tests).collect(),
            Self::Is(test) | Self::Not(test) => vec![test],
        }
    }

    /// Whether it depends on `request.time`.
    pub fn asks_the_time(&self) -> bool {
        self.tests().into_iter().flat_map(Test::operands).any(|operand| *operand == Operand::Variable(Variable::Now))
    }

    /// The stored fields that it depends on.
    pub fn record_fields(&self) -> Vec<&str> {
        self.tests().into_iter().flat_map(Test::record_fields).collect()
    }
}

fn push_new(kept: &mut Vec<Expr>, part: Expr) {
    if !kept.contains(&part) {
        kept.push(part);
    }
}

impl Test {
    /// A comparison with its constant, if any, on the right.
    pub fn compare(left: Operand, op: Op, right: Operand) -> Self {
        match (&left, &right) {
            (Operand::Constant(_), Operand::Variable(_)) => {
                Self::Compare { left: right, op: op.mirrored(), right: left }
            }
            _ => Self::Compare { left, op, right },
        }
    }

    /// The operands of the test.
    pub fn operands(&self) -> Vec<&Operand> {
        match self {
            Self::Compare { left, right, .. } => vec![left, right],
            Self::In { item, list } => vec![item, list],
            Self::StartsWith { text, prefix } => vec![text, prefix],
            Self::Has(_) | Self::Changed(_) | Self::Sent(_) | Self::Stored { .. } => Vec::new(),
        }
    }

    /// The stored fields among them.
    pub fn record_fields(&self) -> Vec<&str> {
        match self {
            Self::Has(Variable::Record(field)) | Self::Changed(field) | Self::Stored { field, .. } => vec![field],
            _ => self.operands().into_iter().filter_map(Operand::record_field).collect(),
        }
    }

    /// Whether repeated results narrow down the other value: an order or a prefix test.
    pub fn is_narrowing(&self) -> bool {
        match self {
            Self::Compare { op, .. } => op.is_order(),
            other => matches!(other, Self::StartsWith { .. }),
        }
    }

    /// Whether it compares a place with itself.
    pub fn is_of_one_place(&self) -> bool {
        matches!(self.operands().as_slice(), [left, right] if left == right)
    }
}
