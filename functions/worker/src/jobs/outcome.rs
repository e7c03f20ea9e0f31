//! Successful ends of an attempt.

use serde_json::Value;

/// The successful end of an attempt.
#[derive(Debug)]
pub enum Outcome {
    /// The job is done; this is its result.
    Done(Option<Value>),
    /// The slice is over but the job is not: the next slice gets this progress in [`Job::progress`](undercroft::store::jobs::Job::progress).
    More(Value),
    /// Like `More`, after so many seconds.
    Later(Value, u32),
}
