//! What callers want written, decided: each intent and the record it is about become a write, with the condition under
//! which that decision still holds. `commit` makes them, all or none.

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
    /// Does what one intent says, by the shortest way there is: one conditional write where schema, rule and the absence of a
    /// key to keep allow it.
    ///
    /// # Errors
    /// `NotFound`, `PreconditionFailed`, `Conflict`, `Invalid`: as each kind of intent has them.
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
        written.into_iter().next().ok_or_else(|| Error::internal("a write without a record"))
    }

    /// Does what all intents say, or nothing. Without a version to hold on to it tries again on what another has left.
    ///
    /// # Errors
    /// Every intent that cannot be done, and why.
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
                    // Our own retry after a lost answer: the first try had arrived.
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
            source: Some("a record is written faster than it can be read".into()),
        }))
    }

    /// The records as they are, where the decisions need them: one round trip for all.
    async fn before(&self, intents: &[Intent]) -> Result<Vec<Option<Record>>> {
        self.each(&intents.iter().map(Intent::needs).collect::<Vec<_>>()).await
    }

    fn decide<'a>(&self, intent: &'a Intent, stored: Option<Record>, request: &str) -> Result<Write<'a>> {
        let (record, condition, held, unmoved) = match &intent.what {
            What::Create(data) => {
                size_shares::check(intent.grant.collection(), None, data)?;
                let absent = Expression::new("attribute_not_exists(pk)");
                (self.made(intent, data, request)?, absent, Vec::new(), Vec::new())
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

    /// A new record. It is as old as its id says: lists by time read the ids.
    fn made(&self, intent: &Intent, data: &Map<String, Value>, request: &str) -> Result<Record> {
        let created_at = rfc3339(id::millis(&intent.id).ok_or(Error::NotFound("record"))?);
        Ok(Record {
            id: intent.id.clone(),
            updated_at: self.now().max(created_at.clone()),
            created_at,
            version: 1,
            data: data.clone(),
            deleted: false,
            gone_at: None,
            written_by: intent.grant.caller().to_owned(),
            request_id: request.to_owned(),
        })
    }

    /// A stored record as it will be, if the caller may and the conditions hold. What they may not see does not exist (R64),
    /// and what is wrong with a change is told to those who may make one.
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
                    return Err(nowhere());
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

/// The unique values that are this record's already: they need no claim, and where a constraint is still to come its job claims
/// them. Of a record that the caller may not read, what they send is claimed anew: whether that takes an item of a transaction would
/// tell whether it is stored.
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

/// What a refused write means where trying again would not be right: the record is not what the client said it is.
fn lost(intent: &Intent) -> Option<Error> {
    match intent.what {
        What::Create(_) => {
            // That the id is taken cannot be hidden; how large the record is can.
            cost::withhold();
            Some(Error::PreconditionFailed("a record with this id exists, or has existed"))
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
