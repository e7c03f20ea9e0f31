//! Pages of lists, with their cursors.

use super::operations::Operations;
use crate::error::Result;
use serde_json::{Map, Value};

/// A page, with the cursor of the next one.
pub(super) async fn page(
    operations: &Operations,
    purpose: &str,
    items: Vec<Value>,
    next: Option<&[u8]>,
) -> Result<Map<String, Value>> {
    let mut page = Map::from_iter([("items".to_owned(), Value::Array(items))]);
    if let Some(next) = next {
        page.insert("nextCursor".into(), operations.cursors.make(purpose, next).await?.into());
    }
    Ok(page)
}

impl Operations {
    /// The position in a cursor, if the request has one.
    ///
    /// # Errors
    /// `BadRequest` for a cursor of another list.
    pub(super) async fn position(&self, purpose: &str, cursor: Option<&str>) -> Result<Option<Vec<u8>>> {
        match cursor {
            None => Ok(None),
            Some(cursor) => self.cursors.open(purpose, cursor).await.map(Some),
        }
    }
}
