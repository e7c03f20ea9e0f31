//! Stores objects in one SQLite file (or memory, for tests): their metadata, and their bytes in blobs of several pieces. The
//! pieces are written first and the object's row last, so that an object is never visible in part.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use rusqlite::{Connection, OptionalExtension as _, Row};
use serde::Serialize;

use crate::aws_error::AwsError;

/// Size of every piece but a blob's last, in bytes.
pub const PIECE: usize = 1024 * 1024;
/// How long an unreferenced blob is kept for requests that still read or write it: a day, in milliseconds.
const KEPT_FOR: u64 = 86_400_000;

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS objects (
        bucket TEXT NOT NULL, key TEXT NOT NULL, etag TEXT NOT NULL, size INTEGER NOT NULL, kind TEXT NOT NULL,
        disposition TEXT, modified INTEGER NOT NULL, blobs TEXT NOT NULL, PRIMARY KEY (bucket, key));
    CREATE TABLE IF NOT EXISTS uploads (
        id TEXT PRIMARY KEY, bucket TEXT NOT NULL, key TEXT NOT NULL, kind TEXT NOT NULL, disposition TEXT, started INTEGER NOT NULL);
    CREATE TABLE IF NOT EXISTS parts (
        upload TEXT NOT NULL, number INTEGER NOT NULL, etag TEXT NOT NULL, size INTEGER NOT NULL, blob INTEGER NOT NULL,
        PRIMARY KEY (upload, number));
    CREATE TABLE IF NOT EXISTS blobs (id INTEGER PRIMARY KEY AUTOINCREMENT, loose INTEGER);
    CREATE TABLE IF NOT EXISTS pieces (
        blob INTEGER NOT NULL, position INTEGER NOT NULL, bytes BLOB NOT NULL, PRIMARY KEY (blob, position));
";

/// The object store.
#[derive(Debug)]
pub struct Store {
    connection: std::sync::Arc<Mutex<Connection>>,
}

/// Metadata of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// ETag without quotes.
    pub etag: String,
    /// Size in bytes.
    pub size: u64,
    /// Content type.
    pub kind: String,
    /// Content disposition, if any.
    pub disposition: Option<String>,
    /// When it was written, in milliseconds since the Unix epoch.
    pub modified: u64,
    /// Ids and sizes of its blobs, in order.
    pub blobs: Vec<(i64, u64)>,
}

/// An object in a listing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// The bucket.
    pub bucket: String,
    /// The key.
    pub key: String,
    /// ETag without quotes.
    pub etag: String,
    /// Size in bytes.
    pub size: u64,
    /// When it was written, in milliseconds since the Unix epoch.
    pub modified: u64,
}

impl Store {
    /// Opens the file at `path`, or an empty store in memory.
    pub fn open(path: Option<&Path>, now: u64) -> Result<Self, AwsError> {
        let connection = match path {
            Some(path) => Connection::open(path)?,
            None => Connection::open_in_memory()?,
        };
        connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;")?;
        connection.execute_batch(SCHEMA)?;
        let store = Self { connection: std::sync::Arc::new(Mutex::new(connection)) };
        store.sweep(now)?;
        Ok(store)
    }

    /// A handle for a response body that is streamed after the request was handled.
    pub fn share(&self) -> Self {
        Self { connection: std::sync::Arc::clone(&self.connection) }
    }

    /// Runs `work` in one transaction, which is rolled back when `work` fails.
    pub fn transact<T>(&self, work: impl FnOnce(&Connection) -> Result<T, AwsError>) -> Result<T, AwsError> {
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let transaction = connection.transaction()?;
        let done = work(&transaction)?;
        transaction.commit()?;
        Ok(done)
    }

    /// The object with this key.
    pub fn find(&self, bucket: &str, key: &str) -> Result<Option<Object>, AwsError> {
        self.transact(|db| find(db, bucket, key))
    }

    /// Creates an empty blob. It is unreferenced until an object or a part uses it.
    pub fn new_blob(&self, now: u64) -> Result<i64, AwsError> {
        self.transact(|db| {
            db.execute("INSERT INTO blobs (loose) VALUES (?1)", [now])?;
            Ok(db.last_insert_rowid())
        })
    }

    /// Adds a piece to a blob.
    pub fn add_piece(&self, blob: i64, position: usize, bytes: &[u8]) -> Result<(), AwsError> {
        self.transact(|db| {
            let mut insert = db.prepare_cached("INSERT INTO pieces (blob, position, bytes) VALUES (?1, ?2, ?3)")?;
            insert.execute((blob, position, bytes))?;
            Ok(())
        })
    }

    /// A piece of a blob; `None` if it does not exist.
    pub fn piece(&self, blob: i64, position: u64) -> Result<Option<Vec<u8>>, AwsError> {
        self.transact(|db| {
            let mut select = db.prepare_cached("SELECT bytes FROM pieces WHERE blob = ?1 AND position = ?2")?;
            Ok(select.query_row((blob, position), |row| row.get(0)).optional()?)
        })
    }

    /// The newest objects of all buckets.
    pub fn newest(&self, limit: usize) -> Result<Vec<Summary>, AwsError> {
        self.transact(|db| {
            let mut select = db.prepare(
                "SELECT bucket, key, etag, size, modified FROM objects ORDER BY modified DESC, key LIMIT ?1",
            )?;
            Ok(select.query_map([limit], Summary::read)?.collect::<Result<_, _>>()?)
        })
    }

