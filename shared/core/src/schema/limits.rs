//! The maximum sizes of a definition, and the syntax of collection names.

/// Maximum size of a definition, in bytes of JSON.
pub const MAX_DEFINITION_BYTES: usize = 64 * 1024;
/// Maximum number of fields of a collection.
pub const MAX_PROPERTIES: usize = 100;
/// Maximum number of items that a write of a record may write in all indexes over elements of a collection: they are written
/// with the record, and a transaction takes 100 items.
pub const MAX_ENTRY_ITEMS: u64 = 90;
/// Maximum number of `unique` constraints of a collection, and of fields in one.
pub const MAX_UNIQUE: usize = 5;
/// Maximum number of shards of a collection. Each handles about 1,000 writes a second.
pub const MAX_SHARDS: u8 = 64;

/// Whether this can be the name of a collection or an index: `^[a-z][a-z0-9_]{0,62}$`.
pub fn is_collection_name(name: &str) -> bool {
    name.len() <= 63
        && name.starts_with(|char: char| char.is_ascii_lowercase())
        && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'))
}
