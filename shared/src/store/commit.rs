//! Commits decided writes, all or none. A single write without dependencies is one conditional write. Otherwise one
//! transaction contains the writes, the unique values they claim, checks of the records they point at, and the response
//! stored for an idempotency key.

use super::batch::pause;
use super::idempotency::in_progress;
use super::intent::{Committed, Failed, Intent, PendingResponse, Target, What, Write};
use super::item::Item;
use super::record::{Record, key};
use super::records::{Records, TRIES};
use super::target_checks::TargetCheck;
use super::targets::nowhere;
use super::unique::{Marker, markers};
use super::{Expression, TransactionOutcome, WriteOutcome, write_limits};
use crate::cost;
use crate::error::{Error, Result};
use crate::schema::Collection;
use aws_sdk_dynamodb::types::{Put, ReturnValuesOnConditionCheckFailure, TransactWriteItem, Update};
use std::collections::HashMap;

/// Maximum number of items in a transaction (DynamoDB).
const MAX_ITEMS: usize = 100;

/// A claim of a unique value, possibly taken over from a record that no longer holds it.
struct Claim<'a> {
    position: usize,
    write: &'a Write<'a>,
    marker: Marker,
    from: Option<String>,
}

/// A record that was read and no longer holds a value, with the version it had, if it existed.
struct Unheld {
    key: Item,
    version: Option<u64>,
}

/// The items that a transaction contains regardless of claims, in this order: the writes, the target checks, the references
/// to the targets, the entries in indexes over elements, the stored response.
struct Fixed<'a> {
    items: Vec<TransactWriteItem>,
    writes: usize,
    targets: Vec<TargetCheck<'a>>,
    keeps_answer: bool,
    /// Claims and entries to count for records the caller may not read, as if they claimed every unique value and had as many
    /// entries as they may have, so the count does not reveal which values they hold.
    withheld: usize,
}

