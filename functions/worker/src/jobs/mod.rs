//! The kinds of job. A new kind is one file in this folder, a `mod` line and an arm in `run`; see CONTRIBUTING, "Add a job".

mod csv;
mod deferred_rows;
mod email_send;
mod failure;
mod import_batch;
mod import_row;
mod import_upsert;
mod index_build;
mod multipart_writer;
mod outcome;
mod records_cascade;
mod records_export;
mod records_import;
mod records_purge;
mod records_restore;
mod records_undelete;
mod row_reader;
mod slice;
mod stuck;
mod tools;
mod undeleting;

pub use failure::Failure;
pub use outcome::Outcome;
pub use slice::{ITEMS as SLICE_ITEMS, Slice};
pub use tools::Tools;

use serde::de::DeserializeOwned;
use serde_json::Value;
use undercroft::jobs::{
    BUILD_JOB, CASCADE_JOB, CHECK_JOB, EMAIL_JOB, EXPORT_JOB, IMPORT_JOB, PURGE_JOB, RESTORE_JOB, UNDELETE_JOB,
};
use undercroft::store::jobs::Job;

/// Runs one attempt of a job. Every kind must be safe to run twice, and a long job must end with its slice.
pub async fn run(tools: &Tools, job: &Job, slice: &Slice) -> Result<Outcome, Failure> {
    match job.kind.as_str() {
        EMAIL_JOB => email_send::run(tools, &job.id, payload(job)?).await,
        BUILD_JOB | CHECK_JOB => index_build::run(tools, job, payload(job)?, slice).await,
        CASCADE_JOB => records_cascade::run(tools, job, payload(job)?, slice).await,
        EXPORT_JOB => records_export::run(tools, job, payload(job)?, slice).await,
        IMPORT_JOB => records_import::run(tools, job, payload(job)?, slice).await,
        RESTORE_JOB => records_restore::run(tools, payload(job)?, job, slice).await,
        UNDELETE_JOB => records_undelete::run(tools, job, payload(job)?, slice).await,
        PURGE_JOB => records_purge::run(tools, job, payload(job)?, slice).await,
        other => Err(Failure::last(format!("No worker handles jobs of type {other}."))),
    }
}

fn payload<T: DeserializeOwned>(job: &Job) -> Result<T, Failure> {
    serde_json::from_value(Value::Object(job.payload.clone()))
        .map_err(|error| Failure::last(format!("The payload is not valid: {error}")))
}
