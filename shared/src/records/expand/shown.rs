//! A record with what was expanded of it.

use super::parse::EXPANDED;
use super::resolve::Way;
use serde_json::{Map, Value};

/// The record with `expanded`, if anything was asked for.
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
