//! Doing what an intent says, and the answer to it: the same whether it is given now, kept for an idempotency key, or one of a
//! batch. Who may write a record may not be who may read it: the answer obeys the read rule.

use crate::intent::Begun;
use crate::{App, intent};
use axum::response::{IntoResponse, Response};
use undercroft::error::Result;
use undercroft::http::{IdempotencyKey, idempotent};
use undercroft::identity::Caller;
use undercroft::policy::Grant;
use undercroft::preconditions::etag;
use undercroft::store::idempotency::StoredResponse;
use undercroft::store::intent::PendingResponse;
use undercroft::store::intent::{Intent, What};
use undercroft::store::record::Record;

/// Writes what one intent says, once for a key.
pub async fn write(
    app: &App,
    caller: &Caller,
    idempotency_key: &IdempotencyKey,
    request: &str,
    begun: impl Future<Output = Result<Begun>>,
) -> Result<Response> {
    let scoped_key = idempotency_key.of(caller)?;
    let work = async {
        let intent = intent::ended(app, caller, begun.await?).await?;
        let answer = |records: &[&Record]| records.first().map(|record| to(&intent, record)).unwrap_or_default();
        let pending = scoped_key.as_ref().map(|scoped_key| PendingResponse { scoped_key, answer: &answer });
        let record = app.records.write_one(&intent, request, pending.as_ref()).await?;
        Ok(to(&intent, &record).into_response())
    };
    idempotent(scoped_key.as_ref(), app.records.table(), &app.clock, work).await
}

/// The answer to an intent that was done.
pub fn to(intent: &Intent, record: &Record) -> StoredResponse {
    let name = intent.grant.collection().name();
    let shown = |status| shown(status, &intent.grant, record);
    match intent.what {
        What::Delete => StoredResponse { status: 204, ..StoredResponse::default() },
        What::Create(_) => {
            StoredResponse { location: Some(format!("/v1/collections/{name}/records/{}", record.id)), ..shown(201) }
        }
        _ => shown(200),
    }
}

/// The record as the caller may read it: whole, or nothing but its id and version.
fn shown(status: u16, grant: &Grant, record: &Record) -> StoredResponse {
    let body = record.shown_to_writer(grant).into();
    StoredResponse { status, etag: Some(etag(record.version, grant.is_admin())), location: None, body: Some(body) }
}
