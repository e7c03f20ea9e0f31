//! What a definition keeps while it comes into force: what it took away, and what stored records stand in the way of.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What was taken away, and when the last function ceases to allow it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Withdrawal {
    /// From then on nothing is accepted that the definition in force does not allow. Milliseconds since the Unix epoch.
    pub in_force_at: u64,
    /// The members of the definition before that are different now, as they were put.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub previous: Map<String, Value>,
}

/// What cannot come into force because stored records stand in its way. It waits until they fit, or until another definition is put.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Blocked {
    /// The schema that was to come.
    pub schema: bool,
    /// Names of indexes.
    pub indexes: Vec<String>,
    /// Unique constraints.
    pub unique: Vec<Vec<String>>,
}

impl Blocked {
    /// Whether anything is refused.
    pub fn is_any(&self) -> bool {
        self.schema || !self.indexes.is_empty() || !self.unique.is_empty()
    }
}
