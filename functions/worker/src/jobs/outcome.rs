//! How an attempt ends well.

use serde_json::Value;

/// How an attempt ended well.
#[derive(Debug)]
pub enum Outcome {
    /// The job is done; this is its result.
    Done(Option<Value>),
    /// The slice is over and the job is not: it goes on from this progress, which comes back in [`Job::progress`](undercroft::store::jobs::Job::progress).
    More(Value),
    /// The same, after so many seconds.
    Later(Value, u32),
}
