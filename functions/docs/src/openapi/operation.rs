//! One operation of the document, made from its route.

use super::refusals;
use serde_json::{Map, Value, json};
use undercroft::routes::{self, Policy, Route};
use undercroft::schema::Definition;

/// The cost header of routes that sometimes withhold it.
const NOT_ALWAYS: &str = "CostForAdmins";

/// How the operations of one collection are named and described.
pub(super) struct Naming<'a> {
    pub collection: Option<&'a Definition>,
}

impl Naming<'_> {
    /// The naming for any collection.
    pub fn plain() -> Self {
        Self { collection: None }
    }

    pub fn schema(&self, name: &str) -> String {
        schema(self.collection.map(|collection| collection.name.as_str()), name)
    }
}

pub(super) fn add(paths: &mut Map<String, Value>, path: &str, method: &str, operation: Value) {
    let item = paths.entry(path).or_insert_with(|| Value::Object(Map::new()));
    if let Some(operations) = item.as_object_mut() {
        operations.insert(method.to_owned(), operation);
    }
}

pub(super) fn operation(route: &Route, tag: &str, naming: &Naming<'_>) -> Value {
    let mut operation = Map::new();
    let mut set = |name: &str, value: Value| operation.insert(name.to_owned(), value);
    set("operationId", route.id.into());
    set("tags", json!([tag]));
    set("summary", route.summary.into());
    set("x-policy", route.policy.to_string().into());
    set("security", security(route.policy));
    set("responses", responses(route, naming));
    if !route.description.is_empty() {
        set("description", route.description.into());
    }
    let parameters: Vec<Value> = parameters(route, naming).map(|name| reference("parameters", name)).collect();
    if !parameters.is_empty() {
        set("parameters", parameters.into());
    }
    if let Some(body) = &route.body {
        let accepted = body.media.iter().map(|media| (*media, body.schema)).chain(body.other);
        let content: Map<String, Value> = accepted
            .map(|(media, schema)| {
                (media.to_owned(), json!({ "schema": reference("schemas", &naming.schema(schema)) }))
            })
            .collect();
        set("requestBody", json!({ "required": !body.optional, "content": content }));
    }
    Value::Object(operation)
}

fn security(policy: Policy) -> Value {
    match policy {
        Policy::Anyone => json!([]),
        Policy::AnyoneByToken | Policy::Session | Policy::EachOperation | Policy::Rules(_) => {
            json!([{ "bearer": [] }, {}])
        }
        Policy::SignedIn | Policy::Admin => json!([{ "bearer": [] }]),
    }
}

/// The parameters, those of the path first.
fn parameters<'a>(route: &'a Route, naming: &Naming<'_>) -> impl Iterator<Item = &'static str> + use<'a> {
    let of_any = naming.collection.is_none() && route.path.contains("{collection}");
    let id = match route.path {
        path if !path.contains("{id}") => None,
        path if path.starts_with("/v1/jobs/") => Some("JobId"),
        _ => Some("RecordId"),
    };
    of_any.then_some("Collection").into_iter().chain(id).chain(route.parameters.iter().copied())
}

fn responses(route: &Route, naming: &Naming<'_>) -> Value {
    let mut responses = Map::new();
    for answer in &route.answers {
        let headers = headers(cost(route, answer.status), &answer.headers);
        let mut response = json!({ "description": answer.means, "headers": headers });
        if let (Some((media, schema)), Some(members)) = (answer.body, response.as_object_mut()) {
            let schema = reference("schemas", &naming.schema(schema));
            members.insert("content".into(), json!({ media: { "schema": schema } }));
        }
        responses.insert(answer.status.to_string(), response);
    }
    if route.is_safe() && route.parameters.contains(&"IfNoneMatch") {
        let response =
            if route.withholds_cost() { unchanged(NOT_ALWAYS) } else { reference("responses", "NotModified") };
        responses.insert("304".into(), response);
    }
    for (status, reason) in refusals::of(route) {
        let mut response = match is_priced_as_most(route, status) {
            true => reference("responses", refusals::name(status)),
            false => refusal(status, NOT_ALWAYS, refusals::reason(status)),
        };
        if let (Some(reason), Some(members)) = (reason, response.as_object_mut()) {
            members.insert("description".into(), reason.into());
        }
        responses.insert(status.to_string(), response);
    }
    Value::Object(responses)
}

pub(super) fn all_refusals() -> Value {
    let routes: Vec<Route> = routes::all().into_iter().flat_map(|(_, routes)| routes).collect();
    let mut all: Map<String, Value> = refusals::among(&routes, is_priced_as_most)
        .map(|(status, name, reason)| (name.to_owned(), refusal(status, cost_of(status), reason)))
        .collect();
    all.insert("NotModified".into(), unchanged(cost_of(304)));
    Value::Object(all)
}

fn refusal(status: u16, cost: &str, reason: &str) -> Value {
    let content = json!({ "application/problem+json": { "schema": reference("schemas", "Problem") } });
    json!({ "description": reason, "headers": headers(cost, refusals::headers(status)), "content": content })
}

fn unchanged(cost: &str) -> Value {
    json!({ "description": "The caller already has the current version.", "headers": headers(cost, &["ETag"]) })
}

/// The cost header of a route's answer.
fn cost(route: &Route, status: u16) -> &'static str {
    if route.withholds_cost() { NOT_ALWAYS } else { cost_of(status) }
}

fn is_priced_as_most(route: &Route, status: u16) -> bool {
    cost(route, status) == cost_of(status)
}

/// The answer is the same on every route: a missing and a hidden record cost the same, and a stranger gets 401 for both.
fn cost_of(status: u16) -> &'static str {
    if matches!(status, 401 | 403 | 404) { NOT_ALWAYS } else { "Cost" }
}

fn headers(cost: &str, own: &[&str]) -> Value {
    let every = [("X-Request-Id", "Request-Id"), ("Undercroft-Cost", cost)];
    // An optional header is a separate component.
    let own = own.iter().map(|part| (part.strip_suffix("OfRecord").unwrap_or(part), *part));
    every.into_iter().chain(own).map(|(name, part)| (name.to_owned(), reference("headers", part))).collect()
}

pub(super) fn reference(kind: &str, name: &str) -> Value {
    json!({ "$ref": format!("#/components/{kind}/{name}") })
}

/// The name of a schema in the document. Record schemas are named per collection: the suffix is a single word, so the names of
/// two collections cannot collide.
pub fn schema(collection: Option<&str>, name: &str) -> String {
    let part = match name {
        "Record" => "record",
        "RecordInput" => "input",
        "RecordUpsert" => "upsert",
        "RecordPatch" => "patch",
        "PatchedRecord" => "patched",
        "WrittenRecord" => "written",
        "RecordPage" => "page",
        "RecordList" => "list",
        "DeletedPage" => "deletions",
        "DeletedRecord" => "deleted",
        other => return other.to_owned(),
    };
    collection.map_or_else(|| name.to_owned(), |collection| format!("{collection}_{part}"))
}
