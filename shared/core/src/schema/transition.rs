//! The state of a definition on its way into force: withdrawals, and what stored records block.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A withdrawal, and when the last function stops acting on the previous definition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Withdrawal {
    /// From then on, nothing is accepted that the new definition does not allow. Milliseconds since the Unix epoch.
    pub in_force_at: u64,
    /// The members of the previous definition that differ now, as they were put.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub previous: Map<String, Value>,
}

/// What cannot come into force because of stored records. It waits until they are valid, or until another definition is put.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Blocked {
    /// The waiting schema.
    pub schema: bool,
    /// Names of indexes.
    pub indexes: Vec<String>,
    /// Unique constraints.
    pub unique: Vec<Vec<String>>,
    /// Relation fields with ids that lead to no record.
    pub relations: Vec<String>,
}

impl Blocked {
    /// Whether anything is blocked.
    pub fn is_any(&self) -> bool {
        self.schema || !(self.indexes.is_empty() && self.unique.is_empty() && self.relations.is_empty())
    }
}
