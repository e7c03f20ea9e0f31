//! Lists, counts, changes and expansions contain exactly the records each caller may see. A closed collection is answered like a
//! missing one.

use super::{CANARY, EVERYBODY, OBJECTS, Object, PLOTS, Stage, Who};
use crate::records::pages::encoded;
use crate::world::{Answer, World};
use axum::http::Method;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

/// The routes under test.
pub const ROUTES: [(&str, &str); 3] = [
    ("GET", "/v1/collections/{collection}/records"),
    ("GET", "/v1/collections/{collection}/schema"),
    ("GET", "/v1/changes"),
];

const SIGNS: &str = "/v1/collections/signs/records";

/// Records by their titles.
fn titles<'a>(records: impl IntoIterator<Item = &'a Value>) -> BTreeSet<String> {
    records.into_iter().map(|record| record["title"].as_str().unwrap().to_owned()).collect()
}

fn those(may: impl Fn(Object) -> bool) -> BTreeSet<String> {
    OBJECTS.iter().filter(|object| may(**object)).map(|object| format!("{object:?}")).collect()
}

/// One record of each kind, each with a public sign that points at it. The deleted one is deleted after its sign exists.
async fn one_of_each(stage: &Stage<'_>) -> String {
    let admin = stage.by(Who::Admin);
    let signs = json!({ "name": "signs", "schema": { "type": "object", "additionalProperties": false, "properties": {
        "title": { "type": "string" },
        "to": { "type": "string", "relation": { "collection": "plots", "onDelete": "setNull" } } } },
        "indexes": [{ "name": "to", "partition": ["to"] }], "rules": { "list": "true", "read": "true" } });
    admin.put("/v1/collections/signs", signs).await.expect(201);
    let mut deleted = String::new();
    for object in OBJECTS.into_iter().filter(|object| *object != Object::Absent) {
        let made = admin.post(PLOTS, stage.body(object)).await.expect(201);
        admin.post(SIGNS, json!({ "title": format!("{object:?}"), "to": made.body["id"] })).await.expect(201);
        if object == Object::Deleted {
            admin.delete(made.header("location")).await.expect(204);
            deleted = made.body["id"].as_str().unwrap().to_owned();
        }
    }
    deleted
}

/// Checks the answer for this caller: access, and no hidden data.
async fn asked(stage: &Stage<'_>, who: Who, query: &str) -> Option<Answer> {
    let answer = stage.by(who).get(query).await;
    if who.is_turned_away() {
        answer.expect(401);
        return None;
    }
    assert!(who == Who::Admin || !answer.text.contains(CANARY), "{who:?}, {query}: {}", answer.text);
    Some(answer)
}

#[tokio::test]
async fn every_caller_is_shown_what_the_matrix_says_and_no_more() {
    let world = World::new().await;
    let stage = Stage::new(&world).await;
    let deleted = one_of_each(&stage).await;
    for who in EVERYBODY {
        beside(&stage, who).await;
    }
    world.settle().await;
    for who in EVERYBODY {
        listed(&stage, who).await;
        followed(&stage, who, &deleted).await;
        of_hidden_fields(&stage, who).await;
        of_what_is_deleted(&stage, who).await;
    }
    // The sign that points at the deleted record is updated by a job later.
    for _ in 0..3 {
        world.advance(Duration::from_secs(16));
        world.settle().await;
    }
}

/// Expands the plots of the farm, and the plot of each sign.
async fn beside(stage: &Stage<'_>, who: Who) {
    let farm = format!("/v1/collections/farms/records/{}?expand=plots_via_farm", stage.farm.as_str().unwrap());
    let Some(answer) = asked(stage, who, &farm).await else { return };
    let body = answer.expect(200).body;
    let back = body["expanded"]["plots_via_farm"].as_array().unwrap();
    assert_eq!(titles(back), those(|object| who.lists(object)), "{who:?}");
    let Some(answer) = asked(stage, who, &format!("{SIGNS}?expand=to")).await else { return };
    let body = answer.expect(200).body;
    let signs = body["items"].as_array().unwrap();
    assert_eq!(signs.len(), 5);
    let forward = signs.iter().map(|sign| &sign["expanded"]["to"]).filter(|to| !to.is_null());
    assert_eq!(titles(forward), those(|object| who.reads(object)), "{who:?}");
}

