//! How large a definition may be, and what may name a collection.

/// The largest definition, in bytes of JSON.
pub const MAX_DEFINITION_BYTES: usize = 64 * 1024;
/// The most fields of a collection.
pub const MAX_PROPERTIES: usize = 100;
/// The most indexes of a collection, which is how many generic indexes the store has.
pub const MAX_INDEXES: usize = 5;
/// The most `unique` constraints of a collection, and the most fields of one.
pub const MAX_UNIQUE: usize = 5;
/// The most shards of a collection; each takes about 1,000 writes a second.
pub const MAX_SHARDS: u8 = 64;

/// Whether it can name a collection or an index: `^[a-z][a-z0-9_]{0,62}$`.
pub fn is_collection_name(name: &str) -> bool {
    name.len() <= 63
        && name.starts_with(|char: char| char.is_ascii_lowercase())
        && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'))
}
