//! Decides what callers want written: each intent and its stored record become a write, with the condition under which the
//! decision still holds. `commit` commits the writes, all or none.

use super::Expression;
use super::conditions::{OTHER_VERSION, alive};
use super::intent::{Committed, Failed, Intent, PendingResponse, What, Write};
use super::item::{self, number};
use super::merging::changed;
use super::record::Record;
use super::records::{Records, TRIES};
use super::references::Locks;
use super::size_shares;
use super::targets::unmoved;
use super::undelete::{self, brought_back};
use super::unique::{Marker, markers};
use super::unread_writes::withhold_price;
use crate::clock::rfc3339;
use crate::cost;
use crate::error::{Error, Result};
use crate::expr::Input;
use crate::id;
use serde_json::{Map, Value};

impl Records {
    /// Applies one intent by the shortest path: one conditional write if schema, rule and the absence of an idempotency key
    /// allow it.
    ///
    /// # Errors
    /// `NotFound`, `PreconditionFailed`, `Conflict` or `Invalid`, depending on the intent.
    pub async fn write_one(
        &self,
        intent: &Intent,
        request: &str,
        pending: Option<&PendingResponse<'_>>,
    ) -> Result<Record> {
        if pending.is_none()
            && let Some(record) = self.unread(intent, request).await?
        {
            return Ok(record);
        }
        let written = self.write(std::slice::from_ref(intent), request, pending).await.map_err(Failed::single)?;
        written.into_iter().next().ok_or_else(|| Error::internal("a write returned no record"))
    }

    /// Applies all intents or none. Without a required version it retries after a concurrent write.
    ///
    /// # Errors
    /// Every intent that cannot be applied, with its error.
    pub async fn write(
        &self,
        intents: &[Intent],
        request: &str,
        pending: Option<&PendingResponse<'_>>,
    ) -> Result<Vec<Record>, Failed> {
        let mut locks = Locks::of(request);
        let outcome = self.write_under(&mut locks, intents, request, pending).await;
        if outcome.is_err() {
            self.unlock(locks).await;
        }
        outcome
    }

    async fn write_under(
        &self,
        locks: &mut Locks<'_>,
        intents: &[Intent],
        request: &str,
        pending: Option<&PendingResponse<'_>>,
    ) -> Result<Vec<Record>, Failed> {
        for _ in 0..TRIES {
            self.in_time(intents)?;
            let stored = self.before(intents).await?;
            let decided = intents.iter().zip(stored).map(|(intent, stored)| self.decide(intent, stored, request));
            let mut writes = all_or_errors(decided)?;
            if !self.lock_restricted(&mut writes, locks).await? {
                continue;
            }
            match self.commit(&writes, pending).await.map_err(|failed| undelete::withheld(failed, &writes))? {
                Committed::Done => return Ok(writes.into_iter().map(|write| write.record).collect()),
                Committed::Refused { position, old } => {
                    // The SDK retried after a lost response: the first attempt succeeded.
                    if old.as_ref().and_then(|old| item::text(old, "rid")) == Some(request) {
                        return Ok(writes.into_iter().map(|write| write.record).collect());
                    }
                    if let Some(error) = writes.get(position).and_then(|write| lost(write.intent)) {
                        return Err(Failed::Each(vec![(position, error)]));
                    }
                }
            }
        }
        Err(Failed::Whole(Error::Unavailable {
            retry_after: 1,
            source: Some("the record kept changing between read and write".into()),
        }))
    }

    /// The stored records that the decisions need, in one round trip.
    async fn before(&self, intents: &[Intent]) -> Result<Vec<Option<Record>>> {
        self.each(&intents.iter().map(Intent::needs).collect::<Vec<_>>()).await
    }

