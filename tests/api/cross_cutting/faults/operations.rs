//! The write requests of the system, each with its preparation.

use super::Stage;
use crate::records::operators::MEDIA_TYPE;
use crate::world::{Answer, Caller};
use axum::http::Method;
use serde_json::{Value, json};
use undercroft::clock::Clock;

/// The effect of a request that a client can check.
#[derive(Debug, Clone, Copy)]
pub enum Wrote {
    Record,
    /// A record that exists was changed.
    Change,
    Job,
}

/// A repeatable request.
pub struct Asked<'a> {
    caller: Caller<'a>,
    method: Method,
    path: String,
    header: Option<(&'static str, String)>,
    body: Value,
    /// The answers that a client may get if it repeats a request that already took effect.
    pub done_before: &'static [u16],
    /// No answer would show it: the client checks the effect before it retries.
    pub looks_first: bool,
    /// The effect to check.
    pub wrote: Wrote,
}

impl<'a> Asked<'a> {
    fn new(caller: Caller<'a>, method: Method, path: impl Into<String>, body: Value) -> Self {
        let (path, done_before): (_, &[u16]) = (path.into(), &[]);
        Self { caller, method, path, header: None, body, done_before, looks_first: false, wrote: Wrote::Record }
    }

    fn told_by(self, done_before: &'static [u16]) -> Self {
        Self { done_before, ..self }
    }

    fn looks_for(self, wrote: Wrote) -> Self {
        Self { looks_first: true, wrote, ..self }
    }

    fn when(self, name: &'static str, value: &str) -> Self {
        Self { header: Some((name, value.to_owned())), ..self }
    }

