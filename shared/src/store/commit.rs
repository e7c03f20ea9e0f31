//! Writing a whole record: alone where nothing else depends on it, else in one transaction with the unique values it claims
//! and a look at the records it points at.

use super::definitions::WRITE_SECONDS;
use super::item::Item;
use super::record::{Record, key};
use super::records::{Records, TRIES, Target};
use super::unique::{Marker, markers};
use super::{Expression, Transacted, Written};
use crate::error::{Error, Result};
use crate::policy::Grant;
use crate::schema::Collection;
use aws_sdk_dynamodb::types::{ConditionCheck, Put, ReturnValuesOnConditionCheckFailure, TransactWriteItem};
use std::collections::HashMap;

/// A unique value on its way to the record, from another that was seen not to hold it any more.
struct Claim {
    marker: Marker,
    from: Option<String>,
}

impl Records {
    /// Writes a whole record if `condition` holds for what is stored.
    ///
    /// # Errors
    /// `Conflict` when a unique value belongs to another record, `Invalid` when a target is not there.
    pub(super) async fn commit(
        &self,
        grant: &Grant,
        record: &Record,
        condition: Expression,
        targets: &[Target],
    ) -> Result<Written> {
        let collection = grant.collection();
        let written = record.to_item(collection, grant.caller())?;
        let markers = markers(collection, &record.data);
        if markers.is_empty() && targets.is_empty() {
            return self.table().put(written, condition).await;
        }
        let table = self.table().name();
        let mut fixed = vec![conditional_put(table, written, &condition)?];
        for target in targets {
            fixed.push(is_there(table, target)?);
        }
        let mut claims: Vec<Claim> = markers.into_iter().map(|marker| Claim { marker, from: None }).collect();
        let mut unheld: HashMap<String, TransactWriteItem> = HashMap::new();
        let began = self.seconds();
        for _ in 0..TRIES {
            // Later than this a changed definition may be in force: see `definitions`.
            if self.seconds() > began + WRITE_SECONDS {
                break;
            }
            let mut all = fixed.clone();
            for claim in &claims {
                all.push(claim.marker.reserve(table, &record.id, claim.from.as_deref())?);
            }
            all.extend(unheld.values().cloned());
            let Transacted::Refused(reasons) = self.table().transact(all).await? else { return Ok(Written::Done(())) };
            let (record_and_targets, of_claims) = reasons.split_at(fixed.len().min(reasons.len()));
            if let Some(old) = settled(record_and_targets, targets)? {
                return Ok(Written::Refused(old));
            }
            // A record that had let go has been written since: look again at whoever holds the value now.
            if of_claims.iter().skip(claims.len()).any(Option::is_some) {
                unheld.clear();
                claims.iter_mut().for_each(|claim| claim.from = None);
            }
            for (claim, reason) in claims.iter_mut().zip(of_claims) {
                let Some(Some(found)) = reason else { continue };
                let holder = Marker::holder(found).unwrap_or_default();
                unheld.insert(holder.to_owned(), self.no_longer_held(collection, &claim.marker, holder).await?);
                claim.from = Some(holder.to_owned());
            }
        }
        Err(Error::Unavailable { retry_after: 1, source: Some("a unique value changes hands too fast".into()) })
    }

    /// That the record a marker names, seen not to hold the value, must stay as it was seen.
    async fn no_longer_held(
        &self,
        collection: &Collection,
        marker: &Marker,
        holder: &str,
    ) -> Result<TransactWriteItem> {
        let record = self.stored(collection, holder, true).await?;
        if record.as_ref().is_some_and(|record| marker.is_held_by(collection, record)) {
            return Err(marker.taken());
        }
        let seen = record.map(|record| record.version);
        Marker::still_unheld(self.table().name(), key(collection, holder), seen)
    }
}

/// What a refused transaction says of the record itself, if that is why; a missing target is the client's error.
fn settled(reasons: &[Option<Option<Item>>], targets: &[Target]) -> Result<Option<Option<Item>>> {
    let Some((of_record, of_targets)) = reasons.split_first() else { return Ok(None) };
    if let Some(old) = of_record {
        return Ok(Some(old.clone()));
    }
    match targets.iter().zip(of_targets).find(|(_, reason)| reason.is_some()) {
        Some((target, _)) => Err(Error::field(&target.pointer, "relation", "there is no such record to point at")),
        None => Ok(None),
    }
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

fn is_there(table: &str, target: &Target) -> Result<TransactWriteItem> {
    let check = ConditionCheck::builder()
        .table_name(table)
        .set_key(Some(key(&target.collection, &target.id)))
        .condition_expression("attribute_exists(pk) AND attribute_not_exists(del)")
        .build()
        .map_err(Error::internal)?;
    Ok(TransactWriteItem::builder().condition_check(check).build())
}
