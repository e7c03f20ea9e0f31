//! Decides what callers want written: each intent and its stored record become a write, with the condition under which the
//! decision still holds. `commit` commits the writes, all or none.

use super::Expression;
use super::batch::pause;
use super::conditions::OTHER_VERSION;
use super::entries::EntryChanges;
use super::intent::{Committed, Failed, Intent, PendingResponse, What, Write, Written};
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
use super::upsert::{Resolved, distinct};
use crate::clock::rfc3339;
use crate::cost;
use crate::error::{Error, Result};
use crate::expr::Input;
use crate::id;
use serde_json::{Map, Value};
use std::borrow::Cow;

impl Records {
    /// Applies one intent by the shortest path: one conditional write if schema, rule and the absence of an idempotency key
    /// allow it.
    ///
    /// # Errors
    /// `NotFound`, `PreconditionFailed`, `Conflict` or `Invalid`, depending on the intent.
    pub async fn write_one<'a>(
        &self,
        intent: &'a Intent,
        request: &str,
        pending: Option<&PendingResponse<'_>>,
    ) -> Result<Written<'a>> {
        if pending.is_none()
            && let Some(record) = self.without_reading(intent, request).await?
        {
            return Ok(Written { intent: Cow::Borrowed(intent), record });
        }
        let written = self.write(std::slice::from_ref(intent), request, pending).await.map_err(Failed::single)?;
        written.into_iter().next().ok_or_else(|| Error::internal("a write returned no record"))
    }

    async fn without_reading(&self, intent: &Intent, request: &str) -> Result<Option<Record>> {
        match &intent.what {
            What::Operate(operators) => self.operate_unread(intent, operators, request).await,
            _ => self.unread(intent, request).await,
        }
    }

    /// Applies all intents or none. Without a required version it retries after a concurrent write.
    ///
    /// # Errors
    /// Every intent that cannot be applied, with its error.
    pub async fn write<'a>(
        &self,
        intents: &'a [Intent],
        request: &str,
        pending: Option<&PendingResponse<'_>>,
    ) -> Result<Vec<Written<'a>>, Failed> {
        let mut locks = Locks::of(request);
        let outcome = self.write_under(&mut locks, intents, request, pending).await;
        if outcome.is_err() {
            self.unlock(locks).await;
        }
        outcome
    }

    async fn write_under<'a>(
        &self,
        locks: &mut Locks<'_>,
        intents: &'a [Intent],
        request: &str,
        pending: Option<&PendingResponse<'_>>,
    ) -> Result<Vec<Written<'a>>, Failed> {
        for round in 0..tries(intents) {
            self.in_time(intents)?;
            let resolved = self.resolve(intents).await?;
            let mut writes = all_or_errors(resolved.iter().map(|one| self.decide(one, request)))?;
            distinct(&writes)?;
            if !self.lock_restricted(&mut writes, locks).await? {
                continue;
            }
            match self.commit(&writes, pending).await.map_err(|failed| undelete::withheld(failed, &writes))? {
                Committed::Done => {}
                // The SDK retried after a lost response: the first attempt succeeded.
                Committed::Refused { old: Some(old), .. } if item::text(&old, "rid") == Some(request) => {}
                Committed::Overtaken => {
                    tokio::time::sleep(pause(round)).await;
                    continue;
                }
                Committed::Refused { position, .. } => {
                    if let Some(error) = resolved.get(position).and_then(lost) {
                        return Err(Failed::Each(vec![(position, error)]));
                    }
                    // Operators and upserts are often sent side by side.
                    if tries(intents) > TRIES {
                        tokio::time::sleep(pause(round)).await;
                    }
                    continue;
                }
            }
            let records: Vec<Record> = writes.into_iter().map(|write| write.record).collect();
            let written = resolved.into_iter().zip(records);
            return Ok(written.map(|(one, record)| Written { intent: one.intent, record }).collect());
        }
        Err(Failed::Whole(Error::Unavailable {
            retry_after: 1,
            source: Some("the record kept changing between read and write".into()),
        }))
    }

    fn decide<'b>(&self, resolved: &'b Resolved<'_>, request: &str) -> Result<Write<'b>> {
        let Resolved { intent, stored, upsert } = resolved;
        let write = self.decided(intent, stored.clone(), request);
        let Some(upsert) = upsert else { return write };
        match write {
            Err(Error::NotFound(_)) => Err(upsert.refusal(&intent.preconditions)),
            Ok(write) => Ok(Write { missed: upsert.missed(intent), ..write }),
            write => write,
        }
    }

    fn decided<'b>(&self, intent: &'b Intent, stored: Option<Record>, request: &str) -> Result<Write<'b>> {
        let (record, condition, held, unmoved, entries) = match &intent.what {
            What::Create(data) => {
                size_shares::check(intent.grant.collection(), None, data)?;
                let mut record = Self::made(intent, data, request)?;
                let absent = match stored {
                    None => Expression::new("attribute_not_exists(pk)"),
                    // Over a tombstone. The version goes on, so that no entity tag means two states.
                    Some(deleted) => {
                        record.version = deleted.version + 1;
                        at_version("attribute_exists(del)", deleted.version)
                    }
                };
                let entries = EntryChanges::between(intent, None, &record)?;
                (record, absent, Vec::new(), Vec::new(), entries)
            }
            what => {
                let stored = stored.filter(|record| self.is_there(record)).ok_or(Error::NotFound("record"))?;
                withhold_price(intent, &stored);
                let state = match what {
                    What::Undelete => "attribute_exists(del)",
                    _ => "attribute_exists(pk) AND attribute_not_exists(del)",
                };
                let condition = at_version(state, stored.version);
                let held = held(intent, &stored);
                let unmoved = unmoved(intent, &stored);
                let before = intent.grant.collection().has_entries().then(|| stored.clone());
                let record = self.after(intent, stored, request)?;
                let entries = EntryChanges::between(intent, before.as_ref(), &record)?;
                (record, condition, held, unmoved, entries)
            }
        };
        Ok(Write { intent, record, condition, held, unmoved, entries, missed: None })
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
            What::Replace(_) | What::Merge(_) | What::Operate(_) | What::Migrate(_) => {
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

/// That the stored record is in this state and has this version.
fn at_version(state: &str, version: u64) -> Expression {
    Expression::new(state).and(Expression::new("v = :v").value(":v", number(version)))
}

/// How often a write is decided again after another one. Operators, and upserts of one value, are often sent side by side.
fn tries(intents: &[Intent]) -> usize {
    let is_contested = intents.iter().any(|intent| intent.is_relative() || matches!(intent.what, What::Upsert(_)));
    if is_contested { 2 * TRIES } else { TRIES }
}

/// The error of a refused write that a retry cannot fix: the stored record differs from what the client required.
fn lost(resolved: &Resolved<'_>) -> Option<Error> {
    match resolved.intent.what {
        _ if resolved.upsert.is_some() => None,
        What::Create(_) => {
            // That the id exists cannot be hidden, but the size of the record can.
            cost::withhold();
            Some(Error::PreconditionFailed(
                "A record with this id exists or was deleted; replace it with If-Match, or use another id.",
            ))
        }
        _ if resolved.intent.preconditions.name_a_version() => Some(OTHER_VERSION),
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
