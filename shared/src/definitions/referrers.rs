//! The relations that point at a collection, and the rule that no record is both deleted by a cascade and restricted: such a
//! cascade would stop when part of a tree is deleted (decision 44).
//!
//! The rule concerns one definition: its own relations with `cascade`, and its referrers with `restrict`. Whoever adds either
//! writes this definition on the condition of its version, so two concurrent puts cannot break the rule together.

use super::operations::Operations;
use crate::error::{Error, FieldError, Result};
use crate::json_pointer::escape;
use crate::schema::{Definition, OnDelete, Referrer};
use crate::store::definitions::{State as Stage, Stored};
use std::collections::BTreeSet;

/// The relations of other collections that point at this one. The stored referrers may be outdated, because a job that puts a
/// definition in force does not update the targets of removed relations.
pub async fn referring(operations: &Operations, definition: &Definition) -> Result<Vec<Referrer>> {
    let others: BTreeSet<&str> = definition.referrers.iter().map(|referrer| referrer.collection.as_str()).collect();
    let mut referring = Vec::new();
    for name in others.into_iter().filter(|name| *name != definition.name) {
        let stored = operations.definitions.get(name).await?.filter(|stored| stored.stage != Stage::Gone);
        let Some(Stored { definition: other, .. }) = stored else { continue };
        for mut referrals in with_waiting(&other).iter().map(Definition::referrals) {
            referring.extend(referrals.remove(&definition.name).unwrap_or_default());
        }
    }
    Ok(referring)
}

/// A definition and the one that waits to replace it: either may decide a write until the job is done.
fn with_waiting(definition: &Definition) -> Vec<Definition> {
    let next =
        definition.next().and_then(|next| Definition::parse(&definition.name, next.clone(), Some(definition)).ok());
    std::iter::once(definition.clone()).chain(next).collect()
}

/// The fields through which a cascade deletes records of this collection.
fn cascading(definition: &Definition) -> Vec<String> {
    let cascades = |referrer: &Referrer| referrer.on_delete == OnDelete::Cascade;
    let each = definition.referrals().into_values().flatten();
    each.filter(cascades).map(|referrer| referrer.field).collect()
}

/// Why relations of other collections could stop a cascade through this definition.
///
/// # Errors
/// As for every read of the table.
pub async fn stopped(operations: &Operations, definition: &Definition) -> Result<Vec<FieldError>> {
    let fields = cascading(definition);
    if fields.is_empty() {
        return Ok(Vec::new());
    }
    let mut referring = referring(operations, definition).await?.into_iter();
    let Some(referrer) = referring.find(|referrer| referrer.on_delete == OnDelete::Restrict) else {
        return Ok(Vec::new());
    };
    let Referrer { collection, field, .. } = referrer;
    let message = format!(
        "A cascade through this field could stop half way: `{collection}.{field}` restricts the deletion of these records. \
         Choose restrict or setNull here, or first put another onDelete for `{collection}.{field}`."
    );
    Ok(fields.iter().map(|field| refusal(field, message.clone())).collect())
}

/// Why this relation cannot restrict: a cascade through the target's definition would stop at it.
pub fn stopping(referrer: &Referrer, target: &Definition) -> Option<FieldError> {
    if referrer.on_delete != OnDelete::Restrict {
        return None;
    }
    let through = with_waiting(target).iter().flat_map(cascading).next()?;
    let name = &target.name;
    let message = format!(
        "A record of `{name}` is deleted by a cascade through `{name}.{through}`, which this restriction would stop half way. \
         Choose another onDelete here, or first put another one for `{name}.{through}`."
    );
    Some(refusal(&referrer.field, message))
}

/// The same as an error of a put.
///
/// # Errors
/// `Invalid`, with each relation that cannot restrict.
pub fn check_none_stops(referrers: &[Referrer], target: &Definition) -> Result<()> {
    let problems: Vec<FieldError> = referrers.iter().filter_map(|referrer| stopping(referrer, target)).collect();
    if problems.is_empty() { Ok(()) } else { Err(Error::Invalid(problems)) }
}

fn refusal(field: &str, message: String) -> FieldError {
    let pointer = format!("/schema/properties/{}/relation/onDelete", escape(field));
    FieldError::new(pointer, "restricted_cascade", message)
}
