//! Undelete: the data of a tombstone, and whether it may become a record again.

use super::intent::{Failed, Intent, What, Write};
use super::item::Item;
use super::record::{Record, key};
use super::records::Records;
use super::targets::is_shown;
use crate::error::{Error, FieldError, Result};
use crate::expr::{Input, Rule};
use crate::policy::Grant;
use serde_json::{Map, Value};

impl Records {
    /// Reads tombstones by id, each with the grants of one caller in one collection. Returns the data and the grant that
    /// permits the undelete. One round trip for all.
    ///
    /// # Errors
    /// For each: `NotFound` when it does not exist, `Conflict` when the record is not deleted.
    pub async fn tombstones(
        &self,
        wanted: Vec<(Vec<Grant>, &str)>,
    ) -> Result<Vec<Result<(Grant, Map<String, Value>)>>> {
        let grants = wanted.iter().filter_map(|(grants, _)| grants.first());
        grants.into_iter().try_for_each(|grant| self.acts_in_time(grant.collection()))?;
        let keys: Vec<Option<Item>> =
            wanted.iter().map(|(grants, id)| Some(key(grants.first()?.collection(), id))).collect();
        let stored = self.each(&keys).await?;
        Ok(wanted.into_iter().zip(stored).map(|((grants, _), stored)| self.in_tombstone(grants, stored)).collect())
    }

    fn in_tombstone(&self, grants: Vec<Grant>, stored: Option<Record>) -> Result<(Grant, Map<String, Value>)> {
        let nowhere = || Error::NotFound("record");
        let stored = stored.filter(|record| self.is_there(record)).ok_or_else(nowhere)?;
        if !stored.deleted {
            let is_seen = grants.iter().any(|grant| grant.allows(&stored.view(), Input::None));
            return Err(if is_seen { NOT_DELETED() } else { nowhere() });
        }
        let grant = grants.into_iter().find(|grant| may_bring_back(grant, &stored)).ok_or_else(nowhere)?;
        Ok((grant, stored.data))
    }
}

/// Whether this grant's caller may undelete a tombstone: by the rule `undelete`, or because they deleted the record and may
/// still delete it.
pub(super) fn may_bring_back(grant: &Grant, stored: &Record) -> bool {
    let is_theirs = !grant.caller().is_empty() && stored.written_by == grant.caller();
    grant.allows(&stored.view(), Input::None) && (!grant.is_by(Rule::Delete) || is_theirs)
}

/// The data of a tombstone that becomes a record again: its old data, if the definition still allows it.
pub(super) fn brought_back(intent: &Intent, stored: &Record) -> Result<Map<String, Value>> {
    let Intent { grant, .. } = intent;
    if !stored.deleted {
        let is_seen = grant.allows(&stored.view(), Input::None);
        return Err(if is_seen { NOT_DELETED() } else { Error::NotFound("record") });
    }
    if !may_bring_back(grant, stored) {
        return Err(Error::NotFound("record"));
    }
    if !intent.looks_where(&stored.data) {
        return Err(Error::Unavailable {
            retry_after: 1,
            source: Some("the record was deleted again after it was read".into()),
        });
    }
    let mut data = grant.collection().migrated(&stored.data).unwrap_or_else(|| stored.data.clone());
    grant.collection().validate(&mut data).map_err(|errors| no_longer_valid(grant, stored, &errors))?;
    Ok(data)
}

/// The error of a commit, without details of fields that the undeleting caller does not see.
pub(super) fn withheld(failed: Failed, writes: &[Write<'_>]) -> Failed {
    let Failed::Each(errors) = failed else { return failed };
    let withheld = |(position, error): (usize, Error)| match (writes.get(position), &error) {
        (Some(write), Error::Invalid(errors)) if matches!(write.intent.what, What::Undelete) => {
            let field = |error: &FieldError| error.pointer.split('/').nth(1).unwrap_or_default().to_owned();
            let is_shown = errors.iter().all(|error| is_shown(write.intent, &write.record, &field(error)));
            (position, if is_shown { error } else { no_longer_valid(&write.intent.grant, &write.record, &[]) })
        }
        _ => (position, error),
    };
    Failed::Each(errors.into_iter().map(withheld).collect())
}

/// The error when a record no longer fits its collection. Errors of fields that the caller does not see, including removed
/// fields, are left out.
fn no_longer_valid(grant: &Grant, stored: &Record, errors: &[FieldError]) -> Error {
    let is_readable = grant.allows_reading(&stored.view());
    let is_seen = |error: &&FieldError| {
        let name = error.pointer.split('/').nth(1).unwrap_or_default();
        let is_shown = grant.collection().field(name).is_some_and(|field| !field.value.hidden);
        grant.is_admin() || (is_readable && is_shown)
    };
    let visible: Vec<String> =
        errors.iter().filter(is_seen).map(|error| format!("{}: {}", error.pointer, error.message)).collect();
    let visible = if visible.is_empty() { "a field you may not see".to_owned() } else { visible.join("; ") };
    Error::conflict(
        "no_longer_valid",
        format!(
            "This record no longer fits the definition, which has changed since the deletion ({visible}). Create a new record."
        ),
    )
}

const NOT_DELETED: fn() -> Error =
    || Error::conflict("not_deleted", "This record is not deleted, so it cannot be undeleted.");
