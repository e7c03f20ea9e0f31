//! `GET /v1/collections/{collection}/records?filter=&sort=&limit=&cursor=&fields=&expand=&scan=&count=&explain=` -> a page, or
//! the refusal that names the index it needs.

use crate::expand::Expand;
use crate::{App, count, deleted, refusal};
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use undercroft::error::{Error, Result};
use undercroft::expr::{Expr, Input, Rule};
use undercroft::http::{Bearer, HandlerResult, Path, Query};
use undercroft::identity::Caller;
use undercroft::policy::{Grant, allow};
use undercroft::query::{Plan, SortField, parse_fields, parse_sort, plan};
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
    pub cursor: Option<String>,
    fields: Option<String>,
    pub scan: Option<u32>,
    #[serde(default)]
    explain: bool,
    expand: Option<String>,
    #[serde(default)]
    deleted: bool,
    #[serde(default)]
    count: bool,
}

impl List {
    /// What was asked for that does not go with `deleted=true`.
    pub fn beside_deleted(&self) -> Option<&'static str> {
        let asked = [
            ("filter", self.filter.is_some()),
            ("sort", self.sort.is_some()),
            ("fields", self.fields.is_some()),
            ("expand", self.expand.is_some()),
            ("explain", self.explain),
            ("count", self.count),
        ];
        asked.into_iter().find(|(_, asked)| *asked).map(|(name, _)| name)
    }
}

/// Lists records.
pub async fn list(
    State(app): State<App>,
    Bearer(caller): Bearer,
    Path(name): Path<String>,
    Query(asked): Query<List>,
) -> HandlerResult<axum::Json<Value>> {
    let limit = check(&asked)?;
    if asked.deleted {
        return Ok(deleted::list(&app, &caller, &name, limit, &asked).await?);
    }
    let collection = app.collection(&name, &caller, Rule::List).await?;
    let grant = allow(&caller, Rule::List, &collection, app.clock.millis(), Input::None)?;
    let planned = planned(&grant, &asked);
    if asked.explain {
        let expand = Expand::read(&app, &caller, &collection, asked.expand.as_deref(), limit).await;
        return Ok(explain(&app, &grant, limit, planned, expand)?);
    }
    let plan = planned?;
    let counting = asked.count.then(|| count::partitions(&collection, &plan)).transpose()?;
    let fields = fields(&grant, &asked)?;
    let expand = Expand::read(&app, &caller, &collection, asked.expand.as_deref(), limit).await?;
    let purpose = purpose(&grant, &caller, &asked);
    let position = match &asked.cursor {
        None => None,
        Some(cursor) => Some(app.cursors.open(&purpose, cursor).await?),
    };
    let listed = match limit {
        0 => Listed::default(),
        limit => app.records.list(&grant, &plan, limit, position.as_deref()).await?,
    };
    let shown = listed.records.iter().map(|record| project(record.shown(&grant), fields.as_deref())).collect();
    let items = expand.onto(&app, &listed.records, shown).await?;
    let mut page = page(&app, &purpose, items, listed.next.as_deref()).await?;
    if let (Some(partitions), Some(members)) = (counting, page.as_object_mut()) {
        members.insert("count".into(), count::counted(&app, &partitions).await?);
    }
    Ok(page)
}

/// A page of a list, with the cursor to the next one.
pub async fn page(app: &App, purpose: &str, items: Vec<Value>, next: Option<&[u8]>) -> Result<axum::Json<Value>> {
    let mut page = Map::from_iter([("items".to_owned(), Value::Array(items))]);
    if let Some(next) = next {
        page.insert("nextCursor".into(), app.cursors.make(purpose, next).await?.into());
    }
    Ok(axum::Json(page.into()))
}

/// How the list would be read and what that is going to cost, or why it would be refused: `explain=true` is never a 422.
fn explain(
    app: &App,
    grant: &Grant,
    limit: usize,
    planned: Result<Plan>,
    expand: Result<Expand>,
) -> Result<axum::Json<Value>> {
    let mut explained = Map::new();
    match planned {
        Ok(plan) => {
            explained.insert("plan".into(), plan.explain());
            explained.insert("expected".into(), json!(app.records.expected(grant, &plan, limit)));
        }
        Err(error) => {
            explained.insert("refused".into(), refusal::explained(error)?);
        }
    }
    match expand {
        Ok(expand) if expand.is_empty() => None,
        Ok(expand) => explained.insert("expand".into(), expand.explain(app, limit).into()),
        Err(error) => explained.insert("expand".into(), json!({ "refused": refusal::explained(error)? })),
    };
    Ok(axum::Json(explained.into()))
}

fn check(asked: &List) -> Result<usize> {
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
    let query =
        undercroft::query::ListQuery { rule: grant.residual(), filter: filter.as_ref(), sort: &sort, scan: asked.scan };
    plan(layout, &query).map_err(refusal::of_list)
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

/// The fields asked for; `None`: all of them.
fn fields(grant: &Grant, asked: &List) -> Result<Option<Vec<String>>> {
    let visible = &grant.collection().layout().fields;
    let fields = asked.fields.as_deref().map(|fields| parse_fields(fields, visible)).transpose();
    fields.map_err(|error| Error::bad_request("fields", format!("fields, {error}")))
}

/// Only the fields asked for; the id is always there.
fn project(record: Map<String, Value>, fields: Option<&[String]>) -> Map<String, Value> {
    let Some(fields) = fields else { return record };
    record.into_iter().filter(|(name, _)| name == "id" || fields.contains(name)).collect()
}
