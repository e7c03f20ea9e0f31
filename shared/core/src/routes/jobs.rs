//! The routes of the function `jobs`: background work.

use super::route::Policy::Admin;
use super::route::{Route, get, post};

/// Every route of `jobs`.
pub fn jobs() -> Vec<Route> {
    vec![
        get("/v1/jobs", "listJobs", Admin)
            .does("Jobs, newest first: all that are not dead, or the dead ones.")
            .note("A page ends early, with a `nextCursor`, when its jobs take more than 2 MB.")
            .takes(&["Dead", "Limit", "Cursor"])
            .answers(200, "JobList", "A page of jobs."),
        post("/v1/jobs", "enqueueJob", Admin)
            .does("Enqueues a job. One write; the stream, the relay, the queue and the worker do the rest.")
            .note(
                "`records.export` writes every record of a collection into a file: its `result` has `records`, `bytes` and, when \
                 it is looked at, a `url` that is good until `expiresAt`. `records.import` makes a record of each row of an \
                 uploaded file: its `result` has `imported`, `refused`, the first refused rows as `errors` by `line`, and a `url` \
                 to all of them. A row keeps the `id` it has; without one it is given one, in the order of the lines. It may point at \
                 any other row of the file, before it or behind it: `passes` says how often those that had to wait were gone over.",
            )
            .idempotency_key()
            .reads("JobInput")
            .answers(202, "Job", "The job, queued.")
            .with(&["Location"])
            .refuses(409, "A request with the same key is being done.")
            .refuses(501, "This type of job."),
        post("/v1/jobs/uploads", "uploadFile", Admin)
            .does("A link to upload a file by, for records.import to read.")
            .note("PUT the file to `url` with these `headers` and no others of the API's; then enqueue the import with the `key`. The same Idempotency-Key gives the same file again, under a new link.")
            .reads("UploadInput")
            .idempotency_key()
            .answers(201, "Upload", "The link, good until `expiresAt`; the file stays for a week."),
        post("/v1/jobs/redrive", "redriveJobs", Admin)
            .does("Queues dead jobs anew, a hundred a call; with a key 25 a call, all or none.")
            .idempotency_key()
            .answers(200, "Redriven", "How many, and whether to call again: with another key."),
        get("/v1/jobs/{id}", "readJob", Admin).does("A job as it stands.").answers(200, "Job", "The job."),
        post("/v1/jobs/{id}/cancel", "cancelJob", Admin)
            .does("Takes a queued or retrying job back.")
            .note(
                "Jobs that the system itself asks for, because a definition was put, a record or a collection deleted, are not \
                 taken back: put the definition as it was, or undelete the record.",
            )
            .idempotency_key()
            .answers(200, "Job", "The job, which will not run.")
            .refuses(409, "It is in another status or the system's own, or a request with the same key is being done."),
        post("/v1/jobs/{id}/redrive", "redriveJob", Admin)
            .does("Queues a dead or cancelled job anew, with all its attempts.")
            .idempotency_key()
            .answers(200, "Job", "The job, queued.")
            .refuses(409, "It is in another status, or a request with the same key is being done."),
    ]
}
