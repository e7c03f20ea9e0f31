//! DynamoDB and DynamoDB Streams: an engine over SQLite that runs in this process.

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

/// How often expired items are deleted; DynamoDB takes up to two days.
const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// An index for the engine's queries on stream records: with every write it reads the stream's newest record, and with every
/// read the records after a sequence number. Without the index it would scan the whole stream each time.
const STREAM_ORDER: &str = "CREATE INDEX IF NOT EXISTS undercroft_stream_order \
     ON _stream_records (table_name, CAST(sequence_number AS INTEGER))";

/// The tables' engine.
#[derive(Clone)]
pub struct Tables {
    database: Database,
}

impl Tables {
    /// Opens the tables at `path`, or an empty database in memory.
    ///
    /// # Errors
    /// The file cannot be opened or is not a database of the engine.
    pub fn open(path: Option<&Path>, clock: Clock) -> Result<Self, String> {
        let opened = match path {
            Some(path) => open_file(path).map_err(|error| error.to_string())?,
            None => Database::memory_with_clock(Arc::new(clock)).map_err(|error| error.to_string())?,
        };
        Ok(Self { database: opened })
    }

    /// Performs one call of DynamoDB or DynamoDB Streams.
    pub fn call(&self, action: &str, body: &[u8]) -> Response {
        match self.perform(action, body) {
            Ok(text) => response(StatusCode::OK, text),
            Err(error) => {
                let error = with_dynamodb_message(action, error);
                response(StatusCode::from_u16(error.status_code()).unwrap_or(StatusCode::BAD_REQUEST), error.to_json())
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
            _ => Err(DynoxideError::UnsupportedCapability(format!("the local DynamoDB does not support {action}"))),
        }
    }

    /// Deletes items past their time to live, which writes records to the stream. Returns the number of deleted items.
    ///
    /// # Errors
    /// The database cannot be written.
    pub fn sweep(&self) -> Result<usize, String> {
        self.database.sweep_ttl().map_err(|error| error.to_string())
    }

    /// Deletes expired items periodically, for as long as it is polled, and notifies `writes` of deletions.
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

/// Opens tables in a file.
fn open_file(path: &Path) -> Result<Database, Box<dyn std::error::Error>> {
    let database = Database::new(&path.to_string_lossy())?;
    // Despite its name, this sets `synchronous = NORMAL`: the write-ahead log survives when this process is killed; a power
    // failure can lose the last transactions.
    database.disable_bulk_loading()?;
    rusqlite::Connection::open(path)?.execute_batch(STREAM_ORDER)?;
    Ok(database)
}

impl std::fmt::Debug for Tables {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Tables")
    }
}

/// Parses a request, performs the operation and serializes its result.
fn run<Input: DeserializeOwned, Output: Serialize>(
    body: &[u8],
    operation: impl FnOnce(Input) -> Result<Output, DynoxideError>,
) -> Result<String, DynoxideError> {
    let call = serde_json::from_slice(body).map_err(|error| parse_error(&error.to_string()))?;
    serde_json::to_string(&operation(call)?).map_err(|error| DynoxideError::InternalServerError(error.to_string()))
}

/// The error for a request that cannot be parsed. The engine marks some messages with the kind of DynamoDB's error.
fn parse_error(message: &str) -> DynoxideError {
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
    // A missing field or an unknown variant is a validation error; a wrong JSON type is a serialization error.
    let invalid = ["missing field", "unknown variant", "invalid type: null", "AttributeValue"];
    marked.unwrap_or_else(|| match invalid.iter().any(|sign| message.contains(sign)) {
        true => DynoxideError::ValidationException(plain(message)),
        false => DynoxideError::SerializationException(plain(message)),
    })
}

/// Changes the message to the one of DynamoDB for single writes.
fn with_dynamodb_message(action: &str, error: DynoxideError) -> DynoxideError {
    match error {
        DynoxideError::EnvelopedValidation(why) if ["PutItem", "UpdateItem", "DeleteItem"].contains(&action) => {
            DynoxideError::ValidationException(format!("1 validation error detected: {why}"))
        }
        other => other,
    }
}

fn response(status: StatusCode, text: String) -> Response {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("application/x-amz-json-1.0");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// Whether an operation may write to a stream.
pub fn writes(action: &str) -> bool {
    let changes = ["Put", "Update", "Delete", "BatchWrite", "TransactWrite", "Execute", "BatchExecute"];
    changes.iter().any(|prefix| action.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::Connection;

    /// The engine's queries for the newest record of a stream and for the records after one (dynoxide 3.2, storage.rs).
    const NEWEST: &str =
        "SELECT COALESCE(MAX(CAST(sequence_number AS INTEGER)), 0) + 1 FROM _stream_records WHERE table_name = 't'";
    const AFTER: &str = "SELECT event_name FROM _stream_records WHERE table_name = 't' AND shard_id = 's' \
         AND CAST(sequence_number AS INTEGER) > 7 ORDER BY CAST(sequence_number AS INTEGER) ASC LIMIT 9";

    #[test]
    fn writes_and_reads_of_the_stream_use_the_index() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tables.db");
        // Opened twice: the index exists already.
        drop(Tables::open(Some(&path), Clock::default()).unwrap());
        let _tables = Tables::open(Some(&path), Clock::default()).unwrap();
        let connection = Connection::open(&path).unwrap();
        for statement in [NEWEST, AFTER] {
            let mut plan = connection.prepare(&format!("EXPLAIN QUERY PLAN {statement}")).unwrap();
            let steps = plan.query_map([], |row| row.get::<_, String>(3)).unwrap();
            let steps: Vec<String> = steps.map(Result::unwrap).collect();
            assert_eq!(steps.len(), 1, "sorts, or reads more than once: {steps:?}");
            assert!(steps[0].contains("INDEX undercroft_stream_order (table_name=?"), "{steps:?}");
        }
    }
}
