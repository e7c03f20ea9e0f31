//! The id in the path is the record's, and a body with another id is refused (R63), on every route that takes both.

use crate::records::crud::{TASKS, path, task, with_tasks};
use crate::world::World;
use axum::http::Method;
use serde_json::{Value, json};

const NEW: &str = "01900000-0000-7000-8000-00000000000a";
const OTHER: &str = "01900000-0000-7000-8000-00000000000b";

#[tokio::test]
async fn an_id_in_a_body_is_the_one_in_the_path_or_refused() {
    let world = World::new().await;
    with_tasks(&world).await;
    let ada = world.user("ada").await;
    let record = task(&ada, "t").await;
    let (there, new) = (path(&record), format!("{TASKS}/{NEW}"));
    let with_id = |id: &Value| json!({ "title": "u", "owner": ada.id(), "id": id });
    for id in [json!(OTHER), json!(null), json!(""), json!(7), json!([NEW]), json!(NEW.to_uppercase())] {
        let body = with_id(&id);
        for (method, at, condition) in [
            (Method::PUT, &new, ("if-none-match", "*")),
            (Method::PUT, &there, ("if-match", "*")),
            (Method::PATCH, &there, ("if-match", "*")),
        ] {
            let knock = ada.request(method.clone(), at).header(condition.0, condition.1);
            let refused = knock.json(body.clone()).send().await.expect(400);
            assert_eq!(refused.body["errors"][0]["pointer"], "/id", "{method} {id}: {}", refused.text);
            let member = if condition.0 == "if-match" { "ifMatch" } else { "ifNoneMatch" };
            let operation = json!({ "method": method.as_str(), "path": at, "body": body, member: "*" });
            ada.post("/v1/batch", json!({ "operations": [operation] })).await.expect(400);
        }
        ada.post(TASKS, body).await.expect(400);
    }
    // A refused request creates no record under any id.
    for id in [NEW, OTHER] {
        ada.get(&format!("{TASKS}/{id}")).await.expect(404);
    }
    let listed = ada.get(TASKS).await.expect(200).body;
    assert_eq!(listed["items"], json!([record]));
    let knock = ada.request(Method::PUT, &new).header("if-none-match", "*");
    assert_eq!(knock.json(with_id(&json!(NEW))).send().await.expect(201).body["id"], NEW);
}
