//! DynamoDB and its streams: an engine over SQLite, served on an address of its own behind the front door.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use dynoxide::Database;
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};

use crate::clock::Clock;

/// How often items past their time to live are removed; DynamoDB itself takes up to two days.
const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// The engine asks for a stream's newest record with every write, and for what follows a record with every reading. It has no
/// index for that and looks through the whole stream, so that every write would make the next ones slower.
const STREAM_ORDER: &str = "CREATE INDEX IF NOT EXISTS undercroft_stream_order \
     ON _stream_records (table_name, CAST(sequence_number AS INTEGER))";

/// The tables' engine.
#[derive(Clone)]
pub struct Tables {
    database: Database,
}

impl Tables {
    /// Opens the tables kept at `path`, or none, in memory.
    ///
    /// # Errors
    /// When the file cannot be opened or is not such a database.
    pub fn open(path: Option<&Path>, clock: Clock) -> Result<Self, String> {
        let opened = match path {
            Some(path) => kept(path).map_err(|error| error.to_string())?,
            None => Database::memory_with_clock(Arc::new(clock)).map_err(|error| error.to_string())?,
        };
        Ok(Self { database: opened })
    }

    /// Serves DynamoDB's protocol on `listener` until `stop` is dropped or sent to.
    pub async fn serve(self, listener: TcpListener, stop: oneshot::Receiver<()>) {
        let stopped = async {
            let _ = stop.await;
        };
        // The listener is bound already; serving it only ends by `stop`.
        let _ = dynoxide::server::serve_with_shutdown(listener, self.database, stopped).await;
    }

    /// Removes items past their time to live; their removal is in the stream like any other. Returns how many.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn sweep(&self) -> Result<usize, String> {
        self.database.sweep_ttl().map_err(|error| error.to_string())
    }

    /// Sweeps now and then, for as long as it is polled, telling `writes` when it removed something.
    pub async fn keep_sweeping(&self, writes: &watch::Sender<u64>) {
        let mut ticks = tokio::time::interval(SWEEP_EVERY);
        loop {
            ticks.tick().await;
            if self.sweep().is_ok_and(|removed| removed > 0) {
                writes.send_modify(|count| *count += 1);
            }
        }
    }
}

/// The tables kept in a file.
fn kept(path: &Path) -> Result<Database, Box<dyn std::error::Error>> {
    let database = Database::new(&path.to_string_lossy())?;
    // The engine's name for not waiting for the disk with every write. What is in the write-ahead log survives the kill of this
    // process; only a power cut can cost the last moments.
    database.disable_bulk_loading()?;
    rusqlite::Connection::open(path)?.execute_batch(STREAM_ORDER)?;
    Ok(database)
}

impl std::fmt::Debug for Tables {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Tables")
    }
}

/// Whether an operation may put something into a stream.
pub fn writes(action: &str) -> bool {
    let changes = ["Put", "Update", "Delete", "BatchWrite", "TransactWrite", "Execute", "BatchExecute"];
    changes.iter().any(|prefix| action.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::Connection;

    /// How the engine finds the newest record of a stream, and those behind one: the statements of dynoxide 3.2's storage.rs.
    const NEWEST: &str =
        "SELECT COALESCE(MAX(CAST(sequence_number AS INTEGER)), 0) + 1 FROM _stream_records WHERE table_name = 't'";
    const BEHIND: &str = "SELECT event_name FROM _stream_records WHERE table_name = 't' AND shard_id = 's' \
         AND CAST(sequence_number AS INTEGER) > 7 ORDER BY CAST(sequence_number AS INTEGER) ASC LIMIT 9";

    #[test]
    fn a_write_and_a_reading_of_the_stream_go_straight_to_their_place_however_long_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tables.db");
        // Opened twice, as by yesterday's data.
        drop(Tables::open(Some(&path), Clock::default()).unwrap());
        let _tables = Tables::open(Some(&path), Clock::default()).unwrap();
        let connection = Connection::open(&path).unwrap();
        for statement in [NEWEST, BEHIND] {
            let mut plan = connection.prepare(&format!("EXPLAIN QUERY PLAN {statement}")).unwrap();
            let steps = plan.query_map([], |row| row.get::<_, String>(3)).unwrap();
            let steps: Vec<String> = steps.map(Result::unwrap).collect();
            assert_eq!(steps.len(), 1, "sorts, or reads more than once: {steps:?}");
            assert!(steps[0].contains("INDEX undercroft_stream_order (table_name=?"), "{steps:?}");
        }
    }
}
