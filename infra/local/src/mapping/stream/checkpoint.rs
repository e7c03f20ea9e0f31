//! How far each shard is done, kept where a restart finds it.

use std::sync::Arc;

use rusqlite::OptionalExtension;

use crate::client::CallError;
use crate::service::state::State;

/// Table of the checkpoints. The row with an empty shard says that the mapping has been started before.
pub const CHECKPOINT_SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS checkpoints (
        mapping TEXT NOT NULL, shard TEXT NOT NULL, sequence TEXT, finished INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (mapping, shard));
";

/// The checkpoints of one mapping.
#[derive(Debug, Clone)]
pub struct Checkpoints {
    state: Arc<State>,
    mapping: String,
}

/// How far a shard is done.
#[derive(Debug, Clone, Default)]
pub struct Progress {
    /// The last record done with everything before it; `None` at the shard's beginning.
    pub sequence: Option<String>,
    /// The shard has come to its end.
    pub finished: bool,
}

impl Checkpoints {
    /// The checkpoints kept in `state` for this mapping of this stream. A stream made anew has a new ARN, and no progress.
    pub fn new(state: Arc<State>, mapping: &str, stream: &str) -> Self {
        Self { state, mapping: format!("{mapping} {stream}") }
    }

    pub fn of(&self, shard: &str) -> Result<Progress, CallError> {
        let sql = "SELECT sequence, finished FROM checkpoints WHERE mapping = ?1 AND shard = ?2";
        let found = self.state.transact(|db| -> rusqlite::Result<_> {
            db.query_row(sql, (&self.mapping, shard), |row| {
                Ok(Progress { sequence: row.get(0)?, finished: row.get(1)? })
            })
            .optional()
        });
        found.map(Option::unwrap_or_default).map_err(lost)
    }

    pub fn advance(&self, shard: &str, sequence: &str) -> Result<(), CallError> {
        self.write(
            "INSERT INTO checkpoints (mapping, shard, sequence) VALUES (?1, ?2, ?3)
             ON CONFLICT (mapping, shard) DO UPDATE SET sequence = excluded.sequence",
            shard,
            sequence,
        )
    }

    pub fn finish(&self, shard: &str) -> Result<(), CallError> {
        self.write(
            "INSERT INTO checkpoints (mapping, shard, sequence, finished) VALUES (?1, ?2, nullif(?3, ''), 1)
             ON CONFLICT (mapping, shard) DO UPDATE SET finished = 1",
            shard,
            "",
        )
    }

    pub fn is_prepared(&self) -> Result<bool, CallError> {
        Ok(self.of("")?.finished)
    }

    pub fn mark_prepared(&self) -> Result<(), CallError> {
        self.finish("")
    }

    fn write(&self, sql: &str, shard: &str, sequence: &str) -> Result<(), CallError> {
        let written = self.state.transact(|db| db.execute(sql, (&self.mapping, shard, sequence)));
        written.map(drop).map_err(lost)
    }
}

fn lost(error: rusqlite::Error) -> CallError {
    CallError::Unreachable(format!("the checkpoints: {error}"))
}
