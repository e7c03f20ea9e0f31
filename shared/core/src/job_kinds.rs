//! The types of jobs that the system knows.

/// The type of a job that brings what is kept beside records to what a definition says.
pub const BUILD_JOB: &str = "index.build";
/// The type of a job that does the same and decides besides whether a definition comes into force.
pub const CHECK_JOB: &str = "records.check";
/// The type of a job that clears a deleted collection.
pub const PURGE_JOB: &str = "records.purge";
/// The type of a job that does to records what the deletion of the one they point at asks for.
pub const CASCADE_JOB: &str = "records.cascade";
/// The types of jobs that only the system itself asks for, because something was put or deleted. Nobody else asks for one or
/// takes one back.
pub const SYSTEM_JOBS: [&str; 4] = [BUILD_JOB, CHECK_JOB, PURGE_JOB, CASCADE_JOB];
