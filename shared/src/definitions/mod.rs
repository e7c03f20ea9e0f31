//! What can be done with definitions of collections. Every operation asks for an admin first.

mod delete;
mod dry_run;
mod operations;
mod put;
mod read;
mod referrers;
mod relations;
mod stalled;

pub use operations::Operations;
pub use read::Found;
