//! Size limits of a record with hidden fields. Each hidden field has its own share of the item, and the visible fields have
//! another. With one common limit, a caller could fill the visible fields until they no longer fit and so learn the size of
//! the hidden ones.

use super::item::{self, Item};
use crate::error::{Error, Result};
use crate::schema::Collection;
use serde_json::{Map, Value};

/// Maximum total size of a record's hidden fields, in bytes, divided equally among them.
const MOST_HIDDEN_BYTES: usize = 24_000;
/// Maximum total size of its visible fields, in bytes. The rest of DynamoDB's 400 KB is for index keys (15 KB) and for
/// patches written without a read: one of at most [`MOST_UNREAD`](crate::schema::MOST_UNREAD) bytes for each field.
const MOST_VISIBLE_BYTES: usize = 332_000;

/// Checks the sizes after a change to a record that was `before`. A part that already exceeded its limit may stay or shrink.
///
/// # Errors
/// `BadRequest` when a hidden field, or all visible fields together, grow beyond their limit.
pub(super) fn check(
    collection: &Collection,
    before: Option<&Map<String, Value>>,
    data: &Map<String, Value>,
) -> Result<()> {
    let hidden: Vec<&str> = collection.hidden_fields().collect();
    if hidden.is_empty() {
        return Ok(());
    }
    let size = |name: &str, value: &Value| item::size(&Item::from([(name.to_owned(), item::from_json(value))]));
    let of_field = |data: &Map<String, Value>, name: &str| data.get(name).map_or(0, |value| size(name, value));
    let of_visible = |data: &Map<String, Value>| -> usize {
        data.iter().filter(|(name, _)| !hidden.contains(&name.as_str())).map(|(name, value)| size(name, value)).sum()
    };
    let grows = |size: &dyn Fn(&Map<String, Value>) -> usize, most: usize| {
        let now = size(data);
        now > most && before.is_none_or(|before| now > size(before))
    };
    let share = MOST_HIDDEN_BYTES / hidden.len();
    let is_too_large =
        grows(&of_visible, MOST_VISIBLE_BYTES) || hidden.iter().any(|name| grows(&|data| of_field(data, name), share));
    if is_too_large { Err(too_large(share)) } else { Ok(()) }
}

fn too_large(share: usize) -> Error {
    let detail = format!(
        "A record of this collection holds at most {MOST_VISIBLE_BYTES} bytes in its visible fields and {share} bytes in each \
         hidden field; store less in it."
    );
    Error::bad_request("item_too_large", detail)
}
