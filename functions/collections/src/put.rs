//! `PUT /v1/collections/{collection}`: defines a collection, or changes its definition.
//!
//! What only says who may do what, or allows more than before, is one write. What changes how records are stored is done to
//! a collection that holds none, and waits until no function can still be writing the old way.

use crate::App;
use crate::change::{self, Effect};
use crate::read::shown;
use crate::relations;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::ETAG;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::Value;
use undercroft::error::{Error, Result};
use undercroft::http::{Admin, IfMatch, IfNoneMatch, Json, Path, Query, etag};
use undercroft::schema::Definition;
use undercroft::store::definitions::{MAX_COLLECTIONS, State as Stage, Stored};

/// Parameters of a put.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Options {
    #[serde(default)]
    dry_run: bool,
}

/// Defines a collection: 201 for a new one, 200 for a changed one, with the definition.
pub async fn put(
    State(app): State<App>,
    _: Admin,
    Path(name): Path<String>,
    Query(options): Query<Options>,
    if_match: IfMatch,
    if_none_match: IfNoneMatch,
    Json(body): Json<Value>,
) -> Result<Response> {
    if options.dry_run {
        return Err(Error::NotBuilt("dryRun"));
    }
    if name == "users" {
        return Err(Error::NotBuilt("changing the built-in collection users"));
    }
    let stored = app.definitions.get(&name).await?;
    let alive = stored.as_ref().filter(|stored| stored.stage != Stage::Gone);
    if alive.is_some() && if_none_match == IfNoneMatch::Any {
        return Err(Error::PreconditionFailed("a collection of this name exists"));
    }
    if alive.is_none() && app.definitions.all().await?.len() >= MAX_COLLECTIONS {
        return Err(Error::conflict("too_many", format!("a stack has at most {MAX_COLLECTIONS} collections")));
    }
    if if_match.is_sent() && !alive.is_some_and(|stored| if_match.allows(stored.definition.version)) {
        return Err(Error::PreconditionFailed("the definition is not of the version in If-Match: read it again"));
    }
    let mut definition =
        Definition::parse(&name, body, stored.as_ref().map(|stored| &stored.definition)).map_err(Error::Invalid)?;
    relations::check(&app, &definition).await?;

    let previous = stored.as_ref().map_or(0, |stored| stored.definition.version);
    let status = if alive.is_some() { StatusCode::OK } else { StatusCode::CREATED };
    match alive {
        None => definition.generation += u32::from(stored.is_some()),
        // Putting what leaves records where they are also ends a change that was announced and never made.
        Some(old) => match change::effect(&old.definition, &definition) {
            Effect::None if old.stage == Stage::Ready => definition.version = previous,
            Effect::None | Effect::Rules => {}
            Effect::Storage => {
                let announced = change::announce(&app, old).await?;
                definition.generation += 1;
                definition.version = announced + 1;
                app.definitions.put(&definition, Stage::Ready, announced).await?;
                return Ok(answer(status, definition));
            }
        },
    }
    if definition.version != previous {
        app.definitions.put(&definition, Stage::Ready, previous).await?;
    }
    Ok(answer(status, definition))
}

fn answer(status: StatusCode, definition: Definition) -> Response {
    let tag = etag(definition.version, true);
    let stored = Stored { definition, stage: Stage::Ready };
    (status, [(ETAG, tag)], axum::Json(shown(&stored))).into_response()
}
