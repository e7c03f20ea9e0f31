//! Records that a job could not write. They stop no other record, but the job does not succeed without them.

use super::failure::{Failure, in_words};
use serde::{Deserialize, Serialize};
use undercroft::error::Error;

/// Maximum characters of a stored error of a record.
const REASON: usize = 300;

/// How many records could not be written, and why not.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Stuck {
    count: u64,
    /// The first of them, and why.
    first: Option<(String, String)>,
}

impl Stuck {
    /// Notes a record and its error.
    pub fn note(&mut self, id: &str, error: &Error) {
        self.count += 1;
        self.first.get_or_insert_with(|| (id.to_owned(), in_words(error).chars().take(REASON).collect()));
    }

    /// The failure of a pass that ends with such records, and how many such passes there were in a row, counted in `failed`. The
    /// `most`th is the last.
    pub fn failure(&self, what: &str, failed: &mut u32, most: u32) -> Option<(Failure, u32)> {
        let (id, error) = self.first.as_ref()?;
        let reason = format!("{what}: {}. The first is {id}: {error}", self.count);
        let times = *failed + 1;
        let is_last = times >= most;
        // A redrive gives it all attempts again.
        *failed = if is_last { 0 } else { times };
        Some((if is_last { Failure::last(reason) } else { Failure::new(reason) }, times))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.first.is_none()
    }
}
