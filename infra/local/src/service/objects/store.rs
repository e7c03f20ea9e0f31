//! Where objects are kept: what is known of each, and its bytes in pieces, in one SQLite file (or memory, for tests). An
//! object is there all at once or not at all: its pieces are written first, and its row last.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use rusqlite::{Connection, OptionalExtension as _, Row};
use serde::Serialize;

use super::super::fault::Fault;

/// Size of every piece but a blob's last, in bytes.
pub const PIECE: usize = 1024 * 1024;
/// How long bytes that nothing holds stay, for whoever still reads or writes them: a day, in milliseconds.
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

/// The file behind it all.
#[derive(Debug)]
pub struct Store {
    connection: std::sync::Arc<Mutex<Connection>>,
}

/// What is known of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Its tag, without quotes.
    pub etag: String,
    /// Bytes.
    pub size: u64,
    /// Content type.
    pub kind: String,
    /// Content disposition, where it was put with one.
    pub disposition: Option<String>,
    /// When it was put, in milliseconds since the epoch.
    pub modified: u64,
    /// Its blobs and their sizes, in order.
    pub blobs: Vec<(i64, u64)>,
}

/// One line of a listing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// The bucket.
    pub bucket: String,
    /// The key.
    pub key: String,
    /// The tag, without quotes.
    pub etag: String,
    /// Bytes.
    pub size: u64,
    /// When it was put, in milliseconds since the epoch.
    pub modified: u64,
}

impl Store {
    /// Opens the objects kept at `path`, or none, in memory.
    pub fn open(path: Option<&Path>, now: u64) -> Result<Self, Fault> {
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

    /// The same file, for a body that is still read when its request is long answered.
    pub fn share(&self) -> Self {
        Self { connection: std::sync::Arc::clone(&self.connection) }
    }

    /// Does `work` as one transaction: all of it is kept, or, where it fails, none.
    pub fn transact<T>(&self, work: impl FnOnce(&Connection) -> Result<T, Fault>) -> Result<T, Fault> {
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let transaction = connection.transaction()?;
        let done = work(&transaction)?;
        transaction.commit()?;
        Ok(done)
    }

    /// The object at this key.
    pub fn find(&self, bucket: &str, key: &str) -> Result<Option<Object>, Fault> {
        self.transact(|db| find(db, bucket, key))
    }

    /// A place for bytes. It is loose until an object or a part holds it.
    pub fn new_blob(&self, now: u64) -> Result<i64, Fault> {
        self.transact(|db| {
            db.execute("INSERT INTO blobs (loose) VALUES (?1)", [now])?;
            Ok(db.last_insert_rowid())
        })
    }

    /// Adds one piece to a blob.
    pub fn add_piece(&self, blob: i64, position: usize, bytes: &[u8]) -> Result<(), Fault> {
        self.transact(|db| {
            let mut insert = db.prepare_cached("INSERT INTO pieces (blob, position, bytes) VALUES (?1, ?2, ?3)")?;
            insert.execute((blob, position, bytes))?;
            Ok(())
        })
    }

    /// One piece of a blob; `None` where it is gone.
    pub fn piece(&self, blob: i64, position: u64) -> Result<Option<Vec<u8>>, Fault> {
        self.transact(|db| {
            let mut select = db.prepare_cached("SELECT bytes FROM pieces WHERE blob = ?1 AND position = ?2")?;
            Ok(select.query_row((blob, position), |row| row.get(0)).optional()?)
        })
    }

    /// The newest objects of all buckets.
    pub fn newest(&self, limit: usize) -> Result<Vec<Summary>, Fault> {
        self.transact(|db| {
            let mut select = db.prepare(
                "SELECT bucket, key, etag, size, modified FROM objects ORDER BY modified DESC, key LIMIT ?1",
            )?;
            Ok(select.query_map([limit], Summary::read)?.collect::<Result<_, _>>()?)
        })
    }

    /// Objects of a bucket after `after`, in the order of their keys.
    pub fn list(&self, bucket: &str, prefix: &str, after: &str, limit: usize) -> Result<Vec<Summary>, Fault> {
        self.transact(|db| {
            let mut select = db.prepare(
                "SELECT bucket, key, etag, size, modified FROM objects
                 WHERE bucket = ?1 AND key > ?3 AND substr(key, 1, length(?2)) = ?2 ORDER BY key LIMIT ?4",
            )?;
            Ok(select.query_map((bucket, prefix, after, limit), Summary::read)?.collect::<Result<_, _>>()?)
        })
    }

    /// Removes objects put before `before`. Returns how many.
    pub fn remove_older(&self, bucket: &str, prefix: &str, before: u64, now: u64) -> Result<usize, Fault> {
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

    /// Lets go of uploads that were begun before `before` and that nobody completed.
    pub fn abandon(&self, bucket: &str, before: u64, now: u64) -> Result<(), Fault> {
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

    /// Lets go of bytes that have been loose for a day.
    pub fn sweep(&self, now: u64) -> Result<(), Fault> {
        let before = now.saturating_sub(KEPT_FOR);
        self.transact(|db| {
            db.execute("DELETE FROM pieces WHERE blob IN (SELECT id FROM blobs WHERE loose <= ?1)", [before])?;
            db.execute("DELETE FROM blobs WHERE loose <= ?1", [before])?;
            Ok(())
        })
    }
}

/// The object at this key.
pub fn find(db: &Connection, bucket: &str, key: &str) -> Result<Option<Object>, Fault> {
    let mut select = db.prepare_cached(
        "SELECT etag, size, kind, disposition, modified, blobs FROM objects WHERE bucket = ?1 AND key = ?2",
    )?;
    Ok(select.query_row((bucket, key), Object::read).optional()?)
}

/// Puts an object in the place of whatever was there.
pub fn replace(db: &Connection, bucket: &str, key: &str, object: &Object, now: u64) -> Result<(), Fault> {
    remove(db, bucket, key, now)?;
    let blobs = serde_json::to_string(&object.blobs)?;
    db.execute(
        "INSERT INTO objects (bucket, key, etag, size, kind, disposition, modified, blobs)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        (bucket, key, &object.etag, object.size, &object.kind, &object.disposition, object.modified, blobs),
    )?;
    object.blobs.iter().try_for_each(|(blob, _)| hold(db, *blob))
}

/// Removes an object; its bytes stay a while for whoever reads them now.
pub fn remove(db: &Connection, bucket: &str, key: &str, now: u64) -> Result<(), Fault> {
    if let Some(object) = find(db, bucket, key)? {
        object.blobs.iter().try_for_each(|(blob, _)| let_go(db, *blob, now))?;
        db.execute("DELETE FROM objects WHERE bucket = ?1 AND key = ?2", (bucket, key))?;
    }
    Ok(())
}

/// Marks a blob as held.
pub fn hold(db: &Connection, blob: i64) -> Result<(), Fault> {
    db.execute("UPDATE blobs SET loose = NULL WHERE id = ?1", [blob])?;
    Ok(())
}

/// Marks a blob as loose from now on.
pub fn let_go(db: &Connection, blob: i64, now: u64) -> Result<(), Fault> {
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
