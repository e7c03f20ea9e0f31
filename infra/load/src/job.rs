//! A job from its beginning to its end: enqueued as the API does it, and handed to the worker slice by slice, as stream, relay
//! and queue would. What they take between two slices, about a second on AWS, is not waited for.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use undercroft::clock::Clock;
use undercroft::error::Source;
use undercroft::id;
use undercroft::store::jobs::{Job, Status};
use undercroft::task::Task;

use crate::report;
use crate::runtime::Environment;
use crate::stack::Stack;

/// What a job took.
#[derive(Debug)]
pub struct Ran {
    /// What it gave.
    pub result: Value,
    /// How often the worker was invoked.
    pub slices: u32,
    /// How often that failed.
    pub failures: u32,
    /// From the first invocation to the end of the last.
    pub took: Duration,
    /// The worker's processor time.
    pub processor: Duration,
    /// The worker's most memory, in bytes.
    pub peak: u64,
}

/// Runs a job in a worker of its own.
///
/// # Errors
/// When it does not succeed.
pub fn run(stack: &Stack, worker: &Path, kind: &str, payload: Map<String, Value>) -> Result<Ran, Source> {
    let (jobs, clock) = (stack.jobs()?, Clock::default());
    let job = Job::new(id::new(&clock), kind, payload, "load", clock.millis());
    stack.wait(jobs.enqueue(&job)).map_err(|error| error.to_string())?;
    let mut function = Environment::spawn(Command::new(worker), &variables(stack))?;
    function.rest()?;
    let (began, mut slices, mut failures) = (Instant::now(), 0, 0);
    loop {
        let job = stack.wait(jobs.get(&job.id)).map_err(|error| error.to_string())?.ok_or("the job is gone")?;
        match job.status {
            Status::Succeeded => {
                let (took, process) = (began.elapsed(), function.id());
                let (processor, peak) = (report::processor_time(process), report::peak(process));
                return Ok(Ran { result: job.result.unwrap_or_default(), slices, failures, took, processor, peak });
            }
            Status::Queued => thread::sleep(Duration::from_secs(job.delay_seconds.into())),
            Status::Retrying => failures += 1,
            _ => return Err(format!("the job is {:?}: {:?}", job.status, job.last_error).into()),
        }
        function.hand(&message(&job)?);
        // What the worker answers is for the queue; how it went stands in the job.
        function.answer()?;
        function.rest()?;
        slices += 1;
    }
}

fn variables(stack: &Stack) -> BTreeMap<String, String> {
    stack.environment("worker")
}

/// What the queue hands over.
pub(crate) fn message(job: &Job) -> Result<Value, Source> {
    let task = Task::RunJob { job: job.id.clone(), run: job.run, request_id: job.request_id.clone() };
    let attributes = json!({ "ApproximateReceiveCount": "1" });
    let record = json!({ "messageId": job.id, "receiptHandle": "none", "body": serde_json::to_string(&task)?,
        "attributes": attributes, "messageAttributes": {}, "eventSource": "aws:sqs", "awsRegion": "eu-west-1",
        "eventSourceARN": "arn:aws:sqs:eu-west-1:123456789012:jobs" });
    Ok(json!({ "Records": [record] }))
}
