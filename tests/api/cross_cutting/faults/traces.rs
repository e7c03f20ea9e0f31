//! The items a run leaves in the tables, without ids, times and the name of the run, so that two runs can be compared.

use super::operations::Wrote;
use super::{BTreeMap, Value, World};
use serde_json::json;

/// Attributes that differ between any two runs.
const OF_THE_RUN: [&str; 9] = ["rid", "ua", "ttl", "asked", "starter", "createdAt", "updatedAt", "requestId", "fp"];

/// The records' and the jobs' table, by key.
pub struct Tables(BTreeMap<String, Value>);

impl Tables {
    pub async fn of(world: &World) -> Self {
        let mut all = BTreeMap::new();
        for table in ["RecordsTable", "JobsTable"] {
            for item in world.dump(table).await.as_array().unwrap() {
                all.insert(format!("{} {} {}", item["pk"], item["sk"], item["id"]), item.clone());
            }
        }
        Self(all)
    }

    /// Whether a new item of this kind exists, or one was changed.
    pub fn has_new(&self, after: &Self, wrote: Wrote) -> bool {
        let prefix = match wrote {
            Wrote::Record => "{\"S\":\"c#",
            Wrote::Change => {
                return after.0.iter().any(|(key, item)| self.0.get(key).is_some_and(|before| before != item));
            }
            Wrote::Job => "null null {",
        };
        after.0.keys().any(|key| key.starts_with(prefix) && !self.0.contains_key(key))
    }

    /// The changed items, one per line. Without a key a write may count twice, so versions are left out.
    pub fn changes_to(&self, after: &Self, tag: &str, keyed: bool) -> String {
        let changed = after.0.iter().filter(|(key, item)| self.0.get(*key) != Some(item));
        let mut lines: Vec<String> = changed.map(|(key, item)| line(self.0.get(key), item, tag, keyed)).collect();
        let gone = self.0.iter().filter(|(key, _)| !after.0.contains_key(*key));
        lines.extend(gone.map(|(_, item)| format!("gone: {}", line(None, item, tag, keyed))));
        lines.sort();
        lines.join("\n")
    }
}

fn line(before: Option<&Value>, item: &Value, tag: &str, keyed: bool) -> String {
    let mut members = item.as_object().unwrap().clone();
    let is_of_the_run = |name: &str| OF_THE_RUN.contains(&name) || (name.starts_with("ix") && name.ends_with('s'));
    members.retain(|name, _| !is_of_the_run(name));
    for name in ["v", "run"] {
        let number = |item: Option<&Value>| item?[name]["N"].as_str()?.parse::<i64>().ok();
        if let Some(now) = number(Some(item)) {
            let by = now - number(before).unwrap_or(0);
            members.insert(name.into(), if keyed { json!(by) } else { json!(by > 0) });
        }
    }
    if members.contains_key("del") {
        members.insert("del".into(), json!(true));
    }
    // Hashes of what differs between runs.
    let hashed = members.get("pk").and_then(|pk| pk["S"].as_str()).filter(|pk| pk.starts_with(['u', 'i']));
    if let Some((prefix, _)) = hashed.and_then(|pk| pk.rsplit_once('#')) {
        let prefix = prefix.to_owned();
        members.insert("pk".into(), json!(prefix));
    }
    plain(&Value::Object(members).to_string().replace(tag, "TAG-").replace(&tag.replace('-', "_"), "TAG_"))
}

/// The text without ids, moments, and numbers that are moments.
fn plain(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (length, name) = match rest.as_bytes() {
            bytes if is_id(bytes) => (36, "ID"),
            bytes if is_moment(bytes) => (rest.find('Z').unwrap() + 1, "MOMENT"),
            bytes if digits(bytes) >= 10 => (digits(bytes), "NUMBER"),
            _ => {
                out.push(first);
                rest = &rest[first.len_utf8()..];
                continue;
            }
        };
        out.push_str(name);
        rest = &rest[length..];
    }
    out
}

fn digits(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|byte| byte.is_ascii_digit()).count()
}

fn is_id(bytes: &[u8]) -> bool {
    let fits = |(at, byte): (usize, &u8)| match at {
        8 | 13 | 18 | 23 => *byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    };
    bytes.len() >= 36 && bytes.iter().take(36).enumerate().all(fits)
}

fn is_moment(bytes: &[u8]) -> bool {
    bytes.len() >= 20
        && digits(bytes) == 4
        && b"--T::".iter().zip([4, 7, 10, 13, 16]).all(|(mark, at)| bytes[at] == *mark)
}
