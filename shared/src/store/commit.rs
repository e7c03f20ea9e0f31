//! Making decided writes, all or none: a single one alone where nothing else depends on it; else one transaction with the unique
//! values they claim, a look at the records they point at, and the answer to keep for an idempotency key.

use super::batch::pause;
use super::idempotency::in_progress;
use super::intent::{Committed, Failed, PendingResponse, Target, What, Write};
use super::item::Item;
use super::record::{Record, key};
use super::records::{Records, TRIES};
use super::target_checks::TargetCheck;
use super::unique::{Marker, markers};
use super::{Expression, TransactionOutcome, WriteOutcome, write_limits};
use crate::cost;
use crate::error::{Error, Result};
use crate::schema::Collection;
use aws_sdk_dynamodb::types::{Put, ReturnValuesOnConditionCheckFailure, TransactWriteItem, Update};
use std::collections::HashMap;

/// Most items of a transaction: DynamoDB's limit.
const MAX_ITEMS: usize = 100;

/// A unique value on its way to the record, from another that was seen not to hold it any more.
struct Claim<'a> {
    position: usize,
    write: &'a Write<'a>,
    marker: Marker,
    from: Option<String>,
}

/// A record that was seen not to hold a value, and of which version it then was, if it was there.
struct Unheld {
    key: Item,
    version: Option<u64>,
}

/// What stands in a transaction whatever the claims are, in this order: the writes, the looks at their targets, the references to
/// them, the answer to keep.
struct Fixed<'a> {
    items: Vec<TransactWriteItem>,
    writes: usize,
    targets: Vec<TargetCheck<'a>>,
    keeps_answer: bool,
    /// Claims that records which the caller may not read would make if they held every unique value: how many they hold is not told.
    claims_withheld: usize,
}

