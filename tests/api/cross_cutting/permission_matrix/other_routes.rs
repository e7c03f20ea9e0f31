//! Routes that are not about one record (accounts, definitions, jobs, files): the answer for each caller, from one table.

use super::{EVERYBODY, Stage, Who, plots};
use crate::world::World;
use axum::http::Method;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

/// The callers that get this answer.
#[derive(Debug, Clone, Copy)]
enum For {
    /// Everybody; a token is ignored.
    Anybody(u16),
    /// Everybody, but a token that is sent must be valid.
    AnybodyByToken(u16),
    /// Callers with a live session.
    SignedIn(u16),
    /// Admins.
    Admins(u16),
    /// Callers with a token of the session, which the request ends.
    Leaving(u16),
}

use For::*;

impl For {
    fn expected(self, who: Who) -> u16 {
        match self {
            Anybody(status) => status,
            _ if who.is_turned_away() => 401,
            AnybodyByToken(status) => status,
            SignedIn(_) if matches!(who, Who::Anonymous | Who::SignedOut) => 401,
            Admins(_) if who == Who::Anonymous => 401,
            Admins(_) if who != Who::Admin => 403,
            // Without an access token the body must identify the session, and `{}` does not.
            Leaving(_) if who == Who::Anonymous => 401,
            SignedIn(status) | Admins(status) | Leaving(status) => status,
        }
    }
}

