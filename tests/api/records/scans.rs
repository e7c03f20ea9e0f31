//! Scans with filters that satisfy the list rule: hidden records are not read, so costs do not reveal them.

use crate::world::World;
use serde_json::{Value, json};

/// Two collections, one whose list rule names some teams and one that asks for a level; indexes serve the rules, though not by
/// time.
async fn ruled(world: &World) {
    for (name, rule, index) in [
        ("teams", "record.team in ['a', 'b']", json!({ "name": "i", "partition": ["team"], "sort": ["text"] })),
        ("levels", "record.level >= 3", json!({ "name": "i", "partition": [], "sort": ["level", "text"] })),
    ] {
        let schema = json!({ "type": "object", "additionalProperties": false, "properties": {
            "team": { "type": "string" }, "level": { "type": "integer" }, "text": { "type": "string" } } });
        let rules = json!({ "list": format!("auth.id != '' && {rule}") });
        let body = json!({ "name": name, "schema": schema, "indexes": [index], "rules": rules });
        world.admin().await.put(&format!("/v1/collections/{name}"), body).await.expect(201);
    }
}

#[tokio::test]
async fn a_filter_that_satisfies_the_rule_allows_no_scan_over_hidden_records() {
    let world = World::new().await;
    ruled(&world).await;
    let (admin, ada) = (world.admin().await, world.user("ada").await);
    let make = async |body: Value| {
        for name in ["teams", "levels"] {
            admin.post(&format!("/v1/collections/{name}/records"), body.clone()).await.expect(201);
        }
    };
    for text in ["x", "y", "z"] {
        make(json!({ "team": "a", "level": 5, "text": text })).await;
    }
    let ask = async || {
        let mut reported = Vec::new();
        for (name, settled) in [("teams", "team == 'a'"), ("levels", "level == 5")] {
            for (sort, scan) in [("", 100), ("-createdAt", 100), ("-createdAt", 2), ("text", 100)] {
                let filter = format!("{settled} && text != 'x'").replace(' ', "%20").replace("&&", "%26%26");
                let sort = if sort.is_empty() { String::new() } else { format!("&sort={sort}") };
                let asked = format!("/v1/collections/{name}/records?scan={scan}{sort}&filter={filter}");
                let answer = ada.get(&asked).await;
                let cost = answer.headers.get("undercroft-cost").cloned();
                reported.push((asked, answer.status, answer.body["items"].clone(), cost));
            }
        }
        reported
    };
    ask().await;
    let before = ask().await;
    assert!(before.iter().filter(|(_, status, ..)| *status == 200).count() >= 4, "{before:?}");
    for text in ["p", "q"] {
        make(json!({ "team": "hidden", "level": 1, "text": text })).await;
    }
    assert_eq!(ask().await, before, "left: with records that the rule hides; right: without them");
}
