//! Writes an expression as text, for messages and plans. A record's fields have no prefix, as in a filter.

use std::fmt::{Display, Formatter, Result};

use super::tree::{AuthField, Expr, Operand, Test, Variable};

impl Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::True => f.write_str("true"),
            Self::False => f.write_str("false"),
            Self::All(parts) => joined(f, parts, " && "),
            Self::Any(parts) => joined(f, parts, " || "),
            Self::Is(test) => write!(f, "{test}"),
            Self::Not(test @ Test::In { .. }) => write!(f, "!({test})"),
            Self::Not(test) => write!(f, "!{test}"),
        }
    }
}

fn joined(f: &mut Formatter<'_>, parts: &[Expr], between: &str) -> Result {
    for (position, part) in parts.iter().enumerate() {
        if position > 0 {
            f.write_str(between)?;
        }
        match part {
            Expr::Any(_) | Expr::All(_) => write!(f, "({part})")?,
            _ => write!(f, "{part}")?,
        }
    }
    Ok(())
}

impl Display for Test {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Compare { left, op, right } => write!(f, "{left} {} {right}", op.sign()),
            Self::In { item, list } => write!(f, "{item} in {list}"),
            Self::StartsWith { text, prefix } => write!(f, "{text}.startsWith({prefix})"),
            Self::Has(place) => write!(f, "has({place})"),
            Self::Changed(field) | Self::Sent(field) => write!(f, "changed('{field}')"),
            Self::Stored { field, value: Some(value) } => write!(f, "({field} is {value})"),
            Self::Stored { field, value: None } => write!(f, "({field} is absent)"),
        }
    }
}

impl Display for Operand {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Constant(value) => write!(f, "{value}"),
            Self::Variable(place) => write!(f, "{place}"),
        }
    }
}

impl Display for Variable {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Auth(AuthField::Id) => f.write_str("auth.id"),
            Self::Auth(AuthField::Email) => f.write_str("auth.email"),
            Self::Auth(AuthField::Roles) => f.write_str("auth.roles"),
            Self::Auth(AuthField::Verified) => f.write_str("auth.verified"),
            Self::Record(field) => f.write_str(field),
            Self::Input(field) => write!(f, "input.{field}"),
            Self::Now => f.write_str("request.time"),
        }
    }
}
