//! A record with its expanded records.

use super::parse::EXPANDED;
use super::resolve::Way;
use serde_json::{Map, Value};

/// The record with `expanded`, if anything was requested.
pub(super) fn with_expanded(
    mut shown: Map<String, Value>,
    ways: &[Way],
    expanded: Option<Map<String, Value>>,
) -> Value {
    if !ways.is_empty() {
        shown.insert(EXPANDED.to_owned(), Value::Object(expanded.unwrap_or_default()));
    }
    Value::Object(shown)
}
