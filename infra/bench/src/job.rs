//! Runs a job to its end: enqueued as by the API, and sent to the worker slice by slice, as by stream, relay and queue. The time
//! between two slices, about a second on AWS, is left out.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use undercroft::clock::Clock;
use undercroft::error::Source;
use undercroft::expr::moment;
use undercroft::files::{Format, export_key};
use undercroft::id;
use undercroft::store::jobs::{Job, Status};
use undercroft::task::Task;

use crate::report;
use crate::runtime::Environment;
use crate::stack::{Stack, account};

/// Bytes of each part of an upload.
const PART: usize = 8 * 1024 * 1024;

/// The cost of a job.
#[derive(Debug)]
pub struct Ran {
    /// The result of the job.
    pub result: Value,
    /// Number of invocations of the worker.
    pub slices: u32,
    /// Number of failed invocations.
    pub failures: u32,
    /// From the first invocation to the end of the last.
    pub took: Duration,
    /// The worker's processor time.
    pub processor: Duration,
    /// Peak memory of the worker, in bytes.
    pub peak: u64,
    /// The same after each slice.
    pub peaks: Vec<u64>,
}

/// Runs a job in a worker of its own.
///
/// # Errors
/// When it does not succeed.
pub fn run(stack: &Stack, worker: &Path, kind: &str, payload: Map<String, Value>) -> Result<Ran, Source> {
    let (jobs, clock) = (stack.jobs()?, Clock::default());
    let job = Job::new(id::new(&clock), kind, payload, "load");
    stack.wait(jobs.enqueue(&job)).map_err(|error| error.to_string())?;
    let mut function = Environment::spawn(Command::new(worker), &variables(stack))?;
    function.rest()?;
    let (began, mut slices, mut failures, mut peaks) = (Instant::now(), 0, 0, Vec::new());
    loop {
        let job = stack.wait(jobs.get(&job.id)).map_err(|error| error.to_string())?.ok_or("the job is gone")?;
        match job.status {
            Status::Succeeded => {
                let (took, process) = (began.elapsed(), function.id());
                let (processor, peak) = (report::processor_time(process), report::peak(process));
                let result = job.result.unwrap_or_default();
                return Ok(Ran { result, slices, failures, took, processor, peak, peaks });
            }
            Status::Queued => thread::sleep(wait(&job, &clock)),
            Status::Retrying => failures += 1,
            _ => return Err(format!("the job is {:?}: {:?}", job.status, job.last_error).into()),
        }
        function.hand(&message(&job)?);
        // The worker's answer is for the queue; the outcome is in the job.
        function.answer()?;
        function.rest()?;
        slices += 1;
        peaks.push(report::peak(function.id()));
    }
}

/// How long until a job may start.
fn wait(job: &Job, clock: &Clock) -> Duration {
    let run_at = job.run_at.as_deref().and_then(moment::milliseconds).unwrap_or_default();
    Duration::from_millis(u64::try_from(run_at).unwrap_or_default().saturating_sub(clock.millis()))
}

fn variables(stack: &Stack) -> BTreeMap<String, String> {
    stack.environment("worker")
}

/// The event that the queue delivers.
pub(crate) fn message(job: &Job) -> Result<Value, Source> {
    let task = Task::RunJob { job: job.id.clone(), run: job.run, request_id: job.request_id.clone() };
    let attributes = json!({ "ApproximateReceiveCount": "1" });
    let record = json!({ "messageId": job.id, "receiptHandle": "none", "body": serde_json::to_string(&task)?,
        "attributes": attributes, "messageAttributes": {}, "eventSource": "aws:sqs", "awsRegion": "eu-west-1",
        "eventSourceARN": "arn:aws:sqs:eu-west-1:123456789012:jobs" });
    Ok(json!({ "Records": [record] }))
}

/// Uploads a file of so many notes for an import. Returns its key and its size.
///
/// # Errors
/// When the bucket refuses.
pub fn upload(stack: &Stack, rows: u64) -> Result<(String, u64), Source> {
    let (files, key) = (stack.files()?, export_key(&id::new(&Clock::default()), Format::Ndjson));
    let authors: Vec<String> = (0..100).map(|_| account()).collect();
    let upload = stack.wait(files.start_upload(&key, Format::Ndjson.content_type()))?;
    let (mut parts, mut part, mut bytes) = (Vec::new(), Vec::new(), 0);
    for (row, author) in (0..rows).zip(authors.iter().cycle()) {
        part.extend_from_slice(line(row, author).as_bytes());
        if part.len() >= PART || row + 1 == rows {
            bytes += part.len() as u64;
            let number = u32::try_from(parts.len() + 1)?;
            let sent = files.upload_part(&key, &upload, number, std::mem::take(&mut part));
            parts.push((number, stack.wait(sent)?.ok_or("the upload is gone")?));
        }
    }
    stack.wait(files.complete_upload(&key, &upload, &parts))?;
    Ok((key, bytes))
}

/// A note in about 200 bytes.
fn line(row: u64, author: &str) -> String {
    let text = format!("note {row:>9}: all that is solid stands on something that nobody looks at");
    format!("{}\n", json!({ "text": text, "author": author, "members": [author] }))
}
