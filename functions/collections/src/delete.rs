//! `DELETE /v1/collections/{collection}` -> 204, once the collection holds no records.

use crate::{App, change};
use axum::extract::State;
use axum::response::Response;
use undercroft::error::{Error, Result};
use undercroft::http::{Admin, IfMatch, Path, no_content};
use undercroft::schema::Definition;
use undercroft::store::definitions::State as Stage;

/// Deletes an empty collection.
pub async fn delete(State(app): State<App>, _: Admin, Path(name): Path<String>, if_match: IfMatch) -> Result<Response> {
    if name == "users" {
        return Err(Error::Forbidden("the collection users is part of the house"));
    }
    let stored = app.definitions.get(&name).await?.filter(|stored| stored.stage != Stage::Gone);
    let stored = stored.ok_or(Error::NotFound("collection"))?;
    if !if_match.allows(stored.definition.version) {
        return Err(Error::PreconditionFailed("the definition is not of the version in If-Match: read it again"));
    }
    let announced = change::announce(&app, &stored).await?;
    let gone = Definition { version: announced + 1, ..stored.definition };
    app.definitions.put(&gone, Stage::Gone, announced).await?;
    Ok(no_content())
}