    fn decide<'a>(&self, intent: &'a Intent, stored: Option<Record>, request: &str) -> Result<Write<'a>> {
        let (record, condition, held, unmoved) = match &intent.what {
            What::Create(data) => {
                size_shares::check(intent.grant.collection(), None, data)?;
                let absent = Expression::new("attribute_not_exists(pk)");
                (Self::made(intent, data, request)?, absent, Vec::new(), Vec::new())
            }
            what => {
                let stored = stored.filter(|record| self.is_there(record)).ok_or(Error::NotFound("record"))?;
                withhold_price(intent, &stored);
                let state = match what {
                    What::Undelete => Expression::new("attribute_exists(del)"),
                    _ => alive(),
                };
                let condition = state.and(Expression::new("v = :v").value(":v", number(stored.version)));
                let held = held(intent, &stored);
                let unmoved = unmoved(intent, &stored);
                (self.after(intent, stored, request)?, condition, held, unmoved)
            }
        };
        Ok(Write { intent, record, condition, held, unmoved })
    }

    /// A new record. Its `createdAt` is the time in its id, because lists by time read the ids. Its `updatedAt` is the time of
    /// the request, but never before `createdAt`.
    fn made(intent: &Intent, data: &Map<String, Value>, request: &str) -> Result<Record> {
        let created_at = rfc3339(id::millis(&intent.id).ok_or(Error::NotFound("record"))?);
        Ok(Record {
            id: intent.id.clone(),
            updated_at: intent.grant.asked_at().to_owned().max(created_at.clone()),
            created_at,
            version: 1,
            data: data.clone(),
            deleted: false,
            gone_at: None,
            written_by: intent.grant.caller().to_owned(),
            request_id: request.to_owned(),
        })
    }

    /// A stored record after the change, if rule and conditions allow it. A record the caller may not see counts as missing
    /// (R64). Validation errors go only to callers who may make the change.
    fn after(&self, intent: &Intent, stored: Record, request: &str) -> Result<Record> {
        let Intent { grant, preconditions, .. } = intent;
        let nowhere = || Error::NotFound("record");
        let data = match &intent.what {
            What::Undelete => brought_back(intent, &stored)?,
            _ if stored.deleted => return Err(nowhere()),
            What::Replace(_) | What::Merge(_) => {
                let (nothing, sent) = (Map::new(), intent.what.named(grant.collection()));
                let may = grant.allows(&stored.view(), Input::Change { whole: &stored.data, sent: &nothing });
                let data = changed(grant, &stored, &intent.what);
                let data = data.map_err(|error| if may { error } else { nowhere() })?;
                let input = Input::Change { whole: &data, sent: &sent };
                if !grant.allows(&stored.view(), input) {
                    return Err(grant.refusal(&stored.view(), input));
                }
                data
            }
            _ => stored.data.clone(),
        };
        if matches!(intent.what, What::Delete) && !grant.allows(&stored.view(), Input::None) {
            return Err(nowhere());
        }
        if !preconditions.allow(stored.version) {
            return Err(OTHER_VERSION);
        }
        Ok(Record {
            updated_at: self.now(),
            version: stored.version + 1,
            written_by: grant.caller().to_owned(),
            request_id: request.to_owned(),
            deleted: matches!(intent.what, What::Delete),
            gone_at: None,
            data,
            ..stored
        })
    }
}

/// The unique values that this record already holds. They need no claim; a job claims those of a constraint that is still
/// being built. If the caller may not read the record, every value they send is claimed again, because the number of
/// transaction items would reveal whether the value is stored.
fn held(intent: &Intent, stored: &Record) -> Vec<Marker> {
    if stored.deleted {
        return Vec::new();
    }
    let collection = intent.grant.collection();
    let markers = markers(collection, &stored.data).into_iter();
    if intent.grant.allows_reading(&stored.view()) {
        return markers.collect();
    }
    let sent = intent.what.named(collection);
    markers.filter(|marker| !marker.fields().iter().any(|field| sent.contains_key(field))).collect()
}

/// The error of a refused write that a retry cannot fix: the stored record differs from what the client required.
fn lost(intent: &Intent) -> Option<Error> {
    match intent.what {
        What::Create(_) => {
            // That the id exists cannot be hidden, but the size of the record can.
            cost::withhold();
            Some(Error::PreconditionFailed(
                "A record with this id exists or was deleted; replace it with If-Match, or use another id.",
            ))
        }
        _ if intent.preconditions.name_a_version() => Some(OTHER_VERSION),
        _ => None,
    }
}

fn all_or_errors<'a>(decided: impl Iterator<Item = Result<Write<'a>>>) -> Result<Vec<Write<'a>>, Failed> {
    let (mut writes, mut errors) = (Vec::new(), Vec::new());
    for (position, write) in decided.enumerate() {
        match write {
            Ok(write) => writes.push(write),
            Err(error) => errors.push((position, error)),
        }
    }
    if errors.is_empty() { Ok(writes) } else { Err(Failed::Each(errors)) }
}
