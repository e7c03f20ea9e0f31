//! Why a merge patch needs the stored record. Any other patch is written without a read, in one round trip.

use super::collection::Collection;
use crate::response_size;
use serde_json::{Map, Value};
use std::fmt;

/// Maximum weight of a patch that is written without a read although the collection has hidden fields, in bytes: see
/// [`weight`](crate::response_size).
pub const MOST_UNREAD: usize = 250;

/// A reason to read a record before it is patched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadReason {
    /// The schema cannot validate each member separately.
    Together,
    /// Every write changes this index.
    Updated(String),
    /// This member is an object to be merged with the stored one.
    Merged(String),
    /// This field is in an index or a unique constraint.
    Keyed(String),
    /// This field refers to a record, which must exist.
    Related(String),
    /// This field is writeOnce.
    Once(String),
    /// The size of the visible fields must be checked separately from the hidden ones.
    Size,
    /// DynamoDB cannot check in a condition whether the result of this field's operator is valid.
    Checked(String),
    /// There are more operators than this.
    Many(usize),
    /// DynamoDB cannot evaluate the rule.
    Rule,
    /// The response is stored for an `Idempotency-Key`, so it must be known before the write.
    Kept,
}

impl fmt::Display for ReadReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Together => write!(
                f,
                "A keyword of the schema involves several fields or a reference outside `$defs`, so fields cannot be validated \
                 separately."
            ),
            Self::Updated(index) => {
                write!(f, "The index `{index}` is sorted by `updatedAt`, which every write changes.")
            }
            Self::Merged(field) => write!(f, "`{field}` is an object, which is merged with the stored one."),
            Self::Keyed(field) => write!(f, "`{field}` is in an index or a unique constraint."),
            Self::Related(field) => write!(f, "`{field}` refers to a record, which must exist."),
            Self::Once(field) => {
                write!(f, "`{field}` is writeOnce, so its stored value must be compared.")
            }
            Self::Size => {
                write!(
                    f,
                    "The collection has hidden fields, and a patch of more than {MOST_UNREAD} bytes needs a separate size check."
                )
            }
            Self::Checked(field) => write!(
                f,
                "A condition cannot tell whether the result of the operator on `{field}` is valid: DynamoDB removes elements by \
                 position only, and compares numbers, lengths and plain elements only."
            ),
            Self::Many(most) => write!(f, "A condition has room for the checks of {most} operators."),
            Self::Rule => write!(f, "The rule contains a test that DynamoDB cannot evaluate."),
            Self::Kept => write!(f, "The response is stored for the Idempotency-Key in the same transaction."),
        }
    }
}

impl Collection {
    /// The reasons in the definition against writing a merge patch without a read.
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

    /// Whether a merge patch can be validated separately: if it is valid, so is the resulting record.
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
        let indexed = self.definition().indexes.iter().any(|index| index.fields().any(|field| field == name));
        indexed || self.definition().unique.iter().flatten().any(|field| field == name)
    }
}
