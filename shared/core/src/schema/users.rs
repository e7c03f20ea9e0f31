//! The built-in collection of user profiles. Credentials are stored elsewhere.

use std::collections::BTreeMap;

use serde_json::json;

use crate::expr::Rule;

use super::definition::Definition;
use super::formats::Formats;

impl Definition {
    /// The profiles of users: each user reads and changes their own, and every signed-in caller may refer to any. Everything
    /// else is for admins.
    pub fn users() -> Self {
        let own = |rule| (rule, "record.id == auth.id".to_owned());
        Self {
            name: "users".to_owned(),
            schema: json!({
                "type": "object",
                "required": ["email"],
                "additionalProperties": false,
                "properties": {
                    "email": { "type": "string", "maxLength": 254, "readOnly": true },
                    "displayName": { "type": "string", "maxLength": 200 },
                },
            }),
            formats: Formats::default(),
            unique: Vec::new(),
            indexes: Vec::new(),
            rules: BTreeMap::from([own(Rule::Read), own(Rule::Update), (Rule::Refer, "auth.id != ''".to_owned())]),
            shards: 1,
            referrers: Vec::new(),
            counts: false,
            changes: false,
            dropped: Vec::new(),
            counted_since: None,
            followed_since: None,
            counting: false,
            generation: 1,
            version: 1,
            shard_history: Vec::new(),
            work: None,
            settled_by: None,
            withdrawal: None,
        }
    }
}
