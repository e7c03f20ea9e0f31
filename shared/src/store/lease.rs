//! How long a function acts on a definition that it remembers, and what follows from it.
//!
//! A definition is remembered for a lease. A write must begin at most [`WRITE_SECONDS`] after the lease of the definition it
//! was decided by has run out, and a call takes [`OPERATION_SECONDS`] at most. So a definition that replaces another, and is
//! stored by a call that takes as long, is the only one that anybody acts on after [`Lease::settled_millis`].

use crate::aws::OPERATION_SECONDS;
use crate::config::Env;
use crate::error::Source;
use crate::schema::Put;

/// How long after the lease has run out a call may still begin, in seconds. A write that met others and tries again, and a list
/// that reads page after page, stop then.
pub const WRITE_SECONDS: u64 = 2;
/// How far a client's clock, and so the time in an id of the client's, may be ahead of ours, in seconds.
const AHEAD_SECONDS: u64 = 60;
/// How long a caller who has not signed in is told of a collection that is not there without looking again, in milliseconds, if
/// the lease is not shorter.
const ABSENT_MILLIS: u64 = 1_000;

/// How long a definition is remembered, in milliseconds. The template's `DefinitionLease` says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease(u64);

impl Lease {
    /// A lease of so many milliseconds.
    pub const fn of_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// The lease that the environment variable `DEFINITION_LEASE` states in seconds, as in `5` or `0.5`.
    ///
    /// # Errors
    /// When the variable is missing, or no number of seconds from 0 to 60.
    pub fn from_env(env: &Env) -> Result<Self, Source> {
        let stated = env.required("DEFINITION_LEASE")?;
        let seconds = stated.parse::<f64>().ok().filter(|seconds| (0.0..=60.0).contains(seconds));
        let seconds = seconds.ok_or_else(|| format!("DEFINITION_LEASE is {stated:?}: state seconds from 0 to 60"))?;
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 60,000")]
        let millis = (seconds * 1_000.0).round() as u64;
        Ok(Self(millis))
    }

    /// The lease itself, in milliseconds.
    pub const fn millis(self) -> u64 {
        self.0
    }

    /// Until when a call may begin that was decided by a definition read at `read_at`. Both in milliseconds since the Unix epoch.
    pub const fn last_call(self, read_at: u64) -> u64 {
        read_at + self.0 + WRITE_SECONDS * 1_000
    }

    /// So many milliseconds after a definition was put, nobody acts on the one before any more.
    pub const fn settled_millis(self) -> u64 {
        self.0 + (OPERATION_SECONDS + WRITE_SECONDS + OPERATION_SECONDS) * 1_000
    }

    /// The same in whole seconds, rounded up.
    pub const fn settled_seconds(self) -> u64 {
        self.settled_millis().div_ceil(1_000)
    }

    /// So many milliseconds after a definition was put, every id that carries a later time is made by a function that acts on it.
    pub const fn heard_millis(self) -> u64 {
        self.settled_millis() + AHEAD_SECONDS * 1_000
    }

    /// A definition put at `now`, in milliseconds since the Unix epoch, with the job that would do its work.
    pub const fn put(self, now: u64, job: &str) -> Put<'_> {
        Put { now, in_force_at: now + self.settled_millis(), heard: now + self.heard_millis(), job }
    }

    /// How long it is remembered for callers who have not signed in that a collection is not there, in milliseconds.
    pub(super) fn absent_millis(self) -> u64 {
        self.0.min(ABSENT_MILLIS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_stated_in_seconds_and_fractions_of_them() {
        let lease = |stated: &str| Lease::from_env(&Env::from_iter([("DEFINITION_LEASE", stated)]));
        assert_eq!(lease("5").unwrap(), Lease::of_millis(5_000));
        assert_eq!(lease("0.5").unwrap(), Lease::of_millis(500));
        for wrong in ["", "-1", "61", "five", "NaN", "inf"] {
            assert!(lease(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn nothing_decided_by_the_definition_before_is_still_under_way_when_the_next_one_is_settled() {
        for millis in [0, 500, 5_000] {
            let lease = Lease::of_millis(millis);
            // Read at the last moment before the next one was stored, which took as long as a call may.
            let read_at = OPERATION_SECONDS * 1_000;
            let ended = lease.last_call(read_at) + OPERATION_SECONDS * 1_000;
            assert!(ended <= lease.settled_millis(), "{lease:?}");
        }
    }
}
