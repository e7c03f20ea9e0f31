//! `GET /v1/collections/{collection}/records?deleted=true&limit=&scan=&cursor=` -> what is deleted and not yet gone, with when
//! and by whom. For admins; to everybody else the answer says nothing of the collection, not even whether it is there.

use crate::App;
use crate::list::{List, page};
use serde_json::{Value, json};
use undercroft::error::{Error, Result};
use undercroft::expr::{Input, Rule};
use undercroft::identity::Caller;
use undercroft::policy::{Grant, allow};
use undercroft::store::deleted::Deleted;

/// Items read for a page unless asked otherwise.
const SCAN: u32 = 1_000;

/// Lists what is deleted, by id.
pub async fn list(app: &App, caller: &Caller, name: &str, limit: usize, asked: &List) -> Result<axum::Json<Value>> {
    match caller {
        Caller::Anonymous => return Err(Error::Unauthenticated("sign in first")),
        Caller::User(user) if !user.is_admin() => return Err(Error::Forbidden("only admins see what is deleted")),
        Caller::User(_) => {}
    }
    if let Some(other) = asked.beside_deleted() {
        let detail = format!("deleted=true is answered by id: it goes with limit, scan and cursor, not with {other}");
        return Err(Error::bad_request("deleted", detail));
    }
    let collection = app.collection(name, caller, Rule::List).await?;
    let grant = allow(caller, Rule::List, &collection, app.clock.millis(), Input::None)?;
    let purpose = json!(["deleted", caller.id(), name, collection.definition().generation]).to_string();
    let position = match &asked.cursor {
        None => None,
        Some(cursor) => Some(app.cursors.open(&purpose, cursor).await?),
    };
    let scan = usize::try_from(asked.scan.unwrap_or(SCAN)).unwrap_or(usize::MAX);
    let (records, next) = app.records.deleted(&grant, limit, scan, position.as_deref()).await?;
    let items = records.iter().map(|deleted| shown(deleted, &grant)).collect();
    page(app, &purpose, items, next.as_deref()).await
}

fn shown(deleted: &Deleted, grant: &Grant) -> Value {
    let mut shown = deleted.record.shown(grant);
    shown.insert("deletedAt".into(), deleted.at.clone().into());
    shown.insert("deletedBy".into(), deleted.by.clone().into());
    shown.into()
}
