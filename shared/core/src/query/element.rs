//! Indexes over the elements of an array: `members[]` in a partition stands for each element of `members`.
//!
//! A record has an entry for each distinct element, so that a list of the records whose array contains a value is one
//! partition, as it is for equality.

use serde_json::Value;

use crate::expr::{Expr, Op, Operand, Test, Variable};

/// Maximum number of elements of an array that an index lists, as its `maxItems` states.
pub const MAX_ELEMENTS: u64 = 50;
/// What follows an array's name in the partition of an index over its elements.
const EACH: &str = "[]";

/// The array in a partition field that stands for each of its elements.
pub fn element_of(field: &str) -> Option<&str> {
    field.strip_suffix(EACH)
}

/// The stored field that a partition field reads.
pub fn stored_field(field: &str) -> &str {
    element_of(field).unwrap_or(field)
}

/// The partition field that stands for each element of this array.
pub fn each_of(array: &str) -> String {
    format!("{array}{EACH}")
}

/// The array that a test requires to contain a value, as a partition field, and the value.
pub(super) fn membership(expr: &Expr) -> Option<(String, &Value)> {
    match expr {
        Expr::Is(Test::In { item, list }) => Some((each_of(list.record_field()?), item.constant()?)),
        _ => None,
    }
}

/// The test that a field equals a value, or that an array contains it.
pub(super) fn equals(field: &str, value: &Value) -> Expr {
    let place = Operand::Variable(Variable::Record(stored_field(field).to_owned()));
    let value = Operand::Constant(value.clone());
    match element_of(field) {
        Some(_) => Expr::Is(Test::In { item: value, list: place }),
        None => Expr::Is(Test::compare(place, Op::Eq, value)),
    }
}
