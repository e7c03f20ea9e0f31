//! The actions on one record, every way to send them, and the answer for each caller.

use super::{Object, PLOTS, Stage, Who};
use crate::records::operators::MEDIA_TYPE;
use crate::world::Answer;
use axum::http::Method;
use serde_json::{Value, json};

/// The action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Read,
    ReadConsistently,
    /// A patch of a field outside all indexes, written without a read.
    Patch,
    /// A patch of an indexed field.
    PatchIndexed,
    /// An operator on a field outside all indexes, written without a read.
    Add,
    /// The one change that the rule forbids to callers who may make all others.
    GiveAway,
    /// A patch of a field that only admins write.
    PatchKept,
    /// A patch of a field that nobody writes.
    PatchVersion,
    Replace,
    /// By id, without a condition.
    Upsert,
    /// Under an id chosen by the client.
    MakeAs,
    Make,
    MakeForAnother,
    Delete,
    Undelete,
}

use Action::*;

pub const ACTIONS: [Action; 15] = [
    Read,
    ReadConsistently,
    Patch,
    PatchIndexed,
    Add,
    GiveAway,
    PatchKept,
    PatchVersion,
    Replace,
    Upsert,
    MakeAs,
    Make,
    MakeForAnother,
    Delete,
    Undelete,
];

/// How the request is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Alone,
    IdempotencyKey,
    Batch,
}

impl Action {
    /// The answer for each caller.
    pub fn expected(self, who: Who, object: Object) -> u16 {
        let or_nothing = |status: u16, may: bool| if may { status } else { 404 };
        let is_admin = who == Who::Admin;
        match self {
            _ if who.is_turned_away() => 401,
            Read | ReadConsistently => or_nothing(200, who.reads(object)),
            // Every write rule uses the caller, which is unknown for a stranger.
            _ if who == Who::Anonymous => 401,
            Patch | PatchIndexed => or_nothing(200, who.changes(object)),
            // A sum would reveal what is stored.
            Add if who.changes(object) && !who.reads(object) => 400,
            Add => or_nothing(200, who.changes(object)),
            // The body names the owner; to who may not read the record that is a change, whoever it names.
            Replace => or_nothing(200, who.changes(object) && who.reads(object)),
            Upsert if is_admin && !object.is_there() => 201,
            Upsert if who.changes(object) && who.reads(object) => 200,
            // As a create: only for oneself, and the id is taken by a record that the caller may not change or bring back.
            Upsert if !who.holds(object) && (object != Object::Absent || !who.is_owner()) => 403,
            Upsert if object == Object::Absent => 201,
            Upsert => 409,
            GiveAway if is_admin => or_nothing(200, object.is_there()),
            // Who may read the record and change it otherwise hears which condition does not hold.
            GiveAway => or_nothing(403, who.changes(object) && who.reads(object)),
            PatchKept if is_admin => or_nothing(200, object.is_there()),
            PatchKept | PatchVersion => 400,
            MakeForAnother if !is_admin => 403,
            MakeAs if object != Object::Absent => 412,
            MakeAs | Make | MakeForAnother => 201,
            Delete => or_nothing(204, who.removes(object)),
            Undelete if who.removes(object) => 409,
            // An admin deleted it, and the collection has no rule `undelete`.
            Undelete => or_nothing(200, who == Who::Admin && who.holds(object)),
        }
    }

    /// Whether the answer depends on the object.
    pub fn concerns(self, object: Object) -> bool {
        !matches!(self, Make | MakeForAnother) || object == Object::Absent
    }

    pub fn writes(self) -> bool {
        !matches!(self, Read | ReadConsistently)
    }

