//! Records by id, of several collections at once, each under its own grant: what one level of `expand` reads.

use super::item::{Item, text};
use super::record::{Record, key};
use super::records::Records;
use crate::error::Result;
use crate::expr::Input;
use crate::policy::Grant;
use std::collections::HashMap;

impl Records {
    /// The records with these ids, those of one grant beside each other: for every member of `wanted`, in its order, the
    /// records by id that are there and that its grant allows. All collections share the round trips, one per hundred
    /// records; a record wanted twice is read once. Eventually consistent.
    ///
    /// # Errors
    /// `Unavailable` when DynamoDB does not give all of them.
    pub async fn get_each(&self, wanted: &[(&Grant, Vec<&str>)]) -> Result<Vec<HashMap<String, Record>>> {
        let mut keys: HashMap<Place, Item> = HashMap::new();
        for (grant, ids) in wanted {
            for id in ids {
                let key = key(grant.collection(), id);
                keys.extend(place(&key).map(|place| (place, key)));
            }
        }
        let found = self.table().batch_get(keys.into_values().collect()).await?;
        let stored: HashMap<Place, Record> =
            found.iter().filter_map(|found| Some((place(found)?, Record::from_item(found)?))).collect();
        let allowed = |grant: &Grant, id: &str| {
            let record = stored.get(&place(&key(grant.collection(), id))?)?;
            let visible = !record.deleted && grant.allows(&record.view(), Input::None);
            visible.then(|| (record.id.clone(), record.clone()))
        };
        let of_grant = |(grant, ids): &(&Grant, Vec<&str>)| {
            ids.iter().filter_map(|id| allowed(grant, id)).collect::<HashMap<_, _>>()
        };
        Ok(wanted.iter().map(of_grant).collect())
    }
}

/// Partition and sort key.
type Place = (String, String);

fn place(found: &Item) -> Option<Place> {
    Some((text(found, "pk")?.to_owned(), text(found, "sk")?.to_owned()))
}
