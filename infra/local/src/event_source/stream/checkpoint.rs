//! Checkpoints: the position of each shard, stored in the database so that it survives a restart.

use std::sync::Arc;

use rusqlite::OptionalExtension;

use crate::database::Database;
use crate::http_client::CallError;

/// Table of the checkpoints. The row with an empty shard says that the event source's starting position is set.
pub const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS checkpoints (
        mapping TEXT NOT NULL, shard TEXT NOT NULL, sequence TEXT, finished INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (mapping, shard));
";

/// The checkpoints of one event source.
#[derive(Debug, Clone)]
pub struct Checkpoints {
    database: Arc<Database>,
    /// `Function/Event` and the stream's ARN.
    source: String,
}

/// The position of a shard.
#[derive(Debug, Clone, Default)]
pub struct Position {
    /// Sequence number of the last record that is done; `None` at the start of the shard.
    pub sequence: Option<String>,
    /// Whether all records of the shard are done and the shard is closed.
    pub finished: bool,
}

impl Checkpoints {
    /// The checkpoints of the event source `source` on this stream. A recreated stream has a new ARN, and so no checkpoints.
    pub fn new(database: Arc<Database>, source: &str, stream: &str) -> Self {
        Self { database, source: format!("{source} {stream}") }
    }

    /// The position of a shard.
    pub fn position(&self, shard: &str) -> Result<Position, CallError> {
        let sql = "SELECT sequence, finished FROM checkpoints WHERE mapping = ?1 AND shard = ?2";
        let found = self.database.transact(|db| -> rusqlite::Result<_> {
            db.query_row(sql, (&self.source, shard), |row| {
                Ok(Position { sequence: row.get(0)?, finished: row.get(1)? })
            })
            .optional()
        });
        found.map(Option::unwrap_or_default).map_err(failed)
    }

    /// Moves a shard's checkpoint.
    pub fn advance(&self, shard: &str, sequence: &str) -> Result<(), CallError> {
        self.write(
            "INSERT INTO checkpoints (mapping, shard, sequence) VALUES (?1, ?2, ?3)
             ON CONFLICT (mapping, shard) DO UPDATE SET sequence = excluded.sequence",
            shard,
            sequence,
        )
    }

    /// Marks a shard as finished.
    pub fn finish(&self, shard: &str) -> Result<(), CallError> {
        self.write(
            "INSERT INTO checkpoints (mapping, shard, sequence, finished) VALUES (?1, ?2, nullif(?3, ''), 1)
             ON CONFLICT (mapping, shard) DO UPDATE SET finished = 1",
            shard,
            "",
        )
    }

    /// Whether the event source's starting position is set.
    pub fn is_prepared(&self) -> Result<bool, CallError> {
        Ok(self.position("")?.finished)
    }

    /// Records that the event source's starting position is set.
    pub fn mark_prepared(&self) -> Result<(), CallError> {
        self.finish("")
    }

    fn write(&self, sql: &str, shard: &str, sequence: &str) -> Result<(), CallError> {
        let written = self.database.transact(|db| db.execute(sql, (&self.source, shard, sequence)));
        written.map(drop).map_err(failed)
    }
}

fn failed(error: rusqlite::Error) -> CallError {
    CallError::Unreachable(format!("cannot read or write the checkpoints of event sources: {error}"))
}
