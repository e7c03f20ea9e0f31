//! A right is checked in the same step as the write (R72): a change that withdraws a right runs concurrently with a write
//! that needs it. After the change, no write by the former holder succeeds.

use crate::records::crud::{TASKS, path, with_tasks};
use crate::world::{Answer, Caller, World, rounds};
use axum::http::Method;
use futures_util::future::join;
use serde_json::{Value, json};

/// Every kind of write that the rule `record.owner == auth.id` allows.
async fn write(ada: &Caller<'_>, at: &str, way: usize) -> Answer {
    let replacement = || json!({ "title": "hers", "owner": ada.id() });
    let batch = |operation: Value| ada.request(Method::POST, "/v1/batch").json(json!({ "operations": [operation] }));
    match way {
        0 => ada.patch(at, json!({ "title": "hers" })).await,
        1 => ada.patch(at, json!({ "status": "done" })).await,
        2 => ada.patch(at, json!({ "slug": at.rsplit('/').next() })).await,
        3 => ada.request(Method::PUT, at).header("if-match", "*").json(replacement()).send().await,
        4 => batch(json!({ "method": "PATCH", "path": at, "body": { "title": "hers" } })).send().await,
        5 => {
            let keyed = ada.request(Method::PATCH, at).header("idempotency-key", "\"k\"");
            keyed.json(json!({ "title": "hers" })).send().await
        }
        _ => ada.delete(at).await,
    }
}

const WAYS: usize = 7;

#[tokio::test]
async fn after_a_record_has_changed_owner_its_former_owner_cannot_write_it() {
    let world = World::new().await;
    with_tasks(&world).await;
    let (admin, ada, bob) = (world.admin().await, world.user("ada").await, world.user("bob").await);
    let (mut hers, mut refused) = (0, 0);
    for round in 0..usize::try_from(rounds(42)).unwrap() {
        let body = json!({ "title": "t", "owner": ada.id() });
        let at = path(&ada.post(TASKS, body).await.expect(201).body);
        let revoke = async || admin.patch(&at, json!({ "owner": bob.id() })).await;
        let way = round % WAYS;
        // The order of polling varies, and the progress of one before the other starts.
        let (revoked, written) = match round / WAYS % 2 {
            0 => join(revoke(), write(&ada, &at, way)).await,
            _ => {
                let (written, revoked) = join(write(&ada, &at, way), revoke()).await;
                (revoked, written)
            }
        };
        assert!(matches!(written.status, 200 | 204 | 404 | 412 | 503), "way {way}: {}", written.text);
        let is_hers = written.status < 300;
        (hers, refused) = (hers + usize::from(is_hers), refused + usize::from(!is_hers));
        if way == 6 && is_hers {
            // Deleted while it was hers: then it was not there to be given away, or it was given away before and this is wrong.
            assert_ne!(revoked.status, 200, "way {way}: deleted by whom it was taken from");
            continue;
        }
        let revoked = revoked.expect(200).body["version"].as_u64().unwrap();
        if is_hers {
            let version = written.body["version"].as_u64();
            let version = version.or_else(|| written.body["results"][0]["body"]["version"].as_u64()).unwrap();
            assert!(version < revoked, "way {way}: written as version {version}, taken away as {revoked}");
        }
        let now = bob.get(&at).await.expect(200).body;
        assert_eq!(now["version"], revoked, "way {way}: nothing was written after it was taken away");
    }
    assert!(hers > 0 && refused > 0, "the races went both ways: {hers} written, {refused} refused");
}

#[tokio::test]
async fn after_a_session_has_ended_no_token_of_it_is_refreshed() {
    let world = World::of_instances(6).await;
    for round in 0..rounds(12) {
        let ada = world.user("ada").await;
        let end = async || ada.post("/v1/auth/signout", json!({ "refreshToken": ada.refresh_token })).await;
        let refresh = async |token: &str| ada.post("/v1/auth/refresh", json!({ "refreshToken": token })).await;
        let (ended, refreshed) = if round % 2 == 0 {
            join(end(), refresh(&ada.refresh_token)).await
        } else {
            let (refreshed, ended) = join(refresh(&ada.refresh_token), end()).await;
            (ended, refreshed)
        };
        ended.expect(204);
        refresh(&ada.refresh_token).await.expect(401);
        if let Some(successor) = refreshed.body["refreshToken"].as_str() {
            refresh(successor).await.expect(401);
        }
    }
}

#[tokio::test]
async fn after_a_field_in_a_rule_has_changed_no_write_uses_the_old_value() {
    let world = World::new().await;
    let (admin, ada) = (world.admin().await, world.user("ada").await);
    let pages = json!({ "name": "pages", "schema": { "type": "object", "additionalProperties": false, "properties": {
        "isOpen": { "type": "boolean" }, "text": { "type": "string" } } },
        "rules": { "read": "true", "update": "record.isOpen == true && !changed('isOpen')" } });
    admin.put("/v1/collections/pages", pages).await.expect(201);
    for round in 0..rounds(20) {
        let body = json!({ "isOpen": true, "text": "t" });
        let at = admin.post("/v1/collections/pages/records", body).await.expect(201).header("location").to_owned();
        let close = admin.patch(&at, json!({ "isOpen": false }));
        let write = ada.patch(&at, json!({ "text": "hers" }));
        let (closed, written) = if round % 2 == 0 {
            join(close, write).await
        } else {
            let (written, closed) = join(write, close).await;
            (closed, written)
        };
        let closed = closed.expect(200).body["version"].as_u64().unwrap();
        if written.status == 200 {
            assert!(written.body["version"].as_u64().unwrap() < closed, "written after it was closed");
        } else {
            written.expect(404);
        }
        assert_eq!(ada.get(&at).await.expect(200).body["version"], closed);
        ada.patch(&at, json!({ "text": "later" })).await.expect(404);
    }
}
