//! What a client asks of a list.

use crate::error::{Error, Result};
use serde::Deserialize;

/// Records on a page unless asked otherwise, and at most.
const PAGE: (usize, usize) = (30, 100);
/// Most items a scan may read.
const MOST_SCANNED: u32 = 1_000;

/// What to list. The members are the parameters of the HTTP request.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListRequest {
    /// Which records, in the expression language.
    pub filter: Option<String>,
    /// In which order: fields, each with `-` where it descends.
    pub sort: Option<String>,
    /// How many.
    pub limit: Option<usize>,
    /// Where to go on: the `nextCursor` of the page before.
    pub cursor: Option<String>,
    /// Which members to show.
    pub fields: Option<String>,
    /// How many items may be read where no index holds exactly the records asked for.
    pub scan: Option<u32>,
    /// Explain the list instead of reading it.
    #[serde(default)]
    pub explain: bool,
    /// The relations to expand.
    pub expand: Option<String>,
    /// List what is deleted.
    #[serde(default)]
    pub deleted: bool,
    /// Count all records of the list.
    #[serde(default)]
    pub count: bool,
}

impl ListRequest {
    /// How many records a page of this list has.
    pub(super) fn page_size(&self) -> Result<usize> {
        if self.scan.is_some_and(|scan| !(1..=MOST_SCANNED).contains(&scan)) {
            return Err(Error::bad_request("scan", "scan is from 1 to 1000: the most items to read"));
        }
        let limit = self.limit.unwrap_or(PAGE.0);
        let least = if self.count { 0 } else { 1 };
        if (least..=PAGE.1).contains(&limit) {
            return Ok(limit);
        }
        Err(Error::bad_request("limit", "limit is from 1 to 100, or 0 with count=true for the count alone"))
    }
}
