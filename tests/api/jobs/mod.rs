//! Jobs: from the queue to their end.

mod delivery;
mod idempotency;
mod outcomes;
mod partial_batches;
mod undelivered;
