//! Responses to writes. They are the same if sent at once, stored for an idempotency key, or part of a batch.
//!
//! A caller who may write a record may lack the right to read it, so the response obeys the read rule.

use crate::App;
use axum::response::IntoResponse;
use undercroft::http::{HandlerResult, IdempotencyKey, idempotent};
use undercroft::identity::Caller;
use undercroft::policy::Grant;
use undercroft::preconditions::etag;
use undercroft::records::Operation;
use undercroft::store::idempotency::StoredResponse;
use undercroft::store::intent::{Intent, PendingResponse, What};
use undercroft::store::record::Record;

/// Makes one write, once for an idempotency key.
pub async fn write(
    app: &App,
    caller: &Caller,
    idempotency_key: &IdempotencyKey,
    request: &str,
    operation: Operation,
) -> HandlerResult {
    let scoped_key = idempotency_key.of(caller)?;
    let records = &app.operations.records;
    let work = async {
        let intent = app.operations.intent(caller, operation).await?;
        let to_response = |written: &[(&Intent, &Record)]| {
            written.first().map(|(intent, record)| of_write(intent, record)).unwrap_or_default()
        };
        let pending = scoped_key.as_ref().map(|scoped_key| PendingResponse { scoped_key, answer: &to_response });
        let written = records.write_one(&intent, request, pending.as_ref()).await?;
        Ok(of_write(&written.intent, &written.record).into_response())
    };
    Ok(idempotent(scoped_key.as_ref(), &records.stored_responses(), work).await?)
}

/// The response to a completed write.
pub fn of_write(intent: &Intent, record: &Record) -> StoredResponse {
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

/// The record as the caller may read it: complete, or only its id and version.
fn shown(status: u16, grant: &Grant, record: &Record) -> StoredResponse {
    let body = record.shown_to_writer(grant).into();
    StoredResponse { status, etag: Some(etag(record.version, grant.is_admin())), location: None, body: Some(body) }
}