impl Records {
    /// Commits the writes.
    ///
    /// # Errors
    /// `Conflict` when another record holds a unique value. `Invalid` when a target does not exist. Each error names its
    /// write.
    pub(super) async fn commit(
        &self,
        writes: &[Write<'_>],
        pending: Option<&PendingResponse<'_>>,
    ) -> Result<Committed, Failed> {
        self.in_time(writes.iter().map(|write| write.intent))?;
        if writes.iter().any(|write| write.intent.may_claim()) {
            // The caller may not know who holds or held a value, so the cost is withheld whether or not anyone does.
            cost::withhold();
        }
        let mut claims = claims(writes)?;
        let targets = self.seen(targets(writes)?).await?;
        if let ([write], true, true, None) = (writes, claims.is_empty(), targets.is_empty(), pending)
            && write.entries.is_empty()
        {
            return Ok(self.alone(write).await?);
        }
        let fixed = self.fixed(writes, targets, pending)?;
        let mut unheld: HashMap<String, Unheld> = HashMap::new();
        for round in 0..TRIES {
            self.in_time(writes.iter().map(|write| write.intent))?;
            let mut all = fixed.items.clone();
            for claim in &claims {
                all.push(claim.marker.reserve(self.table().name(), &claim.write.record.id, claim.from.as_deref())?);
            }
            for seen in unheld.values() {
                fixed.look_at(seen, &mut all, self)?;
            }
            if all.len() + fixed.withheld > MAX_ITEMS {
                // Checks of records that held a claimed value before are not counted: the number would reveal that there are any.
                let items = fixed.items.len() + claims.len() + fixed.withheld;
                return Err(Failed::Whole(too_many(items.max(MAX_ITEMS + 1))));
            }
            let table = if is_once(writes, pending) { &self.table().once() } else { self.table() };
            let reasons = match table.transact(all).await? {
                TransactionOutcome::Done => return Ok(Committed::Done),
                TransactionOutcome::Conflicted(positions)
                    if fixed.keeps_answer && positions.contains(&(fixed.items.len() - 1)) =>
                {
                    return Err(Failed::Whole(in_progress()));
                }
                // Concurrent checks of the same target can fail with TransactionConflict.
                TransactionOutcome::Conflicted(_) => {
                    tokio::time::sleep(pause(round)).await;
                    continue;
                }
                TransactionOutcome::Cancelled(reasons) => reasons,
            };
            let (of_fixed, of_claims) = reasons.split_at(fixed.items.len().min(reasons.len()));
            if let Some(refused) = fixed.settled(of_fixed)? {
                return Ok(refused);
            }
            if !self.look_at_holders(writes, of_claims, &mut claims, &mut unheld).await? {
                return Ok(Committed::Overtaken);
            }
        }
        Err(Failed::Whole(Error::Unavailable {
            retry_after: 1,
            source: Some("other requests kept writing the same items or claiming the same unique value".into()),
        }))
    }

    /// Reads the records that hold the refused values. If such a record no longer holds its value, the claim takes the value
    /// over on the condition that the record has not changed since. `false`: an upsert has to change the holder instead.
    async fn look_at_holders(
        &self,
        writes: &[Write<'_>],
        of_claims: &[Option<Option<Item>>],
        claims: &mut [Claim<'_>],
        unheld: &mut HashMap<String, Unheld>,
    ) -> Result<bool, Failed> {
        // A record that had released its value has been written since: read the current holder of the value again.
        if of_claims.iter().skip(claims.len()).any(Option::is_some) {
            unheld.clear();
            claims.iter_mut().for_each(|claim| claim.from = None);
        }
        for (claim, reason) in claims.iter_mut().zip(of_claims) {
            let Some(Some(found)) = reason else { continue };
            let holder = Marker::holder(found).unwrap_or_default();
            if !lets_go(writes, claim, holder) {
                let collection = claim.write.intent.grant.collection();
                match self.no_longer_held(collection, &claim.marker, holder).await {
                    Ok(seen) => drop(unheld.insert(holder.to_owned(), seen)),
                    Err(Error::Conflict { .. }) if claim.write.missed.is_some_and(|key| key.is(&claim.marker)) => {
                        return Ok(false);
                    }
                    Err(error) => return Err(Failed::Each(vec![(claim.position, error)])),
                }
            }
            claim.from = Some(holder.to_owned());
        }
        Ok(true)
    }

    /// A single write without dependencies: one conditional put or update.
    async fn alone(&self, write: &Write<'_>) -> Result<Committed> {
        let table = if is_once(std::slice::from_ref(write), None) { &self.table().once() } else { self.table() };
        let condition = write.condition.clone();
        let written = match write.intent.what {
            What::Delete => {
                let soft_delete = self.soft_delete(write.intent, &write.record.request_id);
                match self.table().update(write.key(), soft_delete, condition).await? {
                    WriteOutcome::Done(_) => WriteOutcome::Done(()),
                    WriteOutcome::ConditionFailed(old) => WriteOutcome::ConditionFailed(old),
                }
            }
            _ => table.put(write.item()?, condition).await?,
        };
        Ok(match written {
            WriteOutcome::Done(()) => Committed::Done,
            WriteOutcome::ConditionFailed(old) => Committed::Refused { position: 0, old },
        })
    }

    fn fixed<'a>(
        &self,
        writes: &'a [Write<'a>],
        targets: Vec<TargetCheck<'a>>,
        pending: Option<&PendingResponse<'_>>,
    ) -> Result<Fixed<'a>, Failed> {
        let table = self.table().name();
        let mut items = Vec::new();
        for (position, write) in writes.iter().enumerate() {
            let item = match write.intent.what {
                What::Delete => {
                    let soft_delete = self.soft_delete(write.intent, &write.record.request_id);
                    conditional_update(table, write.key(), soft_delete, &write.condition)
                }
                _ => write.item().and_then(|item| conditional_put(table, item, &write.condition)),
            };
            items.push(item.map_err(|error| Failed::Each(vec![(position, error)]))?);
        }
        for look in &targets {
            items.push(look.check(table, self.seconds(), look.version)?);
        }
        for write in writes.iter().filter(|write| !write.record.deleted) {
            for target in write.intent.targets.iter().filter(|target| !write.keeps(target)) {
                items.extend(target.reference(table, write)?);
            }
        }
        for (position, write) in writes.iter().enumerate() {
            items.extend(write.entries.items(table).map_err(|error| Failed::Each(vec![(position, error)]))?);
        }
        if let Some(pending) = pending {
            let records: Vec<(&Intent, &Record)> = writes.iter().map(|write| (write.intent, &write.record)).collect();
            items.push(pending.scoped_key.keep(&self.stored_responses(), &(pending.answer)(&records))?);
        }
        write_limits::check(writes, &items)?;
        let withheld = writes.iter().map(|write| claims_withheld(write) + write.entries.withheld).sum();
        Ok(Fixed { items, writes: writes.len(), targets, keeps_answer: pending.is_some(), withheld })
    }