async fn listed(stage: &Stage<'_>, who: Who) {
    let all = those(|object| who.lists(object));
    let of_ada = format!("owner == \"{}\"", stage.id(Who::Owner));
    for (filter, expected) in [
        ("", all.clone()),
        ("true", all.clone()),
        ("owner == 'everybody'", those(|object| who.lists(object) && object == Object::Public)),
        ("owner == 'somebody else'", those(|object| who.lists(object) && object == Object::Foreign)),
        (&of_ada, those(|object| who.lists(object) && !matches!(object, Object::Public | Object::Foreign))),
        ("title != 'Own'", those(|object| who.lists(object) && object != Object::Own)),
    ] {
        let filter = if filter.is_empty() { String::new() } else { format!("filter={}&", encoded(filter)) };
        for also in ["scan=1000", "scan=1000&limit=100&fields=title"] {
            let query = format!("{PLOTS}?{filter}{also}");
            let Some(answer) = asked(stage, who, &query).await else { continue };
            let page = answer.expect(200).body;
            assert_eq!(titles(page["items"].as_array().unwrap()), expected, "{who:?}, {query}");
        }
    }
    let Some(answer) = asked(stage, who, &format!("{PLOTS}?count=true&limit=0")).await else { return };
    assert_eq!(answer.expect(200).body["count"]["records"], all.len(), "{who:?}");
}

async fn followed(stage: &Stage<'_>, who: Who, deleted: &str) {
    let Some(answer) = asked(stage, who, "/v1/changes?collection=plots&limit=100").await else { return };
    let body = answer.expect(200).body;
    let of = |kind: &'static str| body["items"].as_array().unwrap().iter().filter(move |item| item["type"] == kind);
    assert_eq!(titles(of("put").map(|item| &item["record"])), those(|object| who.lists(object)), "{who:?}");
    let gone: Vec<&Value> = of("deleted").map(|item| &item["id"]).collect();
    let expected: &[&str] = if who.holds(Object::Deleted) { &[deleted] } else { &[] };
    assert_eq!(gone, expected, "{who:?}");
    assert_eq!(of("left").count(), 0);
}

/// A hidden field is treated as unknown in every query.
async fn of_hidden_fields(stage: &Stage<'_>, who: Who) {
    for asks in [
        format!("filter={}", encoded(&format!("secret == '{CANARY}'"))),
        format!("filter={}&scan=100", encoded("has(secret)")),
        format!("filter={}&explain=true", encoded("secret > 'a'")),
        "sort=secret".into(),
        "sort=-secret&scan=100".into(),
        "fields=secret".into(),
        "expand=secret".into(),
    ] {
        if let Some(answer) = asked(stage, who, &format!("{PLOTS}?{asks}")).await {
            answer.expect(400);
        }
    }
}

async fn of_what_is_deleted(stage: &Stage<'_>, who: Who) {
    let Some(answer) = asked(stage, who, &format!("{PLOTS}?deleted=true")).await else { return };
    match who {
        Who::Anonymous => drop(answer.expect(401)),
        Who::Admin => {
            let page = answer.expect(200).body;
            assert_eq!(titles(page["items"].as_array().unwrap()), those(|object| object == Object::Deleted));
        }
        _ => drop(answer.expect(403)),
    }
}

#[tokio::test]
async fn a_closed_collection_looks_missing_to_everyone_but_admins() {
    let world = World::new().await;
    let stage = Stage::new(&world).await;
    let made = stage.by(Who::Admin).post("/v1/collections/closed/records", json!({ "title": "t" })).await.expect(201);
    let id = made.body["id"].as_str().unwrap();
    for (method, suffix, to_admin) in [
        (Method::GET, "/records", 200),
        (Method::GET, "/records?explain=true", 200),
        (Method::POST, "/records", 201),
        (Method::GET, "/records/{id}", 200),
        (Method::PATCH, "/records/{id}", 200),
        (Method::PATCH, "/records/{id}?explain=true", 200),
        (Method::PUT, "/records/{id}", 200),
        (Method::DELETE, "/records/{id}", 204),
        (Method::POST, "/records/{id}/undelete", 200),
        (Method::GET, "/schema", 200),
        (Method::GET, "/v1/changes", 200),
    ] {
        for who in EVERYBODY {
            let mut reported = Vec::new();
            for collection in ["closed", "nowhere"] {
                let path = match suffix {
                    "/v1/changes" => format!("{suffix}?collection={collection}"),
                    _ => format!("/v1/collections/{collection}{}", suffix.replace("{id}", id)),
                };
                let knock = stage.by(who).request(method.clone(), &path);
                let knock = if method == Method::PUT { knock.header("if-match", "*") } else { knock };
                let has_body = method == Method::PUT || method == Method::PATCH || suffix == "/records";
                let knock = if has_body && method != Method::GET { knock.json(json!({ "title": "x" })) } else { knock };
                let mut answer = knock.send().await;
                answer.body["requestId"] = Value::Null;
                reported.push((answer.status, answer.body, answer.headers.get("undercroft-cost").cloned()));
            }
            let expected = match who {
                Who::Anonymous | Who::Malformed | Who::Expired => 401,
                Who::Admin => to_admin,
                _ => 404,
            };
            assert_eq!(reported[0].0, expected, "{who:?}, {method} {suffix}: {}", reported[0].1);
            assert_eq!(reported[1].0, if who == Who::Admin { 404 } else { expected }, "{who:?}, {method} {suffix}");
            assert!(who == Who::Admin || reported[0] == reported[1], "{who:?}, {method} {suffix}: {reported:?}");
        }
    }
}
