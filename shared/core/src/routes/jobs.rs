//! The routes of the function `jobs`: background work.

use super::route::Policy::Admin;
use super::route::{Route, get, post};

/// Every route of `jobs`.
pub fn jobs() -> Vec<Route> {
    vec![
        get("/v1/jobs", "listJobs", Admin)
            .does("Lists jobs, newest first: all that are not dead, or only the dead ones.")
            .note("A page ends early, with a `nextCursor`, when its jobs are larger than 2 MB.")
            .takes(&["Dead", "Limit", "Cursor"])
            .answers(200, "JobList", "A page of jobs."),
        post("/v1/jobs", "enqueueJob", Admin)
            .does("Enqueues a job with one write. The stream, the relay and the queue deliver it to the worker.")
            .note(
                "`records.export` writes every record of a collection into a file: its `result` has `records`, `bytes` \
                 and, each time it is read, a `url` that is valid until `expiresAt`. `records.import` creates a record \
                 for each row of an uploaded file: its `result` has `imported`, `refused`, the first refused rows as \
                 `errors` by `line`, and a `url` to all of them. A row keeps its `id`; a row without one gets one, in the \
                 order of the lines. It may point at any other row of the file; `passes` counts the passes over the rows \
                 that had to wait for other rows. `records.undelete` undeletes what was deleted from a collection since a time: \
                 its `result` has `undeleted`, `refused` and the first refused records as `errors` by `id`.",
            )
            .idempotency_key()
            .reads("JobInput")
            .answers(202, "Job", "The queued job.")
            .with(&["Location"])
            .refuses(409, "A request with the same key is in progress.")
            .refuses(501, "This type of job, or running it by a schedule, is not built yet."),
        post("/v1/jobs/uploads", "uploadFile", Admin)
            .does("Creates a link to upload a file for records.import.")
            .note(
                "PUT the file to `url` with these `headers` and none of the API's other headers; then enqueue the import with \
                 the `key`. The same Idempotency-Key returns the same file with a new link.",
            )
            .reads("UploadInput")
            .idempotency_key()
            .answers(201, "Upload", "The link, valid until `expiresAt`. The file is kept for a week."),
        post("/v1/jobs/redrive", "redriveJobs", Admin)
            .does("Queues dead jobs again: up to 100 a call, or with an Idempotency-Key up to 25 in one transaction.")
            .idempotency_key()
            .answers(200, "Redriven", "How many jobs were queued, and whether to call again, with a new key."),
        get("/v1/jobs/{id}", "readJob", Admin).does("Reads a job.").answers(200, "Job", "The job."),
        post("/v1/jobs/{id}/cancel", "cancelJob", Admin)
            .does("Cancels a queued or retrying job.")
            .note(
                "System jobs, which follow from a changed definition or a deleted record or collection, cannot be cancelled. \
                 Put the previous definition, or undelete the record.",
            )
            .idempotency_key()
            .answers(200, "Job", "The cancelled job.")
            .refuses(409, "The job has another status or is a system job, or a request with the same key is in progress."),
        post("/v1/jobs/{id}/redrive", "redriveJob", Admin)
            .does("Queues a dead or cancelled job again, with all its attempts.")
            .idempotency_key()
            .answers(200, "Job", "The queued job.")
            .refuses(409, "The job has another status, or a request with the same key is in progress."),
    ]
}
