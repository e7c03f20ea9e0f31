//! The parameters of a list.

use crate::error::{Error, Result};
use serde::Deserialize;

/// Default and maximum number of records per page.
const PAGE: (usize, usize) = (30, 100);
/// Maximum number of items a scan may read.
const MOST_SCANNED: u32 = 1_000;

/// The request. The members are the parameters of the HTTP request.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListRequest {
    /// The filter, in the expression language.
    pub filter: Option<String>,
    /// The sort order: fields, each with `-` for descending.
    pub sort: Option<String>,
    /// The maximum number of records.
    pub limit: Option<usize>,
    /// The `nextCursor` of the previous page.
    pub cursor: Option<String>,
    /// The members to return.
    pub fields: Option<String>,
    /// How many items may be read if no index contains exactly the requested records.
    pub scan: Option<u32>,
    /// Explain the list instead of reading it.
    #[serde(default)]
    pub explain: bool,
    /// The relations to expand.
    pub expand: Option<String>,
    /// List tombstones.
    #[serde(default)]
    pub deleted: bool,
    /// Count all records of the list.
    #[serde(default)]
    pub count: bool,
}

impl ListRequest {
    /// The number of records on a page of this list.
    pub(super) fn page_size(&self) -> Result<usize> {
        if self.scan.is_some_and(|scan| !(1..=MOST_SCANNED).contains(&scan)) {
            return Err(Error::bad_request(
                "scan",
                "scan is the maximum number of items to read and must be from 1 to 1000.",
            ));
        }
        let limit = self.limit.unwrap_or(PAGE.0);
        let least = if self.count { 0 } else { 1 };
        if (least..=PAGE.1).contains(&limit) {
            return Ok(limit);
        }
        Err(Error::bad_request("limit", "limit must be from 1 to 100, or 0 with count=true to get only the count."))
    }
}
