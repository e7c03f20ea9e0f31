//! Relations of stored records that lead nowhere: checked by a job, and by a dry run, when a field that has values gets a relation.

use super::definitions::Definitions;
use super::item::Item;
use super::record::{Record, key};
use super::records::Records;
use super::references::{ItemKey, place};
use super::targets::points_at;
use crate::error::{FieldError, Result};
use crate::id;
use crate::json_pointer::escape;
use crate::schema::{Collection, related_ids};
use std::collections::HashSet;

/// How many records are read at once.
const AT_ONCE: usize = 32;

/// A value of a relation field, and the key of the record that it names. A text that is no id names none.
struct Pointer<'a> {
    record: &'a Record,
    field: &'a str,
    at: Option<usize>,
    id: &'a str,
    there: Option<Item>,
}

impl Records {
    /// For each of these records, the errors of its relations that have not been checked yet and that lead to no record. A record that
    /// was changed since it was read is left out: whoever changed it was checked.
    ///
    /// # Errors
    /// `Unavailable` when the table does not respond.
    pub async fn dangling(
        &self,
        definitions: &Definitions,
        collection: &Collection,
        records: &[Record],
    ) -> Result<Vec<Vec<FieldError>>> {
        let mut errors: Vec<Vec<FieldError>> = records.iter().map(|_| Vec::new()).collect();
        let unchecked = collection.definition().unchecked();
        if unchecked.is_empty() {
            return Ok(errors);
        }
        self.acts_in_time(collection)?;
        for (field, relation) in
            collection.relations().filter(|(field, _)| unchecked.iter().any(|known| known == field))
        {
            let target = definitions.collection(&relation.collection).await?;
            let pointers = records.iter().filter(|record| !record.deleted).flat_map(|record| {
                let ids = record.data.get(field).into_iter().flat_map(related_ids);
                ids.map(|(at, id)| {
                    let there = target.as_ref().filter(|_| id::is_valid(id)).map(|target| key(target, id));
                    Pointer { record, field, at, id, there }
                })
            });
            let pointers: Vec<Pointer> = pointers.collect();
            let living = self.living(pointers.iter().filter_map(|pointer| pointer.there.as_ref())).await?;
            let leads_nowhere =
                |pointer: &&Pointer| !pointer.there.as_ref().is_some_and(|there| living.contains(&place(there)));
            for pointer in pointers.iter().filter(leads_nowhere) {
                if self.is_still(collection, pointer).await? {
                    let message = format!("This leads to no record of `{}`. Change or remove it.", relation.collection);
                    let at = pointer.at.map(|at| format!("/{at}")).unwrap_or_default();
                    let error = FieldError::new(format!("/{}{at}", escape(field)), "relation", message);
                    let position = records.iter().position(|record| std::ptr::eq(record, pointer.record));
                    errors
                        .iter_mut()
                        .skip(position.unwrap_or(records.len()))
                        .take(1)
                        .for_each(|of| of.push(error.clone()));
                }
            }
        }
        Ok(errors)
    }

    /// The keys of those records that exist and are not deleted.
    async fn living<'a>(&self, keys: impl Iterator<Item = &'a Item>) -> Result<HashSet<ItemKey>> {
        let mut living = HashSet::new();
        for keys in keys.collect::<Vec<_>>().chunks(AT_ONCE) {
            let found = self.latest(keys.iter().copied()).await?;
            living.extend(found.into_iter().filter(|(_, record)| !record.deleted).map(|(place, _)| place));
        }
        Ok(living)
    }

    /// Whether the record still has the value.
    async fn is_still(&self, collection: &Collection, pointer: &Pointer<'_>) -> Result<bool> {
        let now = self.stored(collection, &pointer.record.id, true).await?;
        Ok(now.filter(|now| !now.deleted).is_some_and(|now| points_at(&now.data, pointer.field, pointer.id)))
    }
}
