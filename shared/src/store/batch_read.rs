//! Reads records by id from several collections at once, each under its own grant. One level of `expand` uses it.

use super::item::{Item, text};
use super::record::{Record, key};
use super::records::Records;
use crate::error::Result;
use crate::expr::Input;
use crate::policy::Grant;
use crate::response_size;
use std::collections::HashMap;

/// How many records to read before checking their total size.
const AT_ONCE: usize = 200;

impl Records {
    /// Reads the records with these ids. The result has one map per member of `wanted`, in the same order, with the records
    /// that exist and that the member's grant allows. All collections share the round trips: one per hundred records, two in
    /// parallel. A record requested twice is read once. Eventually consistent.
    ///
    /// # Errors
    /// `Unavailable` when DynamoDB does not return all of them. `Refused` when the visible records exceed the response limit.
    pub async fn get_each(&self, wanted: &[(&Grant, Vec<&str>)]) -> Result<Vec<HashMap<String, Record>>> {
        let mut places: HashMap<ItemKey, (Item, Vec<&Grant>)> = HashMap::new();
        for (grant, ids) in wanted {
            self.acts_in_time(grant.collection())?;
            for key in ids.iter().map(|id| key(grant.collection(), id)) {
                let Some(place) = place(&key) else { continue };
                places.entry(place).or_insert_with(|| (key, Vec::new())).1.push(grant);
            }
        }
        let keys: Vec<Item> = places.values().map(|(key, _)| key.clone()).collect();
        let (mut stored, mut weight) = (HashMap::new(), 0);
        for keys in keys.chunks(AT_ONCE) {
            let found = self.table().batch_get(keys.to_vec()).await?;
            let read = found.iter().filter_map(|found| Some((place(found)?, Record::from_item(found)?)));
            for (place, record) in read {
                let grants = places.get(&place).map(|(_, grants)| grants.as_slice()).unwrap_or_default();
                let seen_by = grants.iter().find(|grant| is_seen(&record, grant));
                weight += seen_by.map_or(0, |grant| record.weight(grant));
                stored.extend(seen_by.map(|_| (place, record)));
            }
            if weight > response_size::MOST {
                return Err(response_size::TOO_LARGE());
            }
        }
        let allowed = |grant: &Grant, id: &str| {
            let record = stored.get(&place(&key(grant.collection(), id))?)?;
            is_seen(record, grant).then(|| (record.id.clone(), record.clone()))
        };
        let of_grant = |(grant, ids): &(&Grant, Vec<&str>)| {
            ids.iter().filter_map(|id| allowed(grant, id)).collect::<HashMap<_, _>>()
        };
        Ok(wanted.iter().map(of_grant).collect())
    }
}

fn is_seen(record: &Record, grant: &Grant) -> bool {
    !record.deleted && grant.allows(&record.view(), Input::None)
}

/// Partition and sort key.
type ItemKey = (String, String);

fn place(found: &Item) -> Option<ItemKey> {
    Some((text(found, "pk")?.to_owned(), text(found, "sk")?.to_owned()))
}
