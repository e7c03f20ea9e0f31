//! Lists records, or explains how the list would be read. `deleted` lists tombstones.

use super::expand::Expand;
use super::list_request::ListRequest;
use super::operations::Operations;
use super::page::page;
use super::{count, deleted, refusal};
use crate::error::{Error, Result};
use crate::expr::{Expr, Input, Rule};
use crate::identity::Caller;
use crate::policy::{Grant, allow};
use crate::query::{ListQuery, Plan, SortField, parse_fields, parse_sort, plan};
use crate::store::list::Listed;
use serde_json::{Map, Value, json};

impl Operations {
    /// Lists records: one page, or with `explain` its plan.
    ///
    /// # Errors
    /// `Unauthenticated`, `NotFound`; `BadRequest`, naming the parameter; `Refused`, naming the index that the list needs.
    pub async fn list(&self, caller: &Caller, name: &str, request: &ListRequest) -> Result<Value> {
        let limit = request.page_size()?;
        if request.deleted {
            return deleted::list(self, caller, name, limit, request).await;
        }
        let collection = self.collection(name, caller, Rule::List).await?;
        let grant = allow(caller, Rule::List, &collection, self.clock.millis(), Input::None)?;
        let plan = planned(&grant, request, limit);
        match request.explain {
            true => explain(self, caller, &grant, limit, plan, request.expand.as_deref()).await,
            false => read(self, caller, &grant, limit, &plan?, request).await,
        }
    }
}

/// Reads a page.
async fn read(
    operations: &Operations,
    caller: &Caller,
    grant: &Grant,
    limit: usize,
    plan: &Plan,
    request: &ListRequest,
) -> Result<Value> {
    let counted = request.count.then(|| count::partitions(grant.collection(), plan)).transpose()?;
    let fields = fields(grant, request)?;
    let expand = Expand::read(operations, caller, grant.collection(), request.expand.as_deref(), limit).await?;
    let purpose = purpose(grant, caller, request);
    let position = operations.position(&purpose, request.cursor.as_deref()).await?;
    let (records, position) = (&operations.records, position.as_deref());
    let listed = match (limit, &plan.ids) {
        (0, _) => Listed::default(),
        (_, Some(ids)) => records.named(grant, (plan, ids), limit, position).await?,
        (_, None) => records.list(grant, plan, limit, position).await?,
    };
    let shown = listed.records.iter().map(|record| project(record.shown(grant), fields.as_deref())).collect();
    let items = expand.onto(operations, &listed.records, shown).await?;
    let mut page = page(operations, &purpose, items, listed.next.as_deref()).await?;
    if let Some(partitions) = counted {
        page.insert("count".into(), count::counted(operations, &partitions).await?);
    }
    Ok(page.into())
}

/// The plan of the list and its expected cost, or its refusal: `explain=true` never answers 422.
async fn explain(
    operations: &Operations,
    caller: &Caller,
    grant: &Grant,
    limit: usize,
    plan: Result<Plan>,
    expand: Option<&str>,
) -> Result<Value> {
    let expand = Expand::read(operations, caller, grant.collection(), expand, limit).await;
    let mut explained = Map::new();
    match plan {
        Ok(plan) => {
            explained.insert("plan".into(), plan.explain());
            explained.insert("expected".into(), json!(operations.records.expected(grant, &plan, limit)));
        }
        Err(error) => {
            explained.insert("refused".into(), refusal::explained(error)?);
        }
    }
    match expand {
        Ok(expand) if expand.is_empty() => None,
        Ok(expand) => explained.insert("expand".into(), expand.explain(operations, limit).into()),
        Err(error) => explained.insert("expand".into(), json!({ "refused": refusal::explained(error)? })),
    };
    Ok(explained.into())
}

fn planned(grant: &Grant, request: &ListRequest, limit: usize) -> Result<Plan> {
    let layout = grant.collection().layout();
    let filter = request.filter.as_deref().map(|text| Expr::filter(text, &layout.fields)).transpose();
    let filter = filter.map_err(|error| Error::bad_request("filter", format!("filter, {error}")))?;
    let sort: Vec<SortField> = match request.sort.as_deref() {
        None => Vec::new(),
        Some(text) => {
            parse_sort(text, &layout.fields).map_err(|error| Error::bad_request("sort", format!("sort, {error}")))?
        }
    };
    let query = ListQuery { rule: grant.residual(), filter: filter.as_ref(), sort: &sort, scan: request.scan };
    let plan = plan(layout, &query).map_err(refusal::of_list)?;
    // Sorting takes every record. A page that shows some of them would cost all of them.
    match (&plan.ids, plan.order.first()) {
        (Some(ids), Some(by)) if (1..ids.len()).contains(&limit) => Err(Error::bad_request(
            "limit",
            format!(
                "Sorting by `{}` reads all {} records that the filter names. Send limit={} or more, or sort by id.",
                by.field,
                ids.len(),
                ids.len()
            ),
        )),
        _ => Ok(plan),
    }
}

/// What a cursor is bound to: this caller, this version of the collection's definition, this query.
fn purpose(grant: &Grant, caller: &Caller, request: &ListRequest) -> String {
    let definition = grant.collection().definition();
    json!([
        "records",
        caller.id(),
        definition.name,
        definition.generation,
        definition.version,
        request.filter,
        request.sort,
        request.scan
    ])
    .to_string()
}

/// The requested fields. `None`: all of them.
fn fields(grant: &Grant, request: &ListRequest) -> Result<Option<Vec<String>>> {
    let visible = &grant.collection().layout().fields;
    let fields = request.fields.as_deref().map(|fields| parse_fields(fields, visible)).transpose();
    fields.map_err(|error| Error::bad_request("fields", format!("fields, {error}")))
}

/// Only the requested fields, always with the id.
fn project(record: Map<String, Value>, fields: Option<&[String]>) -> Map<String, Value> {
    let Some(fields) = fields else { return record };
    record.into_iter().filter(|(name, _)| name == "id" || fields.contains(name)).collect()
}