    pub fn ways(self) -> &'static [Way] {
        if self.writes() { &[Way::Alone, Way::IdempotencyKey, Way::Batch] } else { &[Way::Alone] }
    }

    fn method(self) -> Method {
        match self {
            Read | ReadConsistently => Method::GET,
            Patch | PatchIndexed | Add | GiveAway | PatchKept | PatchVersion => Method::PATCH,
            Replace | Upsert | MakeAs => Method::PUT,
            Make | MakeForAnother | Undelete => Method::POST,
            Delete => Method::DELETE,
        }
    }

    fn path(self, object: &str) -> String {
        match self {
            ReadConsistently => format!("{object}?consistent=true"),
            Make | MakeForAnother => PLOTS.to_owned(),
            Upsert => format!("{PLOTS}?unique=id"),
            Undelete => format!("{object}/undelete"),
            _ => object.to_owned(),
        }
    }

    fn body(self, stage: &Stage<'_>, who: Who, object: Object, at: &str) -> Option<Value> {
        let whole = |owner: &str| {
            let mut whole = stage.body(object);
            whole["owner"] = json!(owner);
            whole
        };
        Some(match self {
            Patch => json!({ "title": "changed" }),
            PatchIndexed => json!({ "state": "changed" }),
            Add => json!({ "add": { "size": 1 } }),
            GiveAway => json!({ "owner": "another" }),
            PatchKept => json!({ "kept": "changed" }),
            PatchVersion => json!({ "version": 7 }),
            Replace => stage.body(object),
            Upsert => {
                let mut whole = stage.body(object);
                whole["id"] = json!(at.rsplit('/').next());
                whole
            }
            MakeAs | Make => whole(stage.id(who)),
            MakeForAnother => whole("another"),
            Read | ReadConsistently | Delete | Undelete => return None,
        })
    }

    /// In a batch, and as a header.
    fn precondition(self) -> Option<(&'static str, &'static str)> {
        match self {
            Replace => Some(("ifMatch", "if-match")),
            MakeAs => Some(("ifNoneMatch", "if-none-match")),
            _ => None,
        }
    }

    /// Sends the request and compares the answer with the expected one.
    pub async fn knock(self, stage: &Stage<'_>, who: Who, object: Object, at: &str, way: Way) {
        let answer = self.asked(stage, who, object, at, way).await;
        let (expected, reported) = (self.expected(who, object), format!("{who:?}, {self:?}, {object:?}, {way:?}"));
        way.hold(&answer, who, expected, &reported);
        if expected == 200 && who == Who::Writer && self.writes() {
            let body = if way == Way::Batch { &answer.body["results"][0]["body"] } else { &answer.body };
            let members: Vec<_> = body.as_object().unwrap().keys().collect();
            assert_eq!(members, ["id", "version"], "{reported}: {}", answer.text);
        }
    }

    async fn asked(self, stage: &Stage<'_>, who: Who, object: Object, at: &str, way: Way) -> Answer {
        let (caller, path, body) = (stage.by(who), self.path(at), self.body(stage, who, object, at));
        if way == Way::Batch {
            let mut operation = json!({ "method": self.method().as_str(), "path": path });
            body.into_iter().for_each(|body| operation["body"] = body);
            self.precondition().into_iter().for_each(|(member, _)| operation[member] = json!("*"));
            if self == Add {
                operation["contentType"] = json!(MEDIA_TYPE);
            }
            return caller.post("/v1/batch", json!({ "operations": [operation] })).await;
        }
        let mut knock = caller.request(self.method(), &path);
        if let Some((_, header)) = self.precondition() {
            knock = knock.header(header, "*");
        }
        if self == Add {
            knock = knock.header("content-type", MEDIA_TYPE);
        }
        if way == Way::IdempotencyKey {
            knock = knock.header("idempotency-key", &stage.key());
        }
        body.into_iter().fold(knock, |knock, body| knock.json(body)).send().await
    }
}

impl Way {
    /// Compares an answer with that of the single action.
    fn hold(self, answer: &Answer, who: Who, expected: u16, reported: &str) {
        let is_done = expected < 300;
        let (whole, each) = match self {
            // A key is its caller's own, and a stranger has none.
            Self::IdempotencyKey if who == Who::Anonymous => (400, None),
            Self::Batch if is_done => (200, Some(&answer.body["results"][0]["status"])),
            Self::Batch if who.is_turned_away() => (401, None),
            Self::Batch => (expected, Some(&answer.body["operations"][0]["status"])),
            _ => (expected, None),
        };
        assert_eq!(answer.status, whole, "{reported}: {}", answer.text);
        assert!(each.is_none_or(|each| *each == expected), "{reported}: {}", answer.text);
        let may_sing = who == Who::Admin;
        assert!(may_sing || !answer.text.contains(super::CANARY), "{reported}: {}", answer.text);
    }

    /// The route of the action.
    pub fn route(self, action: Action) -> (String, String) {
        let path = match (self, action) {
            (Self::Batch, _) => "/v1/batch",
            (_, Make | MakeForAnother | Upsert) => "/v1/collections/{collection}/records",
            (_, Undelete) => "/v1/collections/{collection}/records/{id}/undelete",
            _ => "/v1/collections/{collection}/records/{id}",
        };
        let method = if self == Self::Batch { Method::POST } else { action.method() };
        (method.to_string(), path.to_owned())
    }
}
