//! Doing what an intent says, and the answer to it: the same whether it is given now, kept for an idempotency key, or one of a
//! batch. Who may write a record may not be who may read it: the answer obeys the read rule.

use crate::intent::Begun;
use crate::{App, intent};
use axum::response::{IntoResponse, Response};
use undercroft::error::Result;
use undercroft::http::{Keyed, answered_once};
use undercroft::identity::Caller;
use undercroft::policy::Grant;
use undercroft::preconditions::etag;
use undercroft::store::commit::Promise;
use undercroft::store::once::Answer;
use undercroft::store::record::Record;
use undercroft::store::write::{Intent, What};

/// Writes what one intent says, once for a key.
pub async fn write(
    app: &App,
    caller: &Caller,
    keyed: &Keyed,
    request: &str,
    begun: impl Future<Output = Result<Begun>>,
) -> Result<Response> {
    let once = keyed.of(caller)?;
    let work = async {
        let intent = intent::ended(app, caller, begun.await?).await?;
        let answer = |records: &[&Record]| records.first().map(|record| to(&intent, record)).unwrap_or_default();
        let promise = once.as_ref().map(|once| Promise { once, answer: &answer });
        let record = app.records.write_one(&intent, request, promise.as_ref()).await?;
        Ok(to(&intent, &record).into_response())
    };
    answered_once(once.as_ref(), app.records.table(), &app.clock, work).await
}

/// The answer to an intent that was done.
pub fn to(intent: &Intent, record: &Record) -> Answer {
    let name = intent.grant.collection().name();
    let shown = |status| shown(status, &intent.grant, record);
    match intent.what {
        What::Delete => Answer { status: 204, ..Answer::default() },
        What::Create(_) => {
            Answer { location: Some(format!("/v1/collections/{name}/records/{}", record.id)), ..shown(201) }
        }
        _ => shown(200),
    }
}

/// The record as the caller may read it: whole, or nothing but its id and version.
fn shown(status: u16, grant: &Grant, record: &Record) -> Answer {
    let body = record.shown_to_writer(grant).into();
    Answer { status, etag: Some(etag(record.version, grant.sees_all())), location: None, body: Some(body) }
}
