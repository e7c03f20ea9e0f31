//! Says what a collection may hold: its definition as stored, and the same compiled for use.
//!
//! [`Definition::parse`] is the border: it checks everything an admin may get wrong and reports all of it at once. What
//! passed is compiled into a [`Collection`], which validates records, names their index keys and holds the typed rules.

mod body;
mod collection;
mod definition;
mod field;
mod index;
mod keywords;
mod rules;
mod told;
mod users;
mod validate;

pub use collection::Collection;
pub use definition::{
    Definition, MAX_DEFINITION_BYTES, MAX_INDEXES, MAX_PROPERTIES, MAX_SHARDS, MAX_UNIQUE, is_collection_name,
};
pub use field::{Field, OnDelete, Relation};
pub use rules::unserved;
pub use told::refer;

#[cfg(test)]
mod tests;
