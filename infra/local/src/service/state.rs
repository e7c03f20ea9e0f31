//! Where the local services keep what must survive: one SQLite file, written before anything is acknowledged.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior};

use super::fault::Fault;

/// What this cloud draws at random once and keeps.
const SECRETS: &str = "CREATE TABLE IF NOT EXISTS secrets (name TEXT PRIMARY KEY, value BLOB NOT NULL);";

/// The file (or memory, for tests) behind queues, mail, parameters and stream checkpoints.
#[derive(Debug)]
pub struct State {
    connection: Mutex<Connection>,
}

impl State {
    /// Opens the state kept at `path`, or an empty one in memory.
    ///
    /// # Errors
    /// When the file cannot be opened or is not such a state.
    pub fn open(path: Option<&Path>) -> rusqlite::Result<Self> {
        let connection = match path {
            Some(path) => Connection::open(path)?,
            None => Connection::open_in_memory()?,
        };
        // A write-ahead log survives the kill of this process; only a power cut can cost its last moments.
        connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;")?;
        connection.execute_batch(SECRETS)?;
        connection.execute_batch(super::queues::SCHEMA)?;
        connection.execute_batch(super::mail::SCHEMA)?;
        connection.execute_batch(super::parameters::SCHEMA)?;
        connection.execute_batch(crate::mapping::CHECKPOINT_SCHEMA)?;
        Ok(Self { connection: Mutex::new(connection) })
    }

    /// The secret of this name: drawn at random when it is first asked for, and the same from then on.
    ///
    /// # Errors
    /// When there is no randomness, or the state cannot be written.
    pub fn secret(&self, name: &str) -> Result<[u8; 32], Fault> {
        let mut drawn = [0; 32];
        getrandom::fill(&mut drawn).map_err(|error| Fault::internal(error.to_string()))?;
        self.transact(|db| {
            let kept = db.query_row("SELECT value FROM secrets WHERE name = ?1", [name], |row| row.get(0));
            if let Some(kept) = kept.optional()? {
                return Ok(kept);
            }
            db.execute("INSERT INTO secrets (name, value) VALUES (?1, ?2)", (name, drawn))?;
            Ok(drawn)
        })
    }

    /// Does `work` as one transaction: all of it is kept, or, where it fails, none.
    ///
    /// # Errors
    /// Those of `work`, and those of the file.
    pub fn transact<T, E: From<rusqlite::Error>>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let done = work(&transaction)?;
        transaction.commit()?;
        Ok(done)
    }
}
