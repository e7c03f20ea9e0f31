//! One level of relations, followed for many records at once: one batch read for all forward relations and one query per
//! record for each back-relation, all in parallel.

use super::super::operations::Operations;
use super::resolve::{Leads, Way, back_plan};
use super::shown::with_expanded;
use crate::cost;
use crate::error::Result;
use crate::policy::Grant;
use crate::response_size;
use crate::store::record::Record;
use futures_util::future::try_join;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, HashMap};

/// Maximum number of parallel queries per level.
const AT_ONCE: usize = 16;

/// A record, and what to expand of it.
pub struct Parent<'a> {
    pub record: &'a Record,
    pub ways: &'a [Way],
}

/// A relation to follow from one id. It is followed once, even if several records lead to it.
type Step<'a> = (usize, &'a str);
type Steps<'a> = BTreeMap<Step<'a>, (&'a Way, &'a Grant)>;
type Found<'a> = BTreeMap<Step<'a>, Met>;

/// The records that a step leads to, with their size in the response.
#[derive(Default)]
struct Met {
    records: Vec<Record>,
    weight: usize,
}

/// The result of a level and all below it: the `expanded` member of each parent.
///
/// # Errors
/// `Refused` when the expanded records exceed the response limit, because they have no pages.
pub async fn expand(operations: &Operations, parents: &[Parent<'_>]) -> Result<Vec<Map<String, Value>>> {
    let steps: Steps = parents.iter().flat_map(steps).collect();
    let (mut found, back) = try_join(forward(operations, &steps), backward(operations, &steps)).await?;
    found.extend(back);
    // A record that several parents refer to is returned with each.
    let led = parents.iter().flat_map(|parent| parent.ways.iter().flat_map(|way| met(&found, parent.record, way)));
    light(led.map(|met| met.weight).sum())?;
    let below: Vec<Parent> = parents
        .iter()
        .flat_map(|parent| parent.ways.iter().map(|way| (way, records(&found, parent.record, way))))
        .flat_map(|(way, records)| records.into_iter().map(|record| Parent { record, ways: &way.under }))
        .collect();
    let mut below = if below.iter().all(|child| child.ways.is_empty()) {
        Vec::new().into_iter()
    } else {
        Box::pin(expand(operations, &below)).await?.into_iter()
    };
    let members = |parent: &Parent| -> Map<String, Value> {
        let of_way = |way: &Way| (way.name.clone(), way.member(&records(&found, parent.record, way), &mut below));
        parent.ways.iter().map(of_way).collect()
    };
    Ok(parents.iter().map(members).collect())
}

/// Whether a response can carry this size.
fn light(weight: usize) -> Result<()> {
    if weight <= response_size::MOST { Ok(()) } else { Err(response_size::TOO_LARGE()) }
}

/// The records that a relation leads to from this record.
fn met<'a>(found: &'a Found<'a>, from: &'a Record, way: &Way) -> Vec<&'a Met> {
    way.ids_of(from).into_iter().filter_map(|id| found.get(&(way.column, id))).collect()
}

fn records<'a>(found: &'a Found<'a>, from: &'a Record, way: &Way) -> Vec<&'a Record> {
    met(found, from, way).into_iter().flat_map(|met| &met.records).collect()
}

/// The relations to follow from a parent, as far as the caller may.
fn steps<'a>(parent: &Parent<'a>) -> Vec<(Step<'a>, (&'a Way, &'a Grant))> {
    let (record, ways) = (parent.record, parent.ways);
    let of_way = |way: &'a Way| {
        let grant = way.grant.as_ref();
        grant
            .into_iter()
            .flat_map(move |grant| way.ids_of(record).into_iter().map(move |id| ((way.column, id), (way, grant))))
    };
    ways.iter().flat_map(of_way).collect()
}

/// Every record that is pointed at, in one batch.
async fn forward<'a>(operations: &Operations, steps: &Steps<'a>) -> Result<Found<'a>> {
    let steps = steps.iter().filter(|(_, (way, _))| !matches!(way.leads, Leads::Back { .. }));
    let (steps, wanted): (Vec<Step>, Vec<(&Grant, Vec<&str>)>) =
        steps.map(|(step, (_, grant))| (*step, (*grant, vec![step.1]))).unzip();
    let found = operations.records.get_each(&wanted).await?;
    let unseen = wanted.iter().zip(&found).any(|((grant, _), found)| found.is_empty() && !grant.is_admin());
    if unseen {
        cost::withhold();
    }
    let met = |(grant, found): (&Grant, HashMap<String, Record>)| {
        let weight = found.values().map(|record| record.weight(grant)).sum();
        Met { records: found.into_values().collect(), weight }
    };
    let met = wanted.into_iter().zip(found).map(|((grant, _), found)| met((grant, found)));
    Ok(steps.into_iter().zip(met).collect())
}

/// The records that point back, one list per id.
async fn backward<'a>(operations: &Operations, steps: &Steps<'a>) -> Result<Found<'a>> {
    let mut queries = Vec::new();
    for (step, (way, grant)) in steps {
        if let Leads::Back { field, limit } = &way.leads {
            let plan = back_plan(way, grant, field, step.1)?;
            queries.push(async move {
                let listed = operations.records.list(grant, &plan, *limit, None).await?;
                // The list stopped at its size limit. An expanded list has no next page.
                if listed.next.is_some() && listed.records.len() < *limit {
                    return Err(response_size::TOO_LARGE());
                }
                let weight = listed.records.iter().map(|record| record.weight(grant)).sum();
                Ok((*step, Met { records: listed.records, weight }))
            });
        }
    }
    let (mut found, mut weight) = (Found::new(), 0);
    let mut lists = stream::iter(queries).buffer_unordered(AT_ONCE);
    while let Some((step, met)) = lists.try_next().await? {
        weight += met.weight;
        light(weight)?;
        found.insert(step, met);
    }
    Ok(found)
}

impl Way {
    /// What this relation adds to `expanded`: one record or `null` forward, a list from an array and backward.
    fn member(&self, met: &[&Record], below: &mut impl Iterator<Item = Map<String, Value>>) -> Value {
        let shown = |record: &&Record| {
            let shown = self.grant.as_ref().map(|grant| record.shown(grant)).unwrap_or_default();
            with_expanded(shown, &self.under, below.next())
        };
        let mut shown = met.iter().map(shown);
        match self.leads {
            Leads::To { .. } => shown.next().unwrap_or(Value::Null),
            Leads::ToMany { .. } | Leads::Back { .. } => shown.collect(),
        }
    }
}