    pub async fn send(&self, key: Option<&str>) -> Answer {
        let headers = self.header.iter().map(|(name, value)| (*name, value.as_str()));
        let headers = headers.chain(key.map(|key| ("idempotency-key", key)));
        let knock = self.caller.request(self.method.clone(), &self.path);
        headers.fold(knock, |knock, (name, value)| knock.header(name, value)).json(self.body.clone()).send().await
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    Create,
    CreateUnique,
    /// With a unique value that a deleted record held.
    TakeOver,
    CreateRelated,
    /// With an array of ids.
    CreateManyRelated,
    PatchManyRelated,
    /// With an id chosen by the client.
    CreateAs,
    PatchUnread,
    PatchVersion,
    PatchRead,
    PatchUnique,
    AddUnread,
    AddRead,
    Replace,
    /// By a unique value that no record has.
    UpsertNew,
    /// By a unique value that a record has.
    UpsertThere,
    Delete,
    DeleteRestricted,
    /// A record whose only referrer is deleted.
    DeleteReleased,
    Undelete,
    /// With entries in an index over elements.
    CreateShared,
    PatchShared,
    ReplaceShared,
    DeleteShared,
    UndeleteShared,
    Batch,
    Define,
    Redefine,
    DeleteCollection,
    Enqueue,
    Cancel,
    Redrive,
    RedriveAll,
}

const TASKS: &str = "/v1/collections/tasks/records";
const POSTS: &str = "/v1/collections/posts/records";
const SHARED: &str = "/v1/collections/shared/records";
const COMMENTS: &str = "/v1/collections/comments/records";

impl Operation {
    /// Creates the objects of the request, named by the tag of the run, and returns the request.
    pub async fn prepare<'a>(self, stage: &Stage<'a>, tag: &str) -> Asked<'a> {
        match self {
            Self::Create | Self::CreateUnique | Self::TakeOver | Self::CreateRelated | Self::CreateAs => {
                self.make(stage, tag).await
            }
            Self::CreateManyRelated | Self::PatchManyRelated => self.relate(stage, tag).await,
            Self::CreateShared
            | Self::PatchShared
            | Self::ReplaceShared
            | Self::DeleteShared
            | Self::UndeleteShared => self.share(stage, tag).await,
            Self::DeleteRestricted | Self::DeleteReleased => self.delete_restricted(stage, tag).await,
            Self::Define | Self::Redefine | Self::DeleteCollection => self.define(stage, tag).await,
            Self::Enqueue | Self::Cancel | Self::Redrive | Self::RedriveAll => self.ask_for_work(stage).await,
            _ => self.change(stage, tag).await,
        }
    }

    async fn make<'a>(self, stage: &Stage<'a>, tag: &str) -> Asked<'a> {
        let ada = stage.ada();
        let plain = json!({ "title": tag, "owner": ada.id() });
        let slugged = json!({ "title": tag, "owner": ada.id(), "slug": tag });
        match self {
            Self::CreateUnique => Asked::new(ada, Method::POST, TASKS, slugged).told_by(&[409]),
            Self::TakeOver => {
                let holder = made(&ada, TASKS, slugged.clone()).await;
                ada.delete(&holder).await.expect(204);
                Asked::new(ada, Method::POST, TASKS, slugged).told_by(&[409])
            }
            Self::CreateRelated => {
                let post = made(&ada, POSTS, json!({ "title": tag })).await;
                let body = json!({ "text": tag, "post": post.rsplit('/').next() });
                Asked::new(ada, Method::POST, COMMENTS, body).looks_for(Wrote::Record)
            }
            Self::CreateAs => {
                let path = format!("{TASKS}/{}", undercroft::id::new(&Clock::default()));
                Asked::new(ada, Method::PUT, path, slugged).when("if-none-match", "*").told_by(&[412])
            }
            _ => Asked::new(ada, Method::POST, TASKS, plain).looks_for(Wrote::Record),
        }
    }

    async fn change<'a>(self, stage: &Stage<'a>, tag: &str) -> Asked<'a> {
        let ada = stage.ada();
        let body = json!({ "title": tag, "owner": ada.id(), "slug": tag, "priority": 3 });
        let task = made(&ada, TASKS, body.clone()).await;
        let patch = |body: Value| Asked::new(ada.clone(), Method::PATCH, &task, body);
        match self {
            Self::PatchUnread => patch(json!({ "title": "changed" })),
            Self::PatchVersion => patch(json!({ "title": "changed" })).when("if-match", "\"1\"").told_by(&[412]),
            Self::PatchRead => patch(json!({ "status": "done" })),
            Self::PatchUnique => patch(json!({ "slug": format!("{tag}other") })),
            Self::AddUnread => added(patch(json!({ "add": { "priority": 1 } }))),
            Self::AddRead => {
                let post = made(&ada, POSTS, json!({ "title": tag, "likes": 1, "tags": ["x"] })).await;
                let both = json!({ "add": { "likes": 1 }, "remove": { "tags": ["x"] } });
                added(Asked::new(ada, Method::PATCH, post, both))
            }
            Self::Replace => {
                let body = json!({ "title": "replaced", "owner": ada.id(), "slug": tag });
                Asked::new(ada, Method::PUT, task, body).when("if-match", "\"1\"").told_by(&[412])
            }
            Self::UpsertNew | Self::UpsertThere => {
                let slug = if self == Self::UpsertNew { format!("{tag}new") } else { tag.to_owned() };
                let body = json!({ "title": "upserted", "owner": ada.id(), "slug": slug });
                Asked::new(ada, Method::PUT, format!("{TASKS}?unique=slug"), body)
            }
            Self::Undelete => {
                ada.delete(&task).await.expect(204);
                Asked::new(ada, Method::POST, format!("{task}/undelete"), json!({})).told_by(&[409])
            }
            Self::Batch => {
                let other = made(&ada, TASKS, json!({ "title": tag, "owner": ada.id() })).await;
                let operations = json!([
                    { "method": "POST", "path": TASKS, "body": { "title": "new", "owner": ada.id(), "slug": format!("{tag}b") } },
                    { "method": "PATCH", "path": task, "body": { "priority": 4 } },
                    { "method": "DELETE", "path": other },
                ]);
                Asked::new(ada, Method::POST, "/v1/batch", json!({ "operations": operations })).told_by(&[404])
            }
            _ => Asked::new(ada, Method::DELETE, task, json!({})).told_by(&[404]),
        }
    }

    async fn relate<'a>(self, stage: &Stage<'a>, tag: &str) -> Asked<'a> {
        let ada = stage.ada();
        let [one, other] =
            [made(&ada, POSTS, json!({ "title": tag })).await, made(&ada, POSTS, json!({ "title": tag })).await];
        let [one, other] = [&one, &other].map(|post| post.rsplit('/').next().unwrap());
        if self == Self::CreateManyRelated {
            let body = json!({ "text": tag, "also": [one, other] });
            return Asked::new(ada, Method::POST, COMMENTS, body).looks_for(Wrote::Record);
        }
        let comment = made(&ada, COMMENTS, json!({ "text": tag, "also": [one] })).await;
        Asked::new(ada, Method::PATCH, comment, json!({ "also": [one, other] }))
    }

    async fn share<'a>(self, stage: &Stage<'a>, tag: &str) -> Asked<'a> {
        let ada = stage.ada();
        let body = |members: Value| json!({ "title": tag, "members": members });
        if self == Self::CreateShared {
            return Asked::new(ada, Method::POST, SHARED, body(json!(["a", "b", "a"]))).looks_for(Wrote::Record);
        }
        let one = made(&ada, SHARED, body(json!(["a", "b"]))).await;
        match self {
            Self::PatchShared => Asked::new(ada, Method::PATCH, one, json!({ "members": ["b", "c"] })),
            Self::ReplaceShared => {
                let replaced = body(json!(["c"]));
                Asked::new(ada, Method::PUT, one, replaced).when("if-match", "\"1\"").told_by(&[412])
            }
            Self::UndeleteShared => {
                ada.delete(&one).await.expect(204);
                Asked::new(ada, Method::POST, format!("{one}/undelete"), json!({})).told_by(&[409])
            }
            _ => Asked::new(ada, Method::DELETE, one, json!({})).told_by(&[404]),
        }
    }

    async fn delete_restricted<'a>(self, stage: &Stage<'a>, tag: &str) -> Asked<'a> {
        let ada = stage.ada();
        let post = made(&ada, POSTS, json!({ "title": tag })).await;
        if self == Self::DeleteReleased {
            let comment = json!({ "text": tag, "post": post.rsplit('/').next() });
            let comment = made(&ada, COMMENTS, comment).await;
            ada.delete(&post).await.expect(409);
            ada.delete(&comment).await.expect(204);
        }
        Asked::new(ada, Method::DELETE, post, json!({})).told_by(&[404])
    }

    async fn define<'a>(self, stage: &Stage<'a>, tag: &str) -> Asked<'a> {
        let admin = stage.admin();
        let name = tag.replace('-', "_");
        let path = format!("/v1/collections/{name}");
        let definition = |indexes: Value| {
            json!({ "name": name, "indexes": indexes, "schema": { "type": "object", "additionalProperties": false,
                    "properties": { "title": { "type": "string" } } }, "rules": { "create": "true" } })
        };
        if self != Self::Define {
            admin.put(&path, definition(json!([]))).await.expect(201);
            made(&admin, &format!("{path}/records"), json!({ "title": "t" })).await;
        }
        let indexes = json!([{ "name": "by_title", "partition": ["title"], "sort": [] }]);
        match self {
            Self::DeleteCollection => {
                let path = format!("{path}?records=delete");
                Asked::new(admin, Method::DELETE, path, json!({})).told_by(&[404])
            }
            _ => Asked::new(admin, Method::PUT, path, definition(indexes)),
        }
    }

    async fn ask_for_work<'a>(self, stage: &Stage<'a>) -> Asked<'a> {
        let admin = stage.admin();
        let job = json!({ "type": "no.such_job", "maxAttempts": 1, "delaySeconds": 300 });
        if self == Self::Enqueue {
            return Asked::new(admin, Method::POST, "/v1/jobs", job).looks_for(Wrote::Job);
        }
        let redrives = matches!(self, Self::Redrive | Self::RedriveAll);
        let path = if redrives { dead_job(stage, &admin).await } else { made(&admin, "/v1/jobs", job).await };
        match self {
            Self::Cancel => Asked::new(admin, Method::POST, format!("{path}/cancel"), json!({})).told_by(&[409]),
            Self::Redrive => Asked::new(admin, Method::POST, format!("{path}/redrive"), json!({})).told_by(&[409]),
            _ => Asked::new(admin, Method::POST, "/v1/jobs/redrive", json!({})),
        }
    }
}

fn added(asked: Asked<'_>) -> Asked<'_> {
    asked.when("content-type", MEDIA_TYPE).looks_for(Wrote::Change)
}

/// One of the only two dead jobs; those of the previous run have died again.
async fn dead_job(stage: &Stage<'_>, admin: &Caller<'_>) -> String {
    let dead = async || admin.get("/v1/jobs?dead=true").await.expect(200).body["items"].as_array().unwrap().clone();
    stage.world.settle().await;
    if dead().await.is_empty() {
        for _ in 0..2 {
            made(admin, "/v1/jobs", json!({ "type": "no.such_job", "maxAttempts": 1 })).await;
        }
        stage.world.settle().await;
    }
    let dead = dead().await;
    assert_eq!(dead.len(), 2, "{dead:?}");
    format!("/v1/jobs/{}", dead[0]["id"].as_str().unwrap())
}

async fn made(caller: &Caller<'_>, path: &str, body: Value) -> String {
    let answer = caller.post(path, body).await;
    assert!(answer.status < 300, "{}", answer.text);
    answer.header("location").to_owned()
}
