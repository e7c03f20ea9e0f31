//! Leases: how long a function may act on a cached definition.
//!
//! A definition is cached for one lease. A write must begin at most [`WRITE_SECONDS`] after the lease of its definition has
//! ended, and a call takes at most [`OPERATION_SECONDS`]. Storing a new definition takes at most one call too, so after
//! [`Lease::settled_millis`] no function acts on the previous definition.

use crate::aws::OPERATION_SECONDS;
use crate::config::Env;
use crate::error::Source;
use crate::schema::Put;

/// How long after the end of the lease a call may begin, in seconds. Retries of a write and further pages of a list stop
/// then.
pub const WRITE_SECONDS: u64 = 2;
/// How far a client's clock, and so the time in a client's id, may be ahead of the server's, in seconds.
const AHEAD_SECONDS: u64 = 60;
/// How long a missing collection is cached for anonymous callers, in milliseconds, unless the lease is shorter.
const ABSENT_MILLIS: u64 = 1_000;

/// How long a definition is cached, in milliseconds. Set by the template's `DefinitionLease`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease(u64);

impl Lease {
    /// A lease of this many milliseconds.
    pub const fn of_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// The lease that the environment variable `DEFINITION_LEASE` gives in seconds, as in `5` or `0.5`.
    ///
    /// # Errors
    /// When the variable is missing or not a number of seconds from 0 to 60.
    pub fn from_env(env: &Env) -> Result<Self, Source> {
        let stated = env.required("DEFINITION_LEASE")?;
        let seconds = stated.parse::<f64>().ok().filter(|seconds| (0.0..=60.0).contains(seconds));
        let seconds = seconds
            .ok_or_else(|| format!("DEFINITION_LEASE is {stated:?}. Set it to a number of seconds from 0 to 60."))?;
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 60,000")]
        let millis = (seconds * 1_000.0).round() as u64;
        Ok(Self(millis))
    }

    /// The lease itself, in milliseconds.
    pub const fn millis(self) -> u64 {
        self.0
    }

    /// Until when a call may begin that a definition read at `read_at` decided. Both are milliseconds since the Unix epoch.
    pub const fn last_call(self, read_at: u64) -> u64 {
        read_at + self.0 + WRITE_SECONDS * 1_000
    }

    /// This many milliseconds after a definition was put, no function acts on the previous one.
    pub const fn settled_millis(self) -> u64 {
        self.0 + (OPERATION_SECONDS + WRITE_SECONDS + OPERATION_SECONDS) * 1_000
    }

    /// The same in whole seconds, rounded up.
    pub const fn settled_seconds(self) -> u64 {
        self.settled_millis().div_ceil(1_000)
    }

    /// This many milliseconds after a definition was put, every id with a later time comes from a function that acts on it.
    pub const fn known_millis(self) -> u64 {
        self.settled_millis() + AHEAD_SECONDS * 1_000
    }

    /// A definition put at `now`, in milliseconds since the Unix epoch, with the job that would run for it.
    pub const fn put(self, now: u64, job: &str) -> Put<'_> {
        Put { now, in_force_at: now + self.settled_millis(), ids_settled_at: now + self.known_millis(), job }
    }

    /// How long a missing collection is cached for anonymous callers, in milliseconds.
    pub(super) fn absent_millis(self) -> u64 {
        self.0.min(ABSENT_MILLIS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_set_in_seconds_and_fractions() {
        let lease = |stated: &str| Lease::from_env(&Env::from_iter([("DEFINITION_LEASE", stated)]));
        assert_eq!(lease("5").unwrap(), Lease::of_millis(5_000));
        assert_eq!(lease("0.5").unwrap(), Lease::of_millis(500));
        for wrong in ["", "-1", "61", "five", "NaN", "inf"] {
            assert!(lease(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn no_call_by_the_previous_definition_runs_after_the_next_is_settled() {
        for millis in [0, 500, 5_000] {
            let lease = Lease::of_millis(millis);
            // Read at the last moment before the next definition was stored, and the store call took the maximum time.
            let read_at = OPERATION_SECONDS * 1_000;
            let ended = lease.last_call(read_at) + OPERATION_SECONDS * 1_000;
            assert!(ended <= lease.settled_millis(), "{lease:?}");
        }
    }
}
