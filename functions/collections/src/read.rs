//! `GET /v1/collections` and `GET /v1/collections/{collection}`: definitions as they were put, with their version and what they wait for.

use crate::App;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::ETAG;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use undercroft::error::{Error, Result};
use undercroft::http::{Admin, Path, Preconditions, etag};
use undercroft::schema::Definition;
use undercroft::store::definitions::State as Stage;

/// All definitions, by name. The built-in `users` is among them.
pub async fn list(State(app): State<App>, _: Admin) -> Result<axum::Json<Value>> {
    let mut items: Vec<Value> = app.definitions.all().await?.iter().map(|stored| shown(&stored.definition)).collect();
    items.push(shown(&Definition::users()));
    items.sort_by_key(|item| item.get("name").and_then(Value::as_str).unwrap_or_default().to_owned());
    Ok(axum::Json(json!({ "items": items })))
}

/// One definition.
pub async fn one(
    State(app): State<App>,
    _: Admin,
    Path(name): Path<String>,
    preconditions: Preconditions,
) -> Result<Response> {
    let definition = if name == "users" {
        Definition::users()
    } else {
        let stored = app.definitions.get(&name).await?.filter(|stored| stored.stage != Stage::Gone);
        stored.ok_or(Error::NotFound("collection"))?.definition
    };
    let tag = etag(definition.version, true);
    if preconditions.hold_read(definition.version, &tag)? {
        return Ok((StatusCode::NOT_MODIFIED, [(ETAG, tag)]).into_response());
    }
    Ok(([(ETAG, tag)], axum::Json(shown(&definition))).into_response())
}

/// A definition as the API shows it: what was put, its version, which indexes are ready, and while there is work to do, the job
/// that does it and the definition that waits for it.
pub fn shown(definition: &Definition) -> Value {
    let mut shown = definition.as_put();
    let indexes = shown.get_mut("indexes").and_then(Value::as_array_mut).into_iter().flatten();
    for (index, known) in indexes.zip(&definition.indexes) {
        index.as_object_mut().map(|members| members.insert("ready".into(), known.ready.into()));
    }
    if let Some(members) = shown.as_object_mut() {
        members.insert("version".into(), definition.version.into());
        members.insert("status".into(), definition.status().into());
        if let Some(work) = &definition.work {
            members.insert("job".into(), work.job.as_str().into());
            members.extend(work.next.clone().map(|next| ("next".to_owned(), next)));
        }
    }
    shown
}
