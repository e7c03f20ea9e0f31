//! A client that follows a feed, and a client that lists the same records.

use super::NOTES;
use crate::world::Caller;
use serde_json::Value;
use std::collections::BTreeMap;

/// The records and the cursor of a client that follows the feed.
#[derive(Default)]
pub struct Follower {
    pub held: BTreeMap<String, Value>,
    pub cursor: Option<String>,
}

impl Follower {
    /// Reads to the end of the feed, `limit` changes at a time. Returns the changes in short form.
    pub async fn read(&mut self, caller: &Caller<'_>, limit: usize) -> Vec<String> {
        let mut heard = Vec::new();
        loop {
            let after = self.cursor.as_ref().map(|cursor| format!("&after={cursor}")).unwrap_or_default();
            let path = format!("/v1/changes?collection=notes&limit={limit}{after}");
            let page = caller.get(&path).await.expect(200).body;
            let items = page["items"].as_array().unwrap();
            assert!(items.len() <= limit);
            items.iter().for_each(|item| heard.push(self.take(item)));
            self.cursor = Some(page["nextCursor"].as_str().unwrap().to_owned());
            if page["more"] == false {
                return heard;
            }
        }
    }

    fn take(&mut self, item: &Value) -> String {
        let kind = item["type"].as_str().unwrap();
        let id = if kind == "put" { &item["record"]["id"] } else { &item["id"] }.as_str().unwrap().to_owned();
        match kind {
            "put" => drop(self.held.insert(id.clone(), item["record"].clone())),
            _ => drop(self.held.remove(&id)),
        }
        format!("{kind} {id}")
    }
}

pub async fn listed(caller: &Caller<'_>, query: &str) -> BTreeMap<String, Value> {
    let (mut all, mut cursor) = (BTreeMap::new(), String::new());
    loop {
        let page = caller.get(&format!("{NOTES}?limit=100{query}{cursor}")).await.expect(200).body;
        for item in page["items"].as_array().unwrap() {
            all.insert(item["id"].as_str().unwrap().to_owned(), item.clone());
        }
        let Some(next) = page["nextCursor"].as_str() else { return all };
        cursor = format!("&cursor={next}");
    }
}