    /// Requires that the record a marker names, which no longer holds the value, has not changed since it was read.
    async fn no_longer_held(&self, collection: &Collection, marker: &Marker, holder: &str) -> Result<Unheld> {
        let record = self.stored(collection, holder, true).await?;
        if record.as_ref().is_some_and(|record| marker.is_held_by(collection, record)) {
            return Err(marker.taken());
        }
        Ok(Unheld { key: key(collection, holder), version: record.map(|record| record.version) })
    }
}

impl Fixed<'_> {
    /// Requires that a record has not changed since it was read. A transaction may name an item only once, so for a target
    /// the requirement joins its target check.
    fn look_at(&self, seen: &Unheld, all: &mut Vec<TransactWriteItem>, records: &Records) -> Result<()> {
        let table = records.table().name();
        let at = self.targets.iter().position(|look| look.target.key() == seen.key);
        let look = at.and_then(|at| Some((all.get_mut(self.writes + at)?, self.targets.get(at)?)));
        match look {
            Some((item, look)) => *item = look.check(table, records.seconds(), seen.version)?,
            None => all.push(Marker::still_unheld(table, seen.key.clone(), seen.version)?),
        }
        Ok(())
    }

    /// The failure reasons of a refused transaction that a retry cannot change. A missing target is the client's error. An
    /// already stored response is returned by the edge.
    fn settled(&self, reasons: &[Option<Option<Item>>]) -> Result<Option<Committed>, Failed> {
        if self.keeps_answer && reasons.last().is_some_and(Option::is_some) {
            return Err(Failed::Whole(in_progress()));
        }
        let (of_writes, of_targets) = reasons.split_at(self.writes.min(reasons.len()));
        if let Some((position, old)) = of_writes.iter().enumerate().find_map(|(at, reason)| Some((at, reason.clone()?)))
        {
            return Ok(Some(Committed::Refused { position, old }));
        }
        let missing = self.targets.iter().zip(of_targets).filter_map(|(look, reason)| Some((look, reason.as_ref()?)));
        let errors: Vec<(usize, Error)> =
            missing.map(|(look, old)| (look.position, look.refusal(old.as_ref()))).collect();
        if errors.is_empty() { Ok(None) } else { Err(Failed::Each(errors)) }
    }
}

/// Whether making the writes twice would change more than making them once, and no idempotency key prevents that.
fn is_once(writes: &[Write<'_>], pending: Option<&PendingResponse<'_>>) -> bool {
    pending.is_none() && writes.iter().any(|write| write.intent.is_relative())
}

impl Write<'_> {
    /// Whether the stored record points at this target already.
    fn has(&self, target: &Target) -> bool {
        self.unmoved.iter().any(|(field, id)| *field == target.field && *id == target.id)
    }

    /// Whether it is an element of an array that the stored record has already. Such an element is not checked again: a
    /// writer of other elements is not stopped by a record that was deleted a moment ago, and the transaction has no room for all.
    /// Its reference is stored. A tombstone's references may be gone, so an undelete checks each.
    fn keeps(&self, target: &Target) -> bool {
        target.at.is_some() && !matches!(self.intent.what, What::Undelete) && self.has(target)
    }

    fn item(&self) -> Result<Item> {
        self.record.to_item(self.intent.grant.collection())
    }
}

impl Target {
    /// The error when the target does not exist.
    pub fn nowhere(&self) -> Error {
        nowhere(&self.field, self.at)
    }

    fn is(&self, write: &Write<'_>) -> bool {
        self.id == write.intent.id && self.collection.name() == write.intent.grant.collection().name()
    }
}

