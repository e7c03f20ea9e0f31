//! How large a record with hidden fields may be. Each hidden field has a share of the item for itself, and what is visible has
//! another. If all had one together, whoever fills their own part until there is no more room would learn how large the rest is.

use super::item::{self, Item};
use crate::error::{Error, Result};
use crate::schema::Collection;
use serde_json::{Map, Value};

/// The most bytes of the hidden fields of a record, an equal share each.
const MOST_HIDDEN_BYTES: usize = 24_000;
/// The most bytes of its visible fields. DynamoDB's 400 KB leave room beside both for index keys (15 KB) and for what patches add
/// that are written unread: one of at most [`MOST_UNREAD`](crate::schema::MOST_UNREAD) for each field.
const MOST_VISIBLE_BYTES: usize = 332_000;

/// Checks what a change makes of a record, which was `before`. A part that was too large before may stay, and shrink.
///
/// # Errors
/// `BadRequest` when a hidden field, or all visible ones together, grow larger than their share.
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
        "a record of this collection holds at most {MOST_VISIBLE_BYTES} bytes in its visible fields, and {share} bytes in each \
         hidden one"
    );
    Error::bad_request("item_too_large", detail)
}
