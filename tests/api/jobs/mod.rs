//! Jobs: delivery, outcomes and idempotency.

mod delivery;
mod idempotency;
mod outcomes;
mod partial_batches;
mod undelivered;
