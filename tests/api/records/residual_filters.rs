//! Residual filters: conditions that no index answers are checked on each item of a scan, and in the condition of a write (R74).

use crate::world::{Caller, World};
use serde_json::{Value, json};

const NOTES: &str = "/v1/collections/notes/records";

async fn with_notes(world: &World) -> Caller<'_> {
    let text = json!({ "type": "string" });
    let notes = json!({ "name": "notes", "schema": { "type": "object", "additionalProperties": false,
        "properties": { "label": text, "body": text, "rank": { "type": "integer" } } },
        "indexes": [{ "name": "by_rank", "partition": ["rank"] }],
        "rules": { "list": "true", "read": "true", "create": "true",
                   "update": "record.label == input.label", "delete": "true" } });
    world.admin().await.put("/v1/collections/notes", notes).await.expect(201);
    world.user("ada").await
}

/// The bodies of a list, over all its pages, sorted.
async fn bodies(caller: &Caller<'_>, filter: &str) -> Vec<String> {
    let encoded: String = filter.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = caller.get(&format!("{NOTES}?scan=5&filter={encoded}{cursor}")).await.expect(200).body;
        found.extend(page["items"].as_array().unwrap().iter().map(|note| note["body"].as_str().unwrap().to_owned()));
        match page["nextCursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    found.sort();
    found
}

#[tokio::test]
async fn a_scan_returns_only_matching_records() {
    let world = World::new().await;
    let ada = with_notes(&world).await;
    for nth in 0..12 {
        let note =
            json!({ "label": if nth % 3 == 0 { "x" } else { "y" }, "rank": nth % 2, "body": format!("{nth:02}") });
        ada.post(NOTES, note).await.expect(201);
    }
    assert_eq!(bodies(&ada, "label == 'x'").await, ["00", "03", "06", "09"]);
    assert_eq!(bodies(&ada, "rank == 1 && label == 'x'").await, ["03", "09"]);
    assert_eq!(bodies(&ada, "label != 'x' && rank == 0").await, ["02", "04", "08", "10"]);
    assert_eq!(bodies(&ada, "label == 'z'").await, [""; 0]);
}

/// A page whose allowance is spent in one shard gives nothing that lies behind what was not read there: the next page begins
/// after the last that was given.
#[tokio::test]
async fn a_scan_over_shards_loses_nothing_wherever_its_allowance_ends() {
    let world = World::new().await;
    let notes = json!({ "name": "notes", "shards": 4, "rules": { "list": "true", "create": "true" },
        "schema": { "type": "object", "additionalProperties": false,
                    "properties": { "label": { "type": "string" }, "body": { "type": "string" } } } });
    world.admin().await.put("/v1/collections/notes", notes).await.expect(201);
    let ada = world.user("ada").await;
    let mut wanted = Vec::new();
    for nth in 0..48 {
        let label = if nth % 3 == 0 { "x" } else { "y" };
        ada.post(NOTES, json!({ "label": label, "body": format!("{nth:02}") })).await.expect(201);
        wanted.extend((nth % 3 == 0).then(|| format!("{nth:02}")));
        world.advance(std::time::Duration::from_millis(1));
    }
    for scan in [1, 4, 5, 6, 7, 9] {
        let (mut found, mut cursor): (Vec<String>, _) = (Vec::new(), String::new());
        loop {
            let page =
                ada.get(&format!("{NOTES}?scan={scan}&filter=label%3D%3D%22x%22{cursor}")).await.expect(200).body;
            found
                .extend(page["items"].as_array().unwrap().iter().map(|note| note["body"].as_str().unwrap().to_owned()));
            match page["nextCursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        assert_eq!(found, wanted, "in the order of their ids, each once, with scan={scan}");
    }
}

#[tokio::test]
async fn a_client_value_is_never_part_of_the_condition_text() {
    let world = World::new().await;
    let ada = with_notes(&world).await;
    for label in
        [":v", ":c0", ":c1", ":ua", ":by", ":nothing", "#c0", "#by", "d.label", "sk", "attribute_exists(pk)", "'", "("]
    {
        let made = ada.post(NOTES, json!({ "label": label })).await.expect(201);
        let at = made.header("location");
        let patch = |label: &str| json!({ "label": label, "body": "changed" });
        let changed: Value = ada.patch(at, patch(label)).await.expect(200).body;
        assert_eq!((&changed["label"], &changed["version"]), (&json!(label), &json!(2)), "{label}");
        for other in [":nothing else", ":ua", ":rid", "#c1", "v", "x"].into_iter().filter(|other| *other != label) {
            ada.patch(at, patch(other)).await.expect(403);
        }
        assert_eq!(ada.get(at).await.expect(200).body["version"], 2, "{label}");
    }
}
