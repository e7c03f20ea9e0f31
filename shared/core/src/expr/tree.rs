//! The checked expression: what parsing and checking leave, and what evaluation, folding and planning walk.

use serde_json::Value;

/// A checked expression, with every `!` pushed down to a single [`Test`].
///
/// Without negation above the tests, an unknown test can count as "no" wherever it stands and never turn into a "yes"
/// on the way up.
#[derive(Debug, Clone, PartialEq)]
pub enum Expr {
    /// Always.
    True,
    /// Never.
    False,
    /// All of these, and there are at least two.
    All(Vec<Expr>),
    /// At least one of these, and there are at least two.
    Any(Vec<Expr>),
    /// The test is known to hold.
    Is(Test),
    /// The test is known not to hold. Never a [`Test::Compare`]: its operator turns round instead.
    Not(Test),
}

/// One question an expression asks.
#[derive(Debug, Clone, PartialEq)]
pub enum Test {
    /// `left op right`; a constant, if there is one, stands on the right.
    Compare {
        /// What is compared.
        left: Operand,
        /// How.
        op: Op,
        /// With what.
        right: Operand,
    },
    /// `item in list`; the list is an array constant or a place that holds an array.
    In {
        /// The element looked for.
        item: Operand,
        /// Where it is looked for.
        list: Operand,
    },
    /// `text.startsWith(prefix)`.
    StartsWith {
        /// The longer text.
        text: Operand,
        /// What it should begin with.
        prefix: Operand,
    },
    /// `has(place)`: there is a value, `null` included.
    Has(Variable),
    /// `changed('field')`: the stored field and the incoming one differ, absence included.
    Changed(String),
    /// The client sent the field. What `changed` means of a field that is hidden from whoever sends it.
    Sent(String),
    /// The stored field is exactly this, or absent for `None`. What folding makes of [`Test::Changed`].
    Stored {
        /// The field of the stored record.
        field: String,
        /// What it must be.
        value: Option<Value>,
    },
}

/// One side of a test.
#[derive(Debug, Clone, PartialEq)]
pub enum Operand {
    /// A value written in the expression, or folded into it.
    Constant(Value),
    /// A value looked up when the expression is evaluated.
    Variable(Variable),
}

/// Where a value is looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Variable {
    /// `auth.x`: who is calling.
    Auth(AuthField),
    /// `record.x`, or a bare name in a filter: the stored record.
    Record(String),
    /// `input.x`: the record as it would be after the write.
    Input(String),
    /// `request.time`: when the request came in.
    Now,
}

/// What is known of the caller; nothing of it when nobody is signed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthField {
    /// The account.
    Id,
    /// The account's address.
    Email,
    /// The account's roles.
    Roles,
    /// Whether the address is verified.
    Verified,
}

/// How two values are compared.
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
    /// The operator that holds exactly where this one is known not to.
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

    /// The operator that says the same with its sides swapped.
    pub fn mirrored(self) -> Self {
        match self {
            Self::Lt => Self::Gt,
            Self::Gt => Self::Lt,
            Self::Le => Self::Ge,
            Self::Ge => Self::Le,
            same => same,
        }
    }

    /// The operator as it is written.
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

    /// Whether it asks for an order, which `null` and booleans do not have.
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

    /// Both of these.
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
                // Nothing is in an empty list; what is absent is not known to be outside it either.
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

    /// The parts that must all hold: the members of an [`Expr::All`], nothing for [`Expr::True`], else itself.
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

    /// Whether it asks for `request.time`.
    pub fn asks_the_time(&self) -> bool {
        self.tests().into_iter().flat_map(Test::operands).any(|operand| *operand == Operand::Variable(Variable::Now))
    }

    /// The fields of the stored record that it asks about.
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
    /// A comparison with its constant, if it has one, on the right.
    pub fn compare(left: Operand, op: Op, right: Operand) -> Self {
        match (&left, &right) {
            (Operand::Constant(_), Operand::Variable(_)) => {
                Self::Compare { left: right, op: op.mirrored(), right: left }
            }
            _ => Self::Compare { left, op, right },
        }
    }

    /// What the test looks at.
    pub fn operands(&self) -> Vec<&Operand> {
        match self {
            Self::Compare { left, right, .. } => vec![left, right],
            Self::In { item, list } => vec![item, list],
            Self::StartsWith { text, prefix } => vec![text, prefix],
            Self::Has(_) | Self::Changed(_) | Self::Sent(_) | Self::Stored { .. } => Vec::new(),
        }
    }

    /// The fields of the stored record that it looks at.
    pub fn record_fields(&self) -> Vec<&str> {
        match self {
            Self::Has(Variable::Record(field)) | Self::Changed(field) | Self::Stored { field, .. } => vec![field],
            _ => self.operands().into_iter().filter_map(Operand::record_field).collect(),
        }
    }

    /// Whether its answers for one value after another tell by halves what the other is: an order or a prefix.
    pub fn is_narrowing(&self) -> bool {
        match self {
            Self::Compare { op, .. } => op.is_order(),
            other => matches!(other, Self::StartsWith { .. }),
        }
    }

    /// Whether it holds one place against itself.
    pub fn is_of_one_place(&self) -> bool {
        matches!(self.operands().as_slice(), [left, right] if left == right)
    }
}
