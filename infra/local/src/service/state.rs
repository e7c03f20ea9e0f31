//! Where the local services keep what must survive: one SQLite file, written before anything is acknowledged.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use rusqlite::{Connection, TransactionBehavior};

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
        connection.execute_batch(super::queues::SCHEMA)?;
        connection.execute_batch(super::mail::SCHEMA)?;
        connection.execute_batch(super::parameters::SCHEMA)?;
        connection.execute_batch(crate::mapping::CHECKPOINT_SCHEMA)?;
        Ok(Self { connection: Mutex::new(connection) })
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