/// Method, route, path if different, body, and the answer for each caller.
type Row = (&'static str, &'static str, &'static str, fn() -> Value, For);

fn nothing() -> Value {
    json!({})
}

fn export() -> Value {
    json!({ "type": "records.export", "payload": { "collection": "plots", "format": "csv" } })
}

fn import() -> Value {
    let key = "uploads/017f22e2-79b0-7cc3-98c4-dc0c0c07398f.csv";
    json!({ "type": "records.import", "maxAttempts": 1, "payload": { "collection": "plots", "format": "csv", "key": key } })
}

fn upload() -> Value {
    json!({ "format": "csv", "bytes": 10 })
}

fn another() -> Value {
    let mut another = plots();
    another["name"] = json!("another");
    another
}

const COLLECTION: &str = "/v1/collections/{collection}";
const JOB: &str = "/v1/jobs/{id}";
const ABSENT_JOB: &str = "/v1/jobs/017f22e2-79b0-7cc3-98c4-dc0c0c07398f";

const ROWS: &[Row] = &[
    ("POST", "/v1/auth/signup", "", nothing, Anybody(400)),
    ("POST", "/v1/auth/verify", "", nothing, Anybody(400)),
    ("POST", "/v1/auth/signin", "", nothing, Anybody(400)),
    ("POST", "/v1/auth/refresh", "", nothing, Anybody(400)),
    ("POST", "/v1/auth/reset", "", nothing, Anybody(501)),
    ("POST", "/v1/auth/magic", "", nothing, Anybody(501)),
    ("POST", "/v1/auth/totp", "", nothing, Anybody(501)),
    ("POST", "/v1/auth/passkeys", "", nothing, Anybody(501)),
    ("POST", "/v1/auth/oidc", "", nothing, Anybody(501)),
    ("POST", "/v1/auth/keys", "", nothing, Anybody(501)),
    ("GET", "/.well-known/jwks.json", "", nothing, Anybody(200)),
    ("GET", "/openapi.json", "", nothing, AnybodyByToken(200)),
    ("GET", "/docs", "", nothing, AnybodyByToken(200)),
    ("GET", "/v1/auth/me", "", nothing, SignedIn(200)),
    ("GET", "/v1/auth/sessions", "", nothing, SignedIn(200)),
    ("GET", "/v1/collections", "", nothing, Admins(200)),
    ("GET", COLLECTION, "/v1/collections/plots", nothing, Admins(200)),
    ("GET", COLLECTION, "/v1/collections/nowhere", nothing, Admins(404)),
    ("PUT", COLLECTION, "/v1/collections/plots", plots, Admins(200)),
    ("PUT", COLLECTION, "/v1/collections/plots?dryRun=true", plots, Admins(200)),
    ("PUT", COLLECTION, "/v1/collections/another", another, Admins(201)),
    ("PUT", COLLECTION, "/v1/collections/another", nothing, Admins(400)),
    ("DELETE", COLLECTION, "/v1/collections/another", nothing, Admins(202)),
    ("DELETE", COLLECTION, "/v1/collections/nowhere", nothing, Admins(404)),
    ("POST", "/v1/jobs", "", export, Admins(202)),
    ("POST", "/v1/jobs", "", import, Admins(202)),
    ("POST", "/v1/jobs/uploads", "", upload, Admins(201)),
    ("GET", "/v1/jobs", "", nothing, Admins(200)),
    ("GET", "/v1/jobs", "/v1/jobs?dead=true", nothing, Admins(200)),
    ("GET", JOB, JOB, nothing, Admins(200)),
    ("GET", JOB, ABSENT_JOB, nothing, Admins(404)),
    ("POST", "/v1/jobs/{id}/redrive", "/v1/jobs/{id}/redrive", nothing, Admins(409)),
    ("POST", "/v1/jobs/{id}/cancel", "/v1/jobs/{id}/cancel", nothing, Admins(200)),
    ("POST", "/v1/jobs/redrive", "", nothing, Admins(200)),
    ("POST", "/v1/auth/signout", "", nothing, Leaving(204)),
];

pub fn routes() -> BTreeSet<(String, String)> {
    ROWS.iter().map(|(method, route, ..)| ((*method).to_owned(), (*route).to_owned())).collect()
}

#[tokio::test]
async fn every_other_route_answers_every_caller_as_the_matrix_says() {
    let world = World::new().await;
    let stage = Stage::new(&world).await;
    let waits = json!({ "type": "no.such_job", "maxAttempts": 1, "delaySeconds": 300 });
    let job = stage.by(Who::Admin).post("/v1/jobs", waits).await.expect(202).body["id"].as_str().unwrap().to_owned();
    for (method, route, path, body, to) in ROWS {
        let path = if path.is_empty() { route } else { path }.replace("{id}", &job);
        for who in EVERYBODY {
            let method: Method = method.parse().unwrap();
            let has_body = method == Method::POST || method == Method::PUT;
            let knock = stage.by(who).request(method, &path);
            let answer = if has_body { knock.json(body()).send().await } else { knock.send().await };
            assert_eq!(answer.status, to.expected(who), "{who:?}, {}: {}", answer.asked, answer.text);
        }
    }
    // All sessions have ended: their access tokens are refused on routes that read the session.
    for who in EVERYBODY {
        stage.by(who).get("/v1/auth/me").await.expect(401);
    }
    world.settle().await;
    world.advance(Duration::from_secs(301));
    world.settle().await;
}

#[tokio::test]
async fn after_sign_out_the_access_token_works_until_it_expires_and_no_new_one_is_issued() {
    let world = World::new().await;
    let stage = Stage::new(&world).await;
    let refreshed = async |who: Who| {
        let body = json!({ "refreshToken": stage.by(who).refresh_token });
        world.stranger().post("/v1/auth/refresh", body).await
    };
    stage.by(Who::SignedOut).get(super::PLOTS).await.expect(200);
    refreshed(Who::SignedOut).await.expect(401);
    // The token's ten minutes, plus half a minute of clock skew.
    world.advance(Duration::from_secs(631));
    for who in [Who::SignedOut, Who::Owner] {
        stage.by(who).get(super::PLOTS).await.expect(401);
    }
    refreshed(Who::SignedOut).await.expect(401);
    let owner = world.signed_in(&refreshed(Who::Owner).await.expect(200).body);
    owner.get(super::PLOTS).await.expect(200);
    world.settle().await;
}
