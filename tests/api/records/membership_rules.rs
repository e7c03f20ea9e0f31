//! Rules of membership (`auth.id in record.members`): on reads, and as the condition of a write.

use crate::world::World;
use serde_json::json;

#[tokio::test]
async fn members_of_a_record_may_change_and_delete_it_and_others_cannot_see_it() {
    let world = World::new().await;
    let admin = world.admin().await;
    let rule = "auth.id in record.members";
    let definition = json!({
        "name": "notes",
        "schema": { "type": "object", "additionalProperties": false, "properties": {
            "text": { "type": "string" }, "members": { "type": "array", "items": { "type": "string" } } } },
        "rules": { "create": "auth.id in input.members", "read": rule, "update": rule, "delete": rule }
    });
    admin.put("/v1/collections/notes", definition).await.expect(201);
    let (ada, bob, eve) = (world.user("ada").await, world.user("bob").await, world.user("eve").await);
    let body = json!({ "text": "hello", "members": [ada.id(), bob.id()] });
    let made = ada.post("/v1/collections/notes/records", body).await.expect(201);
    let path = made.header("location").to_owned();

    let changed = bob.patch(&path, json!({ "text": "changed" })).await.expect(200);
    assert_eq!(changed.cost(), (0.0, 1.0, 1), "the rule is the condition of the one write");
    eve.patch(&path, json!({ "text": "stolen" })).await.expect(404);
    eve.delete(&path).await.expect(404);
    assert_eq!(ada.get(&path).await.expect(200).body["text"], "changed");
    bob.delete(&path).await.expect(204);
    ada.get(&path).await.expect(404);
}
