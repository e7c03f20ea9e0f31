//! `GET /v1/collections/{collection}/records?filter=&sort=&limit=&cursor=&fields=&scan=&count=&explain=` -> a page, or the
//! refusal that names the index it needs.

use crate::{App, count};
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use undercroft::error::{Error, Result};
use undercroft::expr::{Expr, Rule};
use undercroft::http::{Path, Query};
use undercroft::identity::Caller;
use undercroft::policy::{Grant, allow};
use undercroft::query::{Plan, Refusal, SortField, parse_fields, parse_sort, plan};
use undercroft::store::list::Listed;

/// Records on a page unless asked otherwise, and at most.
const PAGE: (usize, usize) = (30, 100);
/// Most items a scan may read.
const MOST_SCANNED: u32 = 1_000;

/// What to list.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct List {
    filter: Option<String>,
    sort: Option<String>,
    limit: Option<usize>,
    cursor: Option<String>,
    fields: Option<String>,
    scan: Option<u32>,
    #[serde(default)]
    explain: bool,
    expand: Option<String>,
    #[serde(default)]
    count: bool,
}

/// Lists records.
pub async fn list(
    State(app): State<App>,
    caller: Caller,
    Path(name): Path<String>,
    Query(asked): Query<List>,
) -> Result<axum::Json<Value>> {
    let limit = check(&asked)?;
    let collection = app.collection(&name, &caller, Rule::List).await?;
    let grant = allow(&caller, Rule::List, &collection, app.clock.millis())?;
    let plan = planned(&grant, &asked)?;
    let counting = asked.count.then(|| count::partitions(&collection, &plan)).transpose()?;
    if asked.explain {
        return Ok(axum::Json(json!({ "plan": plan.explain() })));
    }
    let purpose = purpose(&grant, &caller, &asked);
    let position = match &asked.cursor {
        None => None,
        Some(cursor) => Some(app.cursors.open(&purpose, cursor).await?),
    };
    let fields = asked.fields.as_deref().map(|fields| parse_fields(fields, &collection.layout().fields)).transpose();
    let fields = fields.map_err(|error| Error::bad_request("fields", error.to_string()))?;
    let listed = match limit {
        0 => Listed::default(),
        limit => app.records.list(&grant, &plan, limit, position.as_deref()).await?,
    };
    let items: Vec<Value> =
        listed.records.iter().map(|record| project(record.shown(&grant), fields.as_deref())).collect();
    let mut page = json!({ "items": items });
    if let (Some(next), Some(members)) = (listed.next, page.as_object_mut()) {
        members.insert("nextCursor".into(), app.cursors.make(&purpose, &next).await?.into());
    }
    if let (Some(partitions), Some(members)) = (counting, page.as_object_mut()) {
        members.insert("count".into(), count::counted(&app, &partitions).await?);
    }
    Ok(axum::Json(page))
}

fn check(asked: &List) -> Result<usize> {
    if asked.expand.is_some() {
        return Err(Error::NotBuilt("expand"));
    }
    if asked.scan.is_some_and(|scan| !(1..=MOST_SCANNED).contains(&scan)) {
        return Err(Error::bad_request("scan", "scan is from 1 to 1000: the most items to read"));
    }
    let limit = asked.limit.unwrap_or(PAGE.0);
    let least = if asked.count { 0 } else { 1 };
    if (least..=PAGE.1).contains(&limit) {
        return Ok(limit);
    }
    Err(Error::bad_request("limit", "limit is from 1 to 100, or 0 with count=true for the count alone"))
}

fn planned(grant: &Grant, asked: &List) -> Result<Plan> {
    let layout = grant.collection().layout();
    let filter = asked.filter.as_deref().map(|text| Expr::filter(text, &layout.fields)).transpose();
    let filter = filter.map_err(|error| Error::bad_request("filter", format!("filter, {error}")))?;
    let sort: Vec<SortField> = match asked.sort.as_deref() {
        None => Vec::new(),
        Some(text) => {
            parse_sort(text, &layout.fields).map_err(|error| Error::bad_request("sort", format!("sort, {error}")))?
        }
    };
    let query = undercroft::query::Query { rule: grant.left(), filter: filter.as_ref(), sort: &sort, scan: asked.scan };
    plan(layout, &query).map_err(refused)
}

/// A list that no index serves.
pub fn refused(refusal: Refusal) -> Error {
    let mut advice = Map::new();
    if let Some(index) = refusal.add_index {
        advice.insert("addIndex".into(), index);
    }
    Error::Refused { code: refusal.code, detail: refusal.message, advice }
}

/// What a cursor is bound to: this caller, this definition of this collection, this question.
fn purpose(grant: &Grant, caller: &Caller, asked: &List) -> String {
    let definition = grant.collection().definition();
    json!([
        "records",
        caller.id(),
        definition.name,
        definition.generation,
        definition.version,
        asked.filter,
        asked.sort,
        asked.scan
    ])
    .to_string()
}

/// Only the fields asked for; the id is always there.
fn project(record: Map<String, Value>, fields: Option<&[String]>) -> Value {
    let Some(fields) = fields else { return Value::Object(record) };
    record.into_iter().filter(|(name, _)| name == "id" || fields.contains(name)).collect::<Map<_, _>>().into()
}
