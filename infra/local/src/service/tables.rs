//! DynamoDB and its streams: an engine over SQLite in this process, called by the front door and by nobody else.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use dynoxide::{Database, DynoxideError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::watch;

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

    /// Answers one call of DynamoDB's JSON protocol, or of its streams'.
    pub fn answer(&self, action: &str, body: &[u8]) -> Response {
        match self.perform(action, body) {
            Ok(text) => answer(StatusCode::OK, text),
            Err(error) => {
                let error = worded(action, error);
                answer(StatusCode::from_u16(error.status_code()).unwrap_or(StatusCode::BAD_REQUEST), error.to_json())
            }
        }
    }

    fn perform(&self, action: &str, body: &[u8]) -> Result<String, DynoxideError> {
        let db = &self.database;
        match action {
            "BatchGetItem" => run(body, |call| db.batch_get_item(call)),
            "BatchWriteItem" => run(body, |call| db.batch_write_item(call)),
            "CreateTable" => run(body, |call| db.create_table(call)),
            "DeleteItem" => run(body, |call| db.delete_item(call)),
            "DeleteTable" => run(body, |call| db.delete_table(call)),
            "DescribeStream" => run(body, |call| db.describe_stream(call)),
            "DescribeTable" => run(body, |call| db.describe_table(call)),
            "DescribeTimeToLive" => run(body, |call| db.describe_time_to_live(call)),
            "ExecuteStatement" => run(body, |call| db.execute_statement(call)),
            "ExecuteTransaction" => run(body, |call| db.execute_transaction(call)),
            "BatchExecuteStatement" => run(body, |call| db.batch_execute_statement(call)),
            "GetItem" => run(body, |call| db.get_item(call)),
            "GetRecords" => run(body, |call| db.get_records(call)),
            "GetShardIterator" => run(body, |call| db.get_shard_iterator(call)),
            "ListStreams" => run(body, |call| db.list_streams(call)),
            "ListTables" => run(body, |call| db.list_tables(call)),
            "ListTagsOfResource" => run(body, |call| db.list_tags_of_resource(call)),
            "PutItem" => run(body, |call| db.put_item(call)),
            "Query" => run(body, |call| db.query(call)),
            "Scan" => run(body, |call| db.scan(call)),
            "TagResource" => run(body, |call| db.tag_resource(call)),
            "TransactGetItems" => run(body, |call| db.transact_get_items(call)),
            "TransactWriteItems" => run(body, |call| db.transact_write_items(call)),
            "UntagResource" => run(body, |call| db.untag_resource(call)),
            "UpdateItem" => run(body, |call| db.update_item(call)),
            "UpdateTable" => run(body, |call| db.update_table(call)),
            "UpdateTimeToLive" => run(body, |call| db.update_time_to_live(call)),
            _ => Err(DynoxideError::UnsupportedCapability(format!("no operation {action} here"))),
        }
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

/// One operation: its request read, done, and its answer written.
fn run<Call: DeserializeOwned, Answer: Serialize>(
    body: &[u8],
    operation: impl FnOnce(Call) -> Result<Answer, DynoxideError>,
) -> Result<String, DynoxideError> {
    let call = serde_json::from_slice(body).map_err(|error| unreadable(&error.to_string()))?;
    serde_json::to_string(&operation(call)?).map_err(|error| DynoxideError::InternalServerError(error.to_string()))
}

/// Why a request cannot be read. The engine's own readers mark which kind of error DynamoDB makes of it.
fn unreadable(message: &str) -> DynoxideError {
    let plain = |text: &str| text.rsplit_once(" at line ").map_or(text, |(plain, _)| plain).to_owned();
    type Kind = fn(String) -> DynoxideError;
    let kinds: [(&str, Kind); 5] = [
        ("SERIALIZATION_AS_READ:", DynoxideError::SerializationException),
        ("VALIDATION_AS_READ:", DynoxideError::ValidationException),
        ("SERIALIZATION:", DynoxideError::SerializationException),
        ("VALIDATION_REQUEST:", DynoxideError::EnvelopedValidation),
        ("VALIDATION:", DynoxideError::ValidationException),
    ];
    let marked = kinds.iter().find_map(|(mark, kind)| Some(kind(plain(message.strip_prefix(mark)?))));
    // What is missing or of no known kind is a matter of validation; what has another JSON type cannot be read at all.
    let invalid = ["missing field", "unknown variant", "invalid type: null", "AttributeValue"];
    marked.unwrap_or_else(|| match invalid.iter().any(|sign| message.contains(sign)) {
        true => DynoxideError::ValidationException(plain(message)),
        false => DynoxideError::SerializationException(plain(message)),
    })
}

/// The same error as DynamoDB words it for single writes.
fn worded(action: &str, error: DynoxideError) -> DynoxideError {
    match error {
        DynoxideError::EnvelopedValidation(why) if ["PutItem", "UpdateItem", "DeleteItem"].contains(&action) => {
            DynoxideError::ValidationException(format!("1 validation error detected: {why}"))
        }
        other => other,
    }
}

fn answer(status: StatusCode, text: String) -> Response {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("application/x-amz-json-1.0");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
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
