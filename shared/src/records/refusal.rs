//! The 422 response to a list that no index serves, naming the missing index. An explanation contains the same members.

use crate::error::{Error, Result};
use crate::query::Refusal;
use serde_json::{Map, Value, json};

/// The refusal of a list.
pub fn of_list(refusal: Refusal) -> Error {
    Error::Refused { code: refusal.code, advice: advice(refusal.add_index), detail: refusal.message }
}

/// The refusal of a back-relation, which is a list of the other collection.
pub fn of_expand(refusal: Refusal, column: usize, name: &str, other: &str) -> Error {
    let mut advice = advice(refusal.add_index);
    advice.insert("collection".into(), other.into());
    let detail = format!("expand, column {column}: `{name}` lists {other}. {}", refusal.message);
    Error::Refused { code: refusal.code, detail, advice }
}

fn advice(index: Option<Value>) -> Map<String, Value> {
    index.map(|index| ("addIndex".to_owned(), index)).into_iter().collect()
}

/// The members of a refusal's response. Any other error is returned as an error.
pub fn explained(error: Error) -> Result<Value> {
    let Error::Refused { code, detail, mut advice } = error else { return Err(error) };
    let said = [("status", json!(422)), ("code", code.into()), ("detail", detail.into())];
    advice.extend(said.map(|(name, value)| (name.to_owned(), value)));
    Ok(advice.into())
}
