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
        let opened = match path.map(Path::to_string_lossy) {
            Some(path) => Database::new(&path),
            None => Database::memory_with_clock(Arc::new(clock)),
        };
        opened.map(|database| Self { database }).map_err(|error| error.to_string())
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
