//! Why a merge patch needs the stored record: everything else is written unread, in one round trip.

use super::collection::Collection;
use crate::response_size;
use serde_json::{Map, Value};
use std::fmt;

/// The most that a patch weighs which is written unread although there are hidden fields, in bytes: see
/// [`weight`](crate::response_size).
pub const MOST_UNREAD: usize = 250;

/// A reason to read a record before it is patched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadReason {
    /// The schema does not judge each member by itself.
    Together,
    /// This index moves with every write.
    Updated(String),
    /// This member is an object, to be merged with what is stored.
    Merged(String),
    /// An index or a unique constraint is made of this field.
    Keyed(String),
    /// This field points at a record that has to be there.
    Related(String),
    /// This field is written once.
    Once(String),
    /// Its size has to be weighed apart from that of hidden fields.
    Size,
    /// DynamoDB cannot be asked for what the rule asks.
    Rule,
    /// The answer is kept for an `Idempotency-Key`, and has to be known for that.
    Kept,
}

impl fmt::Display for ReadReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Together => write!(
                f,
                "the schema cannot be held one field at a time: a keyword of it looks at several, or refers to more than `$defs`"
            ),
            Self::Updated(index) => {
                write!(f, "the index `{index}` is sorted by `updatedAt`, which every write changes")
            }
            Self::Merged(field) => write!(f, "`{field}` is an object, which is merged with what is stored"),
            Self::Keyed(field) => write!(f, "an index or a unique constraint is made of `{field}`"),
            Self::Related(field) => write!(f, "`{field}` points at a record that has to be there"),
            Self::Once(field) => {
                write!(f, "`{field}` is written once: only what is stored can tell whether this changes it")
            }
            Self::Size => {
                write!(
                    f,
                    "the collection has hidden fields, and more than {MOST_UNREAD} bytes are weighed apart from them"
                )
            }
            Self::Rule => write!(f, "the rule asks for what no condition of DynamoDB can"),
            Self::Kept => write!(f, "the answer is kept for the Idempotency-Key, in one transaction with the change"),
        }
    }
}

impl Collection {
    /// What the definition has against writing a merge patch unread.
    pub fn read_reasons<'a>(&'a self, patch: &'a Map<String, Value>) -> impl Iterator<Item = ReadReason> + 'a {
        let indexes = self.definition().indexes.iter();
        let by_update = indexes.filter(|index| index.sort.iter().any(|by| by.field == "updatedAt"));
        let of_all = (!self.is_memberwise()).then_some(ReadReason::Together).into_iter();
        let is_large = || response_size::of_members(patch.iter()) > MOST_UNREAD;
        let by_size = (self.hidden_fields().next().is_some() && is_large()).then_some(ReadReason::Size);
        of_all
            .chain(by_size)
            .chain(by_update.map(|index| ReadReason::Updated(index.name.clone())))
            .chain(self.reasons_of_each(patch))
    }

    /// Whether a merge patch can be judged by itself: the record that comes of it is valid when the patch is.
    pub fn judges_each(&self, patch: &Map<String, Value>) -> bool {
        self.is_memberwise() && !patch.values().any(Value::is_object)
    }

    fn reasons_of_each<'a>(&'a self, patch: &'a Map<String, Value>) -> impl Iterator<Item = ReadReason> + 'a {
        patch.iter().flat_map(|(name, value)| {
            let merged = value.is_object().then(|| ReadReason::Merged(name.clone()));
            let keyed = self.is_keyed(name).then(|| ReadReason::Keyed(name.clone()));
            let once = self.write_once(name).then(|| ReadReason::Once(name.clone()));
            merged.into_iter().chain(keyed).chain(once)
        })
    }

    fn is_keyed(&self, name: &str) -> bool {
        let indexed = self.definition().indexes.iter().any(|index| {
            index.partition.iter().any(|field| field == name) || index.sort.iter().any(|by| by.field == name)
        });
        indexed || self.definition().unique.iter().flatten().any(|field| field == name)
    }
}
