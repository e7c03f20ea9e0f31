//! Anonymous callers: everything a rule asks of `auth` is then unknown, and only conditions on the record can allow access.

use crate::records::pages::encoded;
use crate::world::{Caller, World};
use axum::http::Method;
use serde_json::{Value, json};

const PAGES: &str = "/v1/collections/pages/records";

fn pages(rules: &Value) -> Value {
    let text = json!({ "type": "string" });
    json!({ "name": "pages", "schema": { "type": "object", "additionalProperties": false, "properties": {
        "owner": text, "path": text, "email": text, "state": text, "verified": { "type": "boolean" },
        "members": { "type": "array", "items": text } } },
        "indexes": [{ "name": "by_owner", "partition": ["owner"] }, { "name": "by_path", "partition": [], "sort": ["path"] },
                    { "name": "by_state", "partition": ["state"] }],
        "rules": rules })
}

/// A page that an empty id, an empty address and no proof would all be taken for the owner's of.
async fn open_page(admin: &Caller<'_>) -> String {
    let page =
        json!({ "owner": "", "path": "", "email": "", "state": "draft", "verified": false, "members": ["", "null"] });
    admin.post(PAGES, page).await.expect(201).header("location").to_owned()
}

#[tokio::test]
async fn no_rule_about_the_caller_allows_a_stranger_anything() {
    for rule in [
        "record.owner == auth.id",
        "record.path.startsWith(auth.id)",
        "record.email == auth.email",
        "auth.id in record.members",
        "auth.id in [record.owner, 'x']",
        "record.verified == auth.verified",
        "!auth.verified",
        "!('banned' in auth.roles)",
        "!(record.owner in auth.roles)",
        "auth.id == ''",
        "!(auth.id != '')",
        "auth.email == '' || auth.id == ''",
        "record.owner != auth.id",
        "!(record.owner == auth.id && record.state == 'draft')",
        "auth.id != '' || record.state == 'published'",
    ] {
        let world = World::new().await;
        let admin = world.admin().await;
        // The state is a draft, so that the condition on the record does not decide.
        let rules =
            json!({ "read": rule, "update": rule, "delete": rule, "create": rule.replace("record.", "input.") });
        admin.put("/v1/collections/pages", pages(&rules)).await.expect(201);
        let (page, stranger) = (open_page(&admin).await, world.stranger());
        let absent = format!("{PAGES}/017f22e2-79b0-7cc3-98c4-dc0c0c07398f");
        for (method, body) in
            [(Method::GET, json!(null)), (Method::PATCH, json!({ "state": "x" })), (Method::DELETE, json!(null))]
        {
            let mut answers = Vec::new();
            for path in [&page, &absent] {
                let mut answer = stranger.request(method.clone(), path).json(body.clone()).send().await;
                assert!([401, 404].contains(&answer.status), "{rule}: {method}: {}", answer.text);
                answer.body["requestId"] = Value::Null;
                answers.push((answer.status, answer.body));
            }
            assert_eq!(answers[0], answers[1], "{rule}: {method}");
        }
        let made =
            json!({ "owner": "", "path": "", "email": "", "state": "draft", "verified": false, "members": [""] });
        stranger.post(PAGES, made).await.expect(401);
        assert_eq!(admin.get(&page).await.expect(200).body["state"], "draft");
    }
}

#[tokio::test]
async fn a_list_shows_a_stranger_only_public_records_and_none_matched_by_an_empty_id() {
    for (rule, status, shown) in [
        ("record.path.startsWith(auth.id)", 401, 0),
        ("record.owner == auth.id", 401, 0),
        ("record.owner == auth.id || record.state == 'published'", 200, 1),
        ("record.path.startsWith(auth.id) && record.path >= ''", 401, 0),
        ("auth.id != ''", 401, 0),
        ("true", 200, 3),
    ] {
        let world = World::new().await;
        let admin = world.admin().await;
        admin.put("/v1/collections/pages", pages(&json!({ "list": rule, "read": rule }))).await.expect(201);
        open_page(&admin).await;
        for path in ["a/b", "c"] {
            let state = if path == "c" { "published" } else { "draft" };
            admin.post(PAGES, json!({ "owner": "bob", "path": path, "state": state })).await.expect(201);
        }
        let listed = world.stranger().get(PAGES).await.expect(status);
        assert_eq!(listed.body["items"].as_array().map_or(0, Vec::len), shown, "{rule}: {}", listed.text);
        for filter in ["owner == \"\"", "path == \"\"", "path.startsWith(\"\")"] {
            let filtered = world.stranger().get(&format!("{PAGES}?filter={}&scan=100", encoded(filter))).await;
            let found = filtered.body["items"].as_array().cloned().unwrap_or_default();
            let is_open = |item: &Value| item["owner"] == "";
            assert!(found.len() <= shown && (shown == 3 || !found.iter().any(is_open)), "{rule}, {filter}: {found:?}");
        }
    }
}

/// Without a caller a rule is what is left of it for others, less what it asks of them.
#[tokio::test]
async fn a_list_rule_needs_an_index_even_where_it_allows_nobody() {
    let world = World::new().await;
    let admin = world.admin().await;
    let put = async |rule: &str| admin.put("/v1/collections/pages", pages(&json!({ "list": rule }))).await;
    put("record.owner == auth.id || record.email == 'x'").await.expect(400);
    put("auth.verified && record.owner == auth.id || record.email == 'x'").await.expect(400);
    put("auth.id != '' && record.owner == auth.id || record.state == 'published'").await.expect(201);
    let mine = world.user("ada").await;
    admin.post(PAGES, json!({ "owner": mine.id(), "state": "draft" })).await.expect(201);
    assert_eq!(mine.get(PAGES).await.expect(200).body["items"].as_array().unwrap().len(), 1);
    assert_eq!(world.stranger().get(PAGES).await.expect(200).body["items"], json!([]));
}
