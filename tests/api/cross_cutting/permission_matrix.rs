//! The permission matrix (R62): every kind of caller, every action, every kind of object.
//!
//! The expected results come from [`Who`] and from the tables beside the actions, not from the code under test. A route without a
//! row fails.

mod actions;
mod other_routes;
mod shown;

use crate::cross_cutting::openapi::operations;
use crate::world::{Caller, World};
use actions::{ACTIONS, Action, Way};
use serde_json::{Value, json};
use std::cell::Cell;
use std::collections::BTreeSet;
use std::time::Duration;
use undercroft::clock::Clock;

const PLOTS: &str = "/v1/collections/plots/records";
const CANARY: &str = "sings to admins alone";

/// The caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    Anonymous,
    /// With a malformed token.
    Malformed,
    /// With the owner's expired token.
    Expired,
    /// The owner after sign-out, with an access token that is still valid for some minutes.
    SignedOut,
    Owner,
    /// A member of the record.
    Member,
    /// A writer of the record, who may change and delete but not read it.
    Writer,
    Other,
    Admin,
}

/// The object, from the owner's point of view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Object {
    Own,
    /// A record of the owner, with a member and a writer.
    Shared,
    /// A public record.
    Public,
    /// A record of somebody who is not among the callers.
    Foreign,
    /// A deleted record.
    Deleted,
    Absent,
}

const EVERYBODY: [Who; 9] = [
    Who::Anonymous,
    Who::Malformed,
    Who::Expired,
    Who::SignedOut,
    Who::Other,
    Who::Member,
    Who::Writer,
    Who::Owner,
    // Admins are last, because their actions remove the objects that other callers need.
    Who::Admin,
];

const OBJECTS: [Object; 6] =
    [Object::Own, Object::Shared, Object::Public, Object::Foreign, Object::Deleted, Object::Absent];

/// The rights of each caller.
impl Who {
    fn is_turned_away(self) -> bool {
        matches!(self, Self::Malformed | Self::Expired)
    }

    /// Whether it belongs to the caller, deleted or not. Everything belongs to an admin.
    fn holds(self, object: Object) -> bool {
        let is_ada = self.is_owner();
        let is_of_ada = matches!(object, Object::Own | Object::Shared | Object::Deleted);
        object != Object::Absent && (self == Self::Admin || (is_ada && is_of_ada))
    }

    fn is_owner(self) -> bool {
        matches!(self, Self::Owner | Self::SignedOut)
    }

    fn lists(self, object: Object) -> bool {
        object.is_there() && (self.holds(object) || object == Object::Public)
    }

    fn reads(self, object: Object) -> bool {
        self.lists(object) || (self == Self::Member && object == Object::Shared)
    }

    fn changes(self, object: Object) -> bool {
        self.removes(object) || (self == Self::Member && object == Object::Shared)
    }

    fn removes(self, object: Object) -> bool {
        object.is_there() && (self.holds(object) || (self == Self::Writer && object == Object::Shared))
    }
}

impl Object {
    fn is_there(self) -> bool {
        !matches!(self, Self::Deleted | Self::Absent)
    }
}

/// Plots with the rules that `Who` describes.
fn plots() -> Value {
    let text = json!({ "type": "string" });
    json!({
        "name": "plots",
        "schema": { "type": "object", "additionalProperties": false, "properties": {
            "owner": text, "members": { "type": "array", "items": text }, "writers": { "type": "array", "items": text },
            "title": text, "state": text, "size": { "type": "integer" },
            "farm": { "type": "string", "relation": { "collection": "farms" } },
            "secret": { "type": "string", "hidden": true }, "kept": { "type": "string", "readOnly": true } } },
        "indexes": [{ "name": "mine", "partition": ["owner"], "sort": ["state"] },
                    { "name": "on", "partition": ["farm"], "sort": ["owner"] }],
        "counts": true, "changes": true,
        "rules": {
            "list": "record.owner == auth.id || record.owner == 'everybody'",
            "read": "record.owner == auth.id || record.owner == 'everybody' || auth.id in record.members",
            "create": "auth.id != '' && input.owner == auth.id",
            "update": "(record.owner == auth.id || auth.id in record.members || auth.id in record.writers) && !changed('owner')",
            "delete": "record.owner == auth.id || auth.id in record.writers" }
    })
}

/// A world with all callers.
struct Stage<'a> {
    callers: Vec<(Who, Caller<'a>)>,
    farm: Value,
    keys: Cell<usize>,
}

