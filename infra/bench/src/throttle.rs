//! DynamoDB's limit on one partition, which the emulator does not have: a proxy in front of it that lets through so many
//! writes a second to each partition key, of the table and of its indexes alike, and refuses the others as DynamoDB does.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use serde_json::Value;

use crate::http1::{self, Connection, Message};
use crate::replay::pass_on;

/// For how long a partition may save up what it did not use, in seconds.
const SAVED_SECONDS: f64 = 0.1;
/// What one write unit holds, in bytes.
const UNIT_BYTES: usize = 1024;

/// A running proxy.
#[derive(Debug)]
pub struct Throttle {
    /// Where it listens.
    pub address: SocketAddr,
    limits: Arc<Limits>,
}

#[derive(Debug)]
struct Limits {
    /// Attributes that are partition keys.
    keys: Vec<String>,
    /// Write units a second.
    rate: f64,
    partitions: Mutex<HashMap<String, Bucket>>,
    refused: AtomicU64,
}

#[derive(Debug)]
struct Bucket {
    units: f64,
    at: Instant,
    taken: f64,
}

impl Throttle {
    /// Starts a proxy before `upstream` (`http://host:port`). `keys` are the attributes that are partition keys.
    ///
    /// # Errors
    /// When no port is free.
    pub fn start(upstream: &str, keys: Vec<String>, rate: f64) -> io::Result<Self> {
        let upstream = upstream.trim_start_matches("http://").to_owned();
        let limits = Limits { keys, rate, partitions: Mutex::default(), refused: AtomicU64::new(0) };
        let limits = Arc::new(limits);
        let serving = Arc::clone(&limits);
        let address = http1::listen(move |stream| {
            let Ok(mut beyond) = Connection::open(&upstream) else { return };
            http1::converse(stream, |request| serving.reply(&request, &mut beyond).ok());
        })?;
        Ok(Self { address, limits })
    }

    /// How many writes were refused.
    pub fn refused(&self) -> u64 {
        self.limits.refused.load(Ordering::Relaxed)
    }

    /// The partitions, the busiest first, and the write units each has taken.
    pub fn taken(&self) -> Vec<(String, f64)> {
        let partitions = self.limits.partitions.lock().unwrap_or_else(PoisonError::into_inner);
        let mut taken: Vec<_> = partitions.iter().map(|(key, bucket)| (key.clone(), bucket.taken)).collect();
        taken.sort_by(|left, right| right.1.total_cmp(&left.1));
        taken
    }
}

impl Limits {
    fn reply(&self, request: &Message, beyond: &mut Connection) -> io::Result<Vec<u8>> {
        let body = serde_json::from_slice(&request.body).unwrap_or_default();
        let action =
            request.header("x-amz-target").and_then(|target| target.split_once('.')).map_or("", |(_, name)| name);
        let written: Vec<&Value> = written(action, &body);
        if !self.admit(&written) {
            self.refused.fetch_add(1, Ordering::Relaxed);
            let why = br#"{"__type":"com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException",
                "message":"this partition key takes no more writes in this second"}"#;
            return Ok(http1::answer(400, why));
        }
        let answer = pass_on(request, beyond)?;
        Ok(http1::answer(answer.status(), &answer.body))
    }

    /// Takes what these writes need from every partition they go to, or from none.
    fn admit(&self, written: &[&Value]) -> bool {
        let mut partitions = self.partitions.lock().unwrap_or_else(PoisonError::into_inner);
        let mut needed = HashMap::<String, f64>::new();
        for item in written {
            let units = item.to_string().len().div_ceil(UNIT_BYTES) as f64;
            let places = self
                .keys
                .iter()
                .filter_map(|key| Some(format!("{key}={}", item.pointer(&format!("/{key}/S"))?.as_str()?)));
            places.for_each(|place| *needed.entry(place).or_default() += units);
        }
        let now = Instant::now();
        let most = self.rate * SAVED_SECONDS;
        for place in needed.keys() {
            let bucket = partitions.entry(place.clone()).or_insert(Bucket { units: most, at: now, taken: 0.0 });
            bucket.units = (bucket.units + now.duration_since(bucket.at).as_secs_f64() * self.rate).min(most);
            bucket.at = now;
        }
        // As DynamoDB does, a partition that still has anything lets a write through and is in debt after it.
        let fits = needed.keys().all(|place| partitions.get(place).is_some_and(|bucket| bucket.units > 0.0));
        if fits {
            for (place, units) in needed {
                if let Some(bucket) = partitions.get_mut(&place) {
                    bucket.units -= units;
                    bucket.taken += units;
                }
            }
        }
        fits
    }
}

/// The items, or the keys of items, that a request writes.
fn written<'a>(action: &str, body: &'a Value) -> Vec<&'a Value> {
    match action {
        "PutItem" => body.get("Item").into_iter().collect(),
        "UpdateItem" | "DeleteItem" => body.get("Key").into_iter().collect(),
        "TransactWriteItems" => {
            let operations = body.get("TransactItems").and_then(Value::as_array).into_iter().flatten();
            let parts = operations.filter_map(Value::as_object).flat_map(|operation| operation.values());
            parts.filter_map(|part| part.get("Item").or_else(|| part.get("Key"))).collect()
        }
        _ => Vec::new(),
    }
}
