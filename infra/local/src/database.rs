//! The database of the local services: one SQLite file, written before a request is acknowledged.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior};

use crate::aws_error::AwsError;

/// Random values that are generated once.
const SECRETS: &str = "CREATE TABLE IF NOT EXISTS secrets (name TEXT PRIMARY KEY, value BLOB NOT NULL);";

/// The file (or memory, for tests) that holds queues, mail, parameters and stream checkpoints.
#[derive(Debug)]
pub struct Database {
    connection: Mutex<Connection>,
}

impl Database {
    /// Opens the database at `path`, or an empty one in memory, and creates these tables if they are missing.
    ///
    /// # Errors
    /// The file cannot be opened or is not a database.
    pub fn open(path: Option<&Path>, schemas: &[&str]) -> rusqlite::Result<Self> {
        let connection = match path {
            Some(path) => Connection::open(path)?,
            None => Connection::open_in_memory()?,
        };
        // The write-ahead log survives when this process is killed; a power failure can lose the last transactions.
        connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;")?;
        connection.execute_batch(SECRETS)?;
        schemas.iter().try_for_each(|schema| connection.execute_batch(schema))?;
        Ok(Self { connection: Mutex::new(connection) })
    }

    /// The secret with this name. It is generated when it is first requested.
    ///
    /// # Errors
    /// The system has no randomness, or the database cannot be written.
    pub fn secret(&self, name: &str) -> Result<[u8; 32], AwsError> {
        let mut generated = [0; 32];
        getrandom::fill(&mut generated).map_err(|error| AwsError::internal(error.to_string()))?;
        self.transact(|db| {
            let stored = db.query_row("SELECT value FROM secrets WHERE name = ?1", [name], |row| row.get(0));
            if let Some(stored) = stored.optional()? {
                return Ok(stored);
            }
            db.execute("INSERT INTO secrets (name, value) VALUES (?1, ?2)", (name, generated))?;
            Ok(generated)
        })
    }

    /// Runs `work` in one transaction, which is rolled back when `work` fails.
    ///
    /// # Errors
    /// Those of `work` and of the database.
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
