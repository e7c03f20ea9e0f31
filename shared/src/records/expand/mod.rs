//! `expand`: returns related records with the requested ones, each under its own collection's rules.
//!
//! `parse` turns the text into a tree of names, `resolve` turns the names into relations that this caller may follow, and
//! `level` follows them level by level. A record that the caller may not see is treated as missing: `null` for a forward
//! relation, absent from the list of a back-relation.

mod level;
mod parse;
mod resolve;
mod shown;

use super::operations::Operations;
use crate::error::{Error, Result};
use crate::identity::Caller;
use crate::schema::Collection;
use crate::store::record::Record;
use resolve::{Way, resolve};
use serde_json::{Map, Value};
use shown::with_expanded;

/// Maximum number of records that one response expands, counted before anything is read.
const MOST: usize = 500;

/// The relations to expand.
#[derive(Debug, Default)]
pub struct Expand {
    ways: Vec<Way>,
}

impl Expand {
    /// Reads `expand` for up to `records` records of `collection`. `None`: nothing to expand.
    ///
    /// # Errors
    /// `BadRequest` with the column of a wrong text, name or number. `Refused` if the other collection's indexes do not serve
    /// a back-relation.
    pub async fn read(
        operations: &Operations,
        caller: &Caller,
        collection: &Collection,
        text: Option<&str>,
        records: usize,
    ) -> Result<Self> {
        let Some(text) = text else { return Ok(Self::default()) };
        let terms = parse::parse(text).map_err(|error| Error::bad_request("expand", format!("expand, {error}")))?;
        let ways = resolve(operations, caller, collection, &terms).await?;
        let most = most(&ways, records);
        if most > MOST {
            let detail = format!(
                "This could expand {most} records, and a response expands at most {MOST}. Send a smaller limit, or give \
                 back-relations a limit, as in comments_via_post:5."
            );
            return Err(Error::bad_request("expand", detail));
        }
        Ok(Self { ways })
    }

    /// Whether nothing was requested.
    pub fn is_empty(&self) -> bool {
        self.ways.is_empty()
    }

    /// Adds `expanded` to each of `shown`, which represents `records` in the same order.
    pub async fn onto(
        &self,
        operations: &Operations,
        records: &[Record],
        shown: Vec<Map<String, Value>>,
    ) -> Result<Vec<Value>> {
        let parents: Vec<level::Parent> =
            records.iter().map(|record| level::Parent { record, ways: &self.ways }).collect();
        let mut expanded = level::expand(operations, &parents).await?.into_iter();
        Ok(shown.into_iter().map(|shown| with_expanded(shown, &self.ways, expanded.next())).collect())
    }

    /// What expanding up to `records` records reads, for `explain=true`.
    pub fn explain(&self, operations: &Operations, records: usize) -> Vec<Value> {
        self.ways.iter().flat_map(|way| way.explain(operations, "", records)).collect()
    }
}

/// The maximum number of expanded records.
fn most(ways: &[Way], records: usize) -> usize {
    ways.iter().map(|way| records * way.most() + most(&way.under, records * way.most())).sum()
}