    /// Objects of a bucket whose keys follow `after`, in the order of their keys.
    pub fn list(&self, bucket: &str, prefix: &str, after: &str, limit: usize) -> Result<Vec<Summary>, AwsError> {
        self.transact(|db| {
            let mut select = db.prepare(
                "SELECT bucket, key, etag, size, modified FROM objects
                 WHERE bucket = ?1 AND key > ?3 AND substr(key, 1, length(?2)) = ?2 ORDER BY key LIMIT ?4",
            )?;
            Ok(select.query_map((bucket, prefix, after, limit), Summary::read)?.collect::<Result<_, _>>()?)
        })
    }

    /// Deletes objects written before `before`. Returns their number.
    pub fn remove_older(&self, bucket: &str, prefix: &str, before: u64, now: u64) -> Result<usize, AwsError> {
        self.transact(|db| {
            let mut select = db.prepare(
                "SELECT key FROM objects WHERE bucket = ?1 AND modified <= ?2 AND substr(key, 1, length(?3)) = ?3",
            )?;
            let keys: Vec<String> =
                select.query_map((bucket, before, prefix), |row| row.get(0))?.collect::<Result<_, _>>()?;
            keys.iter().try_for_each(|key| remove(db, bucket, key, now))?;
            Ok(keys.len())
        })
    }

    /// Deletes incomplete uploads that were started before `before`.
    pub fn delete_uploads(&self, bucket: &str, before: u64, now: u64) -> Result<(), AwsError> {
        const OLD: &str = "SELECT id FROM uploads WHERE bucket = ?1 AND started <= ?2";
        self.transact(|db| {
            let loosen =
                format!("UPDATE blobs SET loose = ?3 WHERE id IN (SELECT blob FROM parts WHERE upload IN ({OLD}))");
            db.execute(&loosen, (bucket, before, now))?;
            db.execute(&format!("DELETE FROM parts WHERE upload IN ({OLD})"), (bucket, before))?;
            db.execute("DELETE FROM uploads WHERE bucket = ?1 AND started <= ?2", (bucket, before))?;
            Ok(())
        })
    }

    /// Deletes blobs that have been unreferenced for a day.
    pub fn sweep(&self, now: u64) -> Result<(), AwsError> {
        let before = now.saturating_sub(KEPT_FOR);
        self.transact(|db| {
            db.execute("DELETE FROM pieces WHERE blob IN (SELECT id FROM blobs WHERE loose <= ?1)", [before])?;
            db.execute("DELETE FROM blobs WHERE loose <= ?1", [before])?;
            Ok(())
        })
    }
}

/// The object with this key.
pub fn find(db: &Connection, bucket: &str, key: &str) -> Result<Option<Object>, AwsError> {
    let mut select = db.prepare_cached(
        "SELECT etag, size, kind, disposition, modified, blobs FROM objects WHERE bucket = ?1 AND key = ?2",
    )?;
    Ok(select.query_row((bucket, key), Object::read).optional()?)
}

/// Writes an object and replaces an existing one.
pub fn replace(db: &Connection, bucket: &str, key: &str, object: &Object, now: u64) -> Result<(), AwsError> {
    remove(db, bucket, key, now)?;
    let blobs = serde_json::to_string(&object.blobs)?;
    db.execute(
        "INSERT INTO objects (bucket, key, etag, size, kind, disposition, modified, blobs)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        (bucket, key, &object.etag, object.size, &object.kind, &object.disposition, object.modified, blobs),
    )?;
    object.blobs.iter().try_for_each(|(blob, _)| reference(db, *blob))
}

/// Deletes an object; its blobs are kept for a while for requests that read them.
pub fn remove(db: &Connection, bucket: &str, key: &str, now: u64) -> Result<(), AwsError> {
    if let Some(object) = find(db, bucket, key)? {
        object.blobs.iter().try_for_each(|(blob, _)| release(db, *blob, now))?;
        db.execute("DELETE FROM objects WHERE bucket = ?1 AND key = ?2", (bucket, key))?;
    }
    Ok(())
}

/// Marks a blob as referenced.
pub fn reference(db: &Connection, blob: i64) -> Result<(), AwsError> {
    db.execute("UPDATE blobs SET loose = NULL WHERE id = ?1", [blob])?;
    Ok(())
}

/// Marks a blob as unreferenced from now on.
pub fn release(db: &Connection, blob: i64, now: u64) -> Result<(), AwsError> {
    db.execute("UPDATE blobs SET loose = ?2 WHERE id = ?1", (blob, now))?;
    Ok(())
}

impl Object {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            etag: row.get("etag")?,
            size: row.get("size")?,
            kind: row.get("kind")?,
            disposition: row.get("disposition")?,
            modified: row.get("modified")?,
            blobs: serde_json::from_str(&row.get::<_, String>("blobs")?).unwrap_or_default(),
        })
    }
}

impl Summary {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            bucket: row.get("bucket")?,
            key: row.get("key")?,
            etag: row.get("etag")?,
            size: row.get("size")?,
            modified: row.get("modified")?,
        })
    }
}
