//! `expand`: the records that a list or a read leads to, beside the ones asked for, each under its own collection's rules.
//!
//! The text becomes a tree of names (`parse`), the names become relations that this caller may follow (`resolve`), and those
//! are followed level by level (`level`). What the caller may not see is as absent as what is not there: `null` where a
//! relation points forward, missing from the list where it points back.

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

/// Most records that one answer expands, counted before anything is read.
const MOST: usize = 500;

/// What is to be expanded.
#[derive(Debug, Default)]
pub struct Expand {
    ways: Vec<Way>,
}

impl Expand {
    /// Reads `expand` as asked of up to `records` records of `collection`. `None`: nothing is to be expanded.
    ///
    /// # Errors
    /// `BadRequest` with the column where the text, a name or a number is wrong; `Refused` as the list of the other collection
    /// would be where its indexes do not serve a back-relation.
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
                "this could expand {most} records and an answer expands at most {MOST}: \
                 ask for a smaller limit, or give back-relations one, as in comments_via_post:5"
            );
            return Err(Error::bad_request("expand", detail));
        }
        Ok(Self { ways })
    }

    /// Whether nothing was asked for.
    pub fn is_empty(&self) -> bool {
        self.ways.is_empty()
    }

    /// Adds `expanded` to each of `shown`, which shows `records` in the same order.
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

/// How many records could come of this at most.
fn most(ways: &[Way], records: usize) -> usize {
    ways.iter().map(|way| records * way.most() + most(&way.under, records * way.most())).sum()
}