impl<'a> Stage<'a> {
    async fn new(world: &'a World) -> Self {
        let expired = world.user("ada").await;
        world.advance(Duration::from_secs(11 * 60));
        let signed_out = world.user("ada").await;
        signed_out.post("/v1/auth/signout", json!({})).await.expect(204);
        let mut malformed = world.stranger();
        malformed.token = Some("not.a.token".into());
        let callers = vec![
            (Who::Anonymous, world.stranger()),
            (Who::Malformed, malformed),
            (Who::Expired, expired),
            (Who::SignedOut, signed_out),
            (Who::Owner, world.user("ada").await),
            (Who::Member, world.user("bob").await),
            (Who::Writer, world.user("wim").await),
            (Who::Other, world.user("eve").await),
            (Who::Admin, world.admin().await),
        ];
        let mut stage = Self { callers, farm: Value::Null, keys: Cell::new(0) };
        let closed = json!({ "name": "closed", "schema": { "type": "object", "additionalProperties": false,
            "properties": { "title": { "type": "string" } } }, "changes": true });
        let mut farms = closed.clone();
        farms["name"] = json!("farms");
        farms["rules"] = json!({ "read": "true" });
        for definition in [closed, farms, plots()] {
            let path = format!("/v1/collections/{}", definition["name"].as_str().unwrap());
            stage.by(Who::Admin).put(&path, definition).await.expect(201);
        }
        let farm = stage.by(Who::Admin).post("/v1/collections/farms/records", json!({})).await.expect(201);
        stage.farm = farm.body["id"].clone();
        stage
    }

    fn by(&self, who: Who) -> &Caller<'a> {
        &self.callers.iter().find(|(one, _)| *one == who).unwrap().1
    }

    /// The account of the caller, if any.
    fn id(&self, who: Who) -> &str {
        self.by(who).user["id"].as_str().unwrap_or_default()
    }

    /// A new idempotency key.
    fn key(&self) -> String {
        format!("\"{}\"", self.keys.replace(self.keys.get() + 1))
    }

    fn body(&self, object: Object) -> Value {
        let owner = match object {
            Object::Public => "everybody",
            Object::Foreign => "somebody else",
            _ => self.id(Who::Owner),
        };
        let is_shared = matches!(object, Object::Shared | Object::Deleted);
        let only = |who: Who| if is_shared { vec![self.id(who)] } else { Vec::new() };
        let (members, writers, title) = (only(Who::Member), only(Who::Writer), format!("{object:?}"));
        json!({ "owner": owner, "members": members, "writers": writers, "title": title, "state": "new", "farm": self.farm,
            "secret": CANARY })
    }

    /// Creates such an object and returns its path.
    async fn make(&self, object: Object) -> String {
        if object == Object::Absent {
            return format!("{PLOTS}/{}", undercroft::id::new(&Clock::default()));
        }
        let admin = self.by(Who::Admin);
        let path = admin.post(PLOTS, self.body(object)).await.expect(201).header("location").to_owned();
        if object == Object::Deleted {
            admin.delete(&path).await.expect(204);
        }
        path
    }
}

#[tokio::test]
async fn every_action_on_every_object_answers_every_caller_as_the_matrix_says() {
    let world = World::new().await;
    let stage = Stage::new(&world).await;
    let mut knocks = 0;
    for object in OBJECTS {
        for who in EVERYBODY {
            let cells = ACTIONS.into_iter().filter(|action| action.concerns(object));
            let cells = cells.flat_map(|action| action.ways().iter().map(move |way| (action, *way)));
            let (done, refused): (Vec<_>, Vec<_>) = cells.partition(|(action, _)| action.expected(who, object) < 300);
            knocks += done.len() + refused.len();
            everything_is_refused(&stage, who, object, &refused).await;
            for (action, way) in done {
                let path = stage.make(object).await;
                action.knock(&stage, who, object, &path, way).await;
            }
        }
    }
    assert!(knocks > 1_000, "{knocks}");
    world.settle().await;
}

/// A snapshot of all data, to check that nothing changed.
async fn everything_is_refused(stage: &Stage<'_>, who: Who, object: Object, cells: &[(Action, Way)]) {
    let (path, admin) = (stage.make(object).await, stage.by(Who::Admin));
    let before = admin.get(&path).await;
    for (action, way) in cells {
        action.knock(stage, who, object, &path, *way).await;
    }
    let after = admin.get(&path).await;
    let is_same = after.status == before.status && (after.status == 404 || after.body == before.body);
    assert!(is_same, "{who:?}, {object:?}: all was refused, and yet: {}", after.text);
}

#[test]
fn the_matrix_covers_every_route() {
    let document = undercroft_docs::openapi::document(&[]);
    let routes: BTreeSet<(String, String)> =
        operations(&document).into_iter().map(|(method, path, _)| (method, path)).collect();
    let mut asked: BTreeSet<(String, String)> = other_routes::routes();
    asked.extend(shown::ROUTES.iter().map(|(method, path)| ((*method).to_owned(), (*path).to_owned())));
    let ways = ACTIONS.iter().flat_map(|action| action.ways().iter().map(move |way| (action, way)));
    asked.extend(ways.map(|(action, way)| way.route(*action)));
    let missing: Vec<_> = routes.difference(&asked).collect();
    let gone: Vec<_> = asked.difference(&routes).collect();
    assert!(missing.is_empty() && gone.is_empty(), "give it rows: {missing:?}; there is no such route: {gone:?}");
    assert!(asked.contains(&Way::Batch.route(ACTIONS[1])));
}