impl Records {
    /// Makes the writes.
    ///
    /// # Errors
    /// `Conflict` when a unique value belongs to another record, `Invalid` when a target is not there; for each write that is why.
    pub(super) async fn commit(
        &self,
        writes: &[Write<'_>],
        pending: Option<&PendingResponse<'_>>,
    ) -> Result<Committed, Failed> {
        self.in_time(writes.iter().map(|write| write.intent))?;
        if writes.iter().any(|write| write.intent.may_claim()) {
            // Who has a value, or had it, may not be the caller's to know: neither may that a price is kept from them.
            cost::withhold();
        }
        let mut claims = claims(writes)?;
        let targets = self.seen(targets(writes)?).await?;
        if let ([write], true, true, None) = (writes, claims.is_empty(), targets.is_empty(), pending) {
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
            if all.len() + fixed.claims_withheld > MAX_ITEMS {
                return Err(Failed::Whole(TOO_MANY()));
            }
            let reasons = match self.table().transact(all).await? {
                TransactionOutcome::Done => return Ok(Committed::Done),
                TransactionOutcome::Conflicted(positions)
                    if fixed.keeps_answer && positions.contains(&(fixed.items.len() - 1)) =>
                {
                    return Err(Failed::Whole(in_progress()));
                }
                // Many may look at the same target at once, and each look is in the way of the others (TransactionConflict).
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
            self.look_at_holders(writes, of_claims, &mut claims, &mut unheld).await?;
        }
        Err(Failed::Whole(Error::Unavailable {
            retry_after: 1,
            source: Some("the same items, or a unique value, are written by others too fast".into()),
        }))
    }

    /// Looks at the records that hold values which were refused to the writes. One that has let go of its value since lets the claim
    /// take it over, on the condition that it stays as it was seen.
    async fn look_at_holders(
        &self,
        writes: &[Write<'_>],
        of_claims: &[Option<Option<Item>>],
        claims: &mut [Claim<'_>],
        unheld: &mut HashMap<String, Unheld>,
    ) -> Result<(), Failed> {
        // A record that had let go has been written since: look again at whoever holds the value now.
        if of_claims.iter().skip(claims.len()).any(Option::is_some) {
            unheld.clear();
            claims.iter_mut().for_each(|claim| claim.from = None);
        }
        for (claim, reason) in claims.iter_mut().zip(of_claims) {
            let Some(Some(found)) = reason else { continue };
            let holder = Marker::holder(found).unwrap_or_default();
            if !lets_go(writes, claim, holder) {
                let collection = claim.write.intent.grant.collection();
                let seen = self.no_longer_held(collection, &claim.marker, holder).await;
                unheld.insert(holder.to_owned(), seen.map_err(|error| Failed::Each(vec![(claim.position, error)]))?);
            }
            claim.from = Some(holder.to_owned());
        }
        Ok(())
    }

    /// One write that nothing else depends on: one conditional put or update.
    async fn alone(&self, write: &Write<'_>) -> Result<Committed> {
        let condition = write.condition.clone();
        let written = match write.intent.what {
            What::Delete => {
                let soft_delete = self.soft_delete(&write.intent.grant, &write.record.request_id);
                match self.table().update(write.key(), soft_delete, condition).await? {
                    WriteOutcome::Done(_) => WriteOutcome::Done(()),
                    WriteOutcome::ConditionFailed(old) => WriteOutcome::ConditionFailed(old),
                }
            }
            _ => self.table().put(write.item()?, condition).await?,
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
                    let soft_delete = self.soft_delete(&write.intent.grant, &write.record.request_id);
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
            for target in &write.intent.targets {
                items.extend(target.reference(table, write)?);
            }
        }
        if let Some(pending) = pending {
            let records: Vec<&Record> = writes.iter().map(|write| &write.record).collect();
            items.push(pending.scoped_key.keep(&self.stored_responses(), &(pending.answer)(&records))?);
        }
        write_limits::check(writes, &items)?;
        let claims_withheld = writes.iter().map(claims_withheld).sum();
        Ok(Fixed { items, writes: writes.len(), targets, keeps_answer: pending.is_some(), claims_withheld })
    }

    /// That the record a marker names, seen not to hold the value, must stay as it was seen.
    async fn no_longer_held(&self, collection: &Collection, marker: &Marker, holder: &str) -> Result<Unheld> {
        let record = self.stored(collection, holder, true).await?;
        if record.as_ref().is_some_and(|record| marker.is_held_by(collection, record)) {
            return Err(marker.taken());
        }
        Ok(Unheld { key: key(collection, holder), version: record.map(|record| record.version) })
    }
}

impl Fixed<'_> {
    /// That a record stays as it was seen. A transaction names an item once: of a target it is asked in the look at that.
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

    /// What a refused transaction says of what does not change between tries. A missing target is the client's error, and so is
    /// an answer that is kept already: the edge gives it.
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

impl Write<'_> {
    fn item(&self) -> Result<Item> {
        self.record.to_item(self.intent.grant.collection())
    }
}

impl Target {
    /// The answer when it is not there.
    pub fn nowhere(&self) -> Error {
        Error::field(format!("/{}", self.field), "relation", "there is no such record to point at")
    }

    fn is(&self, write: &Write<'_>) -> bool {
        self.id == write.intent.id && self.collection.name() == write.intent.grant.collection().name()
    }
}

/// The values that the writes claim, each once. What a record holds already, and will hold, it need not claim again.
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

/// The records to be seen alive, each once, and by the right to point at them unless they were pointed at already. What is written
/// here as well needs no look, unless it is deleted here.
fn targets<'a>(writes: &'a [Write<'a>]) -> Result<Vec<TargetCheck<'a>>, Failed> {
    let mut looks: Vec<TargetCheck> = Vec::new();
    for (position, write) in writes.iter().enumerate().filter(|(_, write)| !write.record.deleted) {
        for target in &write.intent.targets {
            let by_right = !write.unmoved.contains(&target.field);
            let nowhere = || Failed::Each(vec![(position, target.nowhere())]);
            match writes.iter().find(|other| target.is(other)) {
                Some(other) if other.record.deleted => return Err(nowhere()),
                // Written here or not, it must be one to point at.
                Some(other) if by_right && !target.may_be_referred_to(&other.record) => return Err(nowhere()),
                Some(_) => continue,
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

/// Whether the record that holds a claimed value is written here as well, and gives it up.
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

const TOO_MANY: fn() -> Error = || {
    Error::bad_request(
        "too_many_writes",
        "together with the unique values and relations to check these are more than 100 writes: split them",
    )
};

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
