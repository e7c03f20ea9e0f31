//! Cursors are bound to their list (R76): deleted records, changes, another definition, another caller.

use crate::world::{Caller, PASSWORD, World};
use serde_json::{Value, json};
use undercroft_local::Fault;

const THINGS: &str = "/v1/collections/things/records";

fn definition(name: &str, rule: &str) -> Value {
    let schema =
        json!({ "type": "object", "additionalProperties": false, "properties": { "n": { "type": "integer" } } });
    let rules = json!({ "list": rule, "read": rule, "create": "true", "update": "true", "delete": "true" });
    json!({ "name": name, "schema": schema, "rules": rules, "counts": true, "changes": true })
}

async fn filled(world: &World) -> Caller<'_> {
    let admin = world.admin().await;
    for name in ["things", "others"] {
        let path = format!("/v1/collections/{name}");
        admin.put(&path, definition(name, "true")).await.expect(201);
        for n in 0..4 {
            let made = admin.post(&format!("{path}/records"), json!({ "n": n })).await.expect(201);
            if n % 2 == 0 {
                admin.delete(made.header("location")).await.expect(204);
            }
        }
    }
    world.settle().await;
    admin
}

async fn cursor(caller: &Caller<'_>, path: &str) -> String {
    caller.get(path).await.expect(200).body["nextCursor"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_cursor_of_deleted_records_is_refused_for_living_ones() {
    let world = World::new().await;
    let admin = filled(&world).await;
    for (here, there) in [("limit=1", "limit=1&deleted=true"), ("limit=1&scan=10", "limit=1&scan=10&deleted=true")] {
        let (listed, deleted) = (format!("{THINGS}?{here}"), format!("{THINGS}?{there}"));
        let (of_list, of_deleted) = (cursor(&admin, &listed).await, cursor(&admin, &deleted).await);
        admin.get(&format!("{listed}&cursor={of_list}")).await.expect(200);
        admin.get(&format!("{deleted}&cursor={of_deleted}")).await.expect(200);
        assert_eq!(admin.get(&format!("{listed}&cursor={of_deleted}")).await.expect(400).code(), "cursor");
        assert_eq!(admin.get(&format!("{deleted}&cursor={of_list}")).await.expect(400).code(), "cursor");
    }
}

#[tokio::test]
async fn a_cursor_ends_with_the_definition_it_was_made_under() {
    let world = World::new().await;
    let admin = filled(&world).await;
    let ada = world.user("ada").await;
    let page = format!("{THINGS}?limit=1");
    let before = cursor(&ada, &page).await;
    ada.get(&format!("{page}&cursor={before}")).await.expect(200);
    admin.put("/v1/collections/things", definition("things", "auth.id != ''")).await.expect(202);
    world.advance(std::time::Duration::from_secs(60));
    let ada = world.user("ada").await;
    assert_eq!(ada.get(&format!("{page}&cursor={before}")).await.expect(400).code(), "cursor");
    ada.get(&format!("{page}&cursor={}", cursor(&ada, &page).await)).await.expect(200);
    world.settle().await;
}

#[tokio::test]
async fn a_feed_cursor_is_bound_to_its_caller_and_collection() {
    let world = World::new().await;
    let admin = filled(&world).await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let feed = |collection: &str, after: &str| format!("/v1/changes?collection={collection}&after={after}");
    for start in ["now", ""] {
        let first = if start.is_empty() { "/v1/changes?collection=things".to_owned() } else { feed("things", start) };
        let hers = cursor(&ada, &first).await;
        ada.get(&feed("things", &hers)).await.expect(200);
        for other in [&bob, &admin, &world.stranger()] {
            assert_eq!(other.get(&feed("things", &hers)).await.expect(400).code(), "after");
        }
        assert_eq!(ada.get(&feed("others", &hers)).await.expect(400).code(), "after");
        assert_eq!(ada.get(&format!("{THINGS}?cursor={hers}")).await.expect(400).code(), "cursor");
    }
    let of_list = cursor(&ada, &format!("{THINGS}?limit=1")).await;
    assert_eq!(ada.get(&feed("things", &of_list)).await.expect(400).code(), "after");
}

#[tokio::test]
async fn a_jobs_cursor_is_bound_to_its_admin_and_to_the_dead_parameter() {
    let world = World::new().await;
    let admin = world.admin().await;
    for _ in 0..3 {
        admin.post("/v1/jobs", json!({ "type": "no.such_job", "maxAttempts": 1 })).await.expect(202);
    }
    world.settle().await;
    for _ in 0..3 {
        admin.post("/v1/jobs", json!({ "type": "no.such_job", "delaySeconds": 900 })).await.expect(202);
    }
    world.settle().await;
    let (dead, others) = ("/v1/jobs?limit=1&dead=true", "/v1/jobs?limit=1");
    let second = another_admin(&world).await;
    for (own, foreign) in [(dead, others), (others, dead)] {
        let cursor = cursor(&admin, own).await;
        admin.get(&format!("{own}&cursor={cursor}")).await.expect(200);
        assert_eq!(admin.get(&format!("{foreign}&cursor={cursor}")).await.expect(400).code(), "cursor");
        assert_eq!(second.get(&format!("{own}&cursor={cursor}")).await.expect(400).code(), "cursor");
    }
    world.leave_messages_on("JobsQueue");
}

/// Somebody whom the table says to be an admin: there is no way to make one by asking.
async fn another_admin(world: &World) -> Caller<'_> {
    world.user("eve").await;
    let table = world.cloud.tables().iter().find(|name| name.ends_with("IdentityTable")).unwrap();
    let set = json!({
        "TableName": table, "Key": { "pk": { "S": "a#eve@example.org" }, "sk": { "S": "account" } },
        "UpdateExpression": "SET #r = :r", "ExpressionAttributeNames": { "#r": "roles" },
        "ExpressionAttributeValues": { ":r": { "L": [{ "S": "admin" }] } },
    });
    world.cloud.call("DynamoDB_20120810.UpdateItem", &set).await.unwrap();
    let sign_in = json!({ "email": "eve@example.org", "password": PASSWORD });
    world.signed_in(&world.stranger().post("/v1/auth/signin", sign_in).await.expect(200).body)
}

/// There is no default key.
#[tokio::test]
async fn without_its_key_no_cursor_is_made_or_opened() {
    let mut world = World::that_tries_once().await;
    let page = format!("{THINGS}?limit=1");
    let good = cursor(&filled(&world).await, &page).await;
    world.restart_functions();
    let admin = world.admin().await;
    for path in [page.clone(), format!("{page}&cursor={good}")] {
        for _ in 0..10 {
            world.cloud.faults().on("GetParameter", 1, Fault::FailedBefore);
        }
        assert_eq!(admin.get(&path).await.expect(503).code(), "unavailable");
        world.cloud.faults().clear();
    }
    admin.get(&format!("{page}&cursor={good}")).await.expect(200);
    world.settle().await;
}