/// The values that the writes claim, each once. Leaves out values that a record holds now and after the write.
fn claims<'a>(writes: &'a [Write<'a>]) -> Result<Vec<Claim<'a>>, Failed> {
    let mut claims: Vec<Claim<'a>> = Vec::new();
    for (position, write) in writes.iter().enumerate().filter(|(_, write)| !write.record.deleted) {
        let markers = markers(write.intent.grant.collection(), &write.record.data).into_iter();
        for marker in markers.filter(|marker| !write.held.iter().any(|held| held.is(marker))) {
            if claims.iter().any(|claim| claim.marker.is(&marker)) {
                return Err(Failed::Each(vec![(position, marker.taken())]));
            }
            claims.push(Claim { position, write, marker, from: None });
        }
    }
    Ok(claims)
}

fn claims_withheld(write: &Write<'_>) -> usize {
    let grant = &write.intent.grant;
    if !matches!(write.intent.what, What::Undelete) || grant.allows_reading(&write.record.view()) {
        return 0;
    }
    let claimed = markers(grant.collection(), &write.record.data).len();
    grant.collection().definition().unique.len().saturating_sub(claimed)
}

/// The targets to check, each once. Each needs the right to refer to it unless the record pointed at it before. A record that
/// this transaction writes needs no check unless it is deleted here.
fn targets<'a>(writes: &'a [Write<'a>]) -> Result<Vec<TargetCheck<'a>>, Failed> {
    let mut looks: Vec<TargetCheck> = Vec::new();
    for (position, write) in writes.iter().enumerate().filter(|(_, write)| !write.record.deleted) {
        for target in &write.intent.targets {
            let by_right = !write.has(target);
            let nowhere = || Failed::Each(vec![(position, target.nowhere())]);
            match writes.iter().find(|other| target.is(other)) {
                Some(other) if other.record.deleted => return Err(nowhere()),
                // The right to refer applies even to a record written in this transaction.
                Some(other) if by_right && !target.may_be_referred_to(&other.record) => return Err(nowhere()),
                Some(_) => continue,
                None if write.keeps(target) => continue,
                None if by_right && target.grants.is_empty() => return Err(nowhere()),
                None => {}
            }
            match looks.iter_mut().find(|known| known.target.names_the_same(target)) {
                Some(known) if by_right && !known.by_right => (known.position, known.by_right) = (position, true),
                Some(_) => {}
                None => looks.push(TargetCheck { position, target, by_right, version: None }),
            }
        }
    }
    Ok(looks)
}

/// Whether the record that holds a claimed value is written in the same transaction and releases it.
fn lets_go(writes: &[Write<'_>], claim: &Claim<'_>, holder: &str) -> bool {
    let collection = claim.write.intent.grant.collection();
    let same =
        |write: &&Write<'_>| write.intent.id == holder && write.intent.grant.collection().name() == collection.name();
    writes.iter().find(same).is_some_and(|write| !claim.marker.is_held_by(collection, &write.record))
}

impl Target {
    fn names_the_same(&self, other: &Self) -> bool {
        self.id == other.id && self.collection.name() == other.collection.name()
    }
}

fn too_many(items: usize) -> Error {
    let detail = format!(
        "This request needs {items} DynamoDB items for its records, unique values, relations and indexed elements, and a transaction takes \
         {MAX_ITEMS}; send fewer operations."
    );
    Error::bad_request("too_many_writes", detail)
}

fn conditional_put(table: &str, written: Item, condition: &Expression) -> Result<TransactWriteItem> {
    let put = Put::builder()
        .table_name(table)
        .set_item(Some(written))
        .condition_expression(&condition.text)
        .set_expression_attribute_names(condition.names())
        .set_expression_attribute_values(condition.values())
        .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
        .build()
        .map_err(Error::internal)?;
    Ok(TransactWriteItem::builder().put(put).build())
}

fn conditional_update(table: &str, key: Item, change: Expression, condition: &Expression) -> Result<TransactWriteItem> {
    let all = change.clone().with_placeholders_of(condition);
    let update = Update::builder()
        .table_name(table)
        .set_key(Some(key))
        .update_expression(change.text)
        .condition_expression(&condition.text)
        .set_expression_attribute_names(all.names())
        .set_expression_attribute_values(all.values())
        .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
        .build()
        .map_err(Error::internal)?;
    Ok(TransactWriteItem::builder().update(update).build())
}
