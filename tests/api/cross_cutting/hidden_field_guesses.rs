//! Guesses of hidden fields by every kind of write, under rules that read them: no answer, cost or change feed depends on the
//! value of the field (R66).

use crate::cross_cutting::hidden_in_queries::learned;
use crate::world::{Answer, Caller, World};
use axum::http::Method;
use serde_json::{Value, json};

const CARDS: &str = "/v1/collections/cards/records";
const OWN: &str = "record.owner == auth.id";
/// Values of a hidden field. All but the last are guessed.
const VALUES: [u32; 3] = [0, 7, 65_535];

/// Cards whose owner may change them, within an update rule: hidden, a number, one that stays as it is, one that only the
/// server writes, and an object; and to be seen, a number, one that stays as it is, and a list.
fn cards(update: &str) -> Value {
    let number = |hidden: bool, once: bool| json!({ "type": "integer", "hidden": hidden, "writeOnce": once });
    let bag =
        json!({ "type": "object", "hidden": true, "maxProperties": 2, "additionalProperties": { "type": "integer" } });
    json!({ "name": "cards", "schema": { "type": "object", "additionalProperties": false, "properties": {
        "owner": { "type": "string" }, "name": { "type": "string" }, "open": number(false, false),
        "tags": { "type": "array", "items": { "type": "integer" } }, "pin": number(true, false), "seal": number(true, true),
        "badge": number(false, true), "zone": number(false, true), "bag": bag,
        "kept": { "type": "integer", "hidden": true, "readOnly": true },
        "stamp": { "type": "integer", "readOnly": true } } },
        "changes": true, "indexes": [{ "name": "mine", "partition": ["owner"] }],
        "rules": { "list": OWN, "read": OWN, "create": "true", "update": update, "delete": OWN } })
}

/// Every way to write a guess of a field, to an existing card or a new one.
fn guesses(field: &str, owner: &str) -> Vec<(&'static str, &'static str, Value)> {
    let guess = |value: u32| if field == "bag" { json!({ format!("of{value}"): 1 }) } else { json!(value) };
    let mut asked = Vec::new();
    for guess in [guess(0), guess(7), json!(null), json!("7")] {
        let whole = json!({ "owner": owner, "name": "Ada", field: guess });
        for manner in ["alone", "conditional", "kept", "batch"] {
            asked.push((manner, "PATCH", json!({ field: guess })));
            asked.push((manner, "PATCH", json!({ "name": "Eve", field: guess })));
            // A right guess must not change which error is named first.
            asked.push((manner, "PATCH", json!({ "badge": 9, "zone": 9, field: guess })));
            asked.push((manner, "PATCH", json!({ "open": 3, "tags": [0, 7, 65_535], field: guess })));
            asked.push((manner, "PUT", whole.clone()));
            asked.push((manner, "POST", whole.clone()));
        }
    }
    // Compared with another field that is sent now, or was sent before.
    for guess in [0, 7] {
        asked.push(("alone", "PATCH", json!({ "open": guess, "tags": [guess] })));
        asked.push(("batch", "PATCH", json!({ "open": guess, "tags": [guess] })));
    }
    asked
}

/// Writes a guess alone, with a precondition, with a key, or in a batch.
async fn write(caller: &Caller<'_>, card: &str, nth: usize, (manner, method, body): &(&str, &str, Value)) -> Answer {
    let path = if *method == "POST" { CARDS } else { card };
    if *manner == "batch" {
        let operation = json!({ "method": method, "path": path, "body": body });
        let conditional = json!({ "method": method, "path": path, "body": body, "ifMatch": "\"1\"" });
        let operation = if *method == "PUT" { conditional } else { operation };
        return caller.post("/v1/batch", json!({ "operations": [operation] })).await;
    }
    let knock = caller.request(method.parse().unwrap(), path).json(body.clone());
    let is_conditional = *method == "PUT" || (*manner == "conditional" && *method == "PATCH");
    let knock = if is_conditional { knock.header("if-match", "\"1\"") } else { knock };
    let key = format!("\"{card}{nth}\"");
    if *manner == "kept" { knock.header("idempotency-key", &key).send().await } else { knock.send().await }
}

/// What a caller learns from writing each guess to a card that holds `value`, from later requests about the card, and from the
/// change feed.
async fn learned_by_writing(world: &World, admin: &Caller<'_>, field: &str, value: u32) -> Vec<String> {
    let ada = world.user("ada").await;
    let holds = if field == "bag" { json!({ format!("of{value}"): 1, "else": 1 }) } else { json!(value) };
    let (mut reported, mut ids, mut made) = (Vec::new(), vec![ada.id().to_owned()], Vec::new());
    for guess in guesses(field, ada.id()) {
        let card = json!({ "owner": ada.id(), "name": "Ada", "open": 1, "zone": 1, field: holds });
        made.push((admin.post(CARDS, card).await.expect(201).header("location").to_owned(), guess));
    }
    world.settle().await;
    let now = ada.get("/v1/changes?collection=cards&after=now").await.expect(200).body["nextCursor"].clone();
    for (nth, (card, guess)) in made.iter().enumerate() {
        let answer = write(&ada, card, nth, guess).await;
        assert!(answer.status < 500, "{guess:?}: {}", answer.text);
        let written = ["/id", "/results/0/body/id"].iter().filter_map(|at| answer.body.pointer(at)?.as_str());
        ids.extend(written.chain(card.rsplit('/').next()).map(str::to_owned));
        reported.push(format!("{guess:?} {}", learned(&answer)));
        let afterwards = ada.get(card).await;
        reported.push(format!("{guess:?}, and then {} {}", learned(&afterwards), afterwards.header("etag")));
    }
    world.settle().await;
    let news = ada.get(&format!("/v1/changes?collection=cards&limit=100&after={}", now.as_str().unwrap())).await;
    assert!(news.body["items"].as_array().unwrap().len() > 3, "{}", news.text);
    reported.push(learned(&news));
    reported
        .iter()
        .map(|reported| ids.iter().fold(reported.clone(), |reported, id| reported.replace(id.as_str(), "id")))
        .collect()
}

/// What a caller learns under an update rule about a field, for each value.
async fn learned_under(update: &str, field: &str) -> Vec<Vec<String>> {
    let mut reported = Vec::new();
    for value in VALUES {
        let world = World::new().await;
        let admin = world.admin().await;
        admin.put("/v1/collections/cards", cards(update)).await.expect(201);
        reported.push(learned_by_writing(&world, &admin, field, value).await);
    }
    reported
}

async fn nothing_is_learned_under(update: &str, fields: &[&str]) {
    for field in fields {
        let reported = learned_under(update, field).await;
        for other in &reported[1..] {
            for (this, that) in reported[0].iter().zip(other) {
                assert_eq!(this, that, "{update}, of {field}");
            }
        }
    }
}

#[tokio::test]
async fn guessing_by_writes_reveals_nothing_of_a_hidden_field() {
    nothing_is_learned_under(OWN, &["pin", "seal", "kept", "bag"]).await;
}

#[tokio::test]
async fn a_rule_with_changed_of_a_hidden_field_reveals_nothing_of_it() {
    nothing_is_learned_under(&format!("{OWN} && !changed('pin') && !changed('seal')"), &["pin", "seal"]).await;
    nothing_is_learned_under(&format!("{OWN} && !(changed('bag') || changed('kept'))"), &["bag", "kept"]).await;
    nothing_is_learned_under(&format!("{OWN} && (changed('pin') || input.name == 'Eve')"), &["pin"]).await;
}

#[tokio::test]
async fn a_rule_over_a_hidden_field_reveals_only_its_own_result() {
    let constants = "record.pin != 70000 && !(record.pin in [70001]) && has(record.pin) && input.pin != 70002";
    nothing_is_learned_under(&format!("{OWN} && {constants} && !changed('pin')"), &["pin"]).await;
    nothing_is_learned_under(&format!("{OWN} && !(record.kept == record.stamp)"), &["pin"]).await;
    let reported = learned_under(&format!("{OWN} && record.pin < 100"), "pin").await;
    assert_eq!(reported[0], reported[1], "both are less");
    assert_ne!(reported[0], reported[2], "a predicate that the rule states is no secret");
}

#[tokio::test]
async fn the_guesses_would_find_the_value_if_it_leaked() {
    for (update, field) in [(OWN.to_owned(), "zone"), (format!("{OWN} && !changed('open')"), "open")] {
        let reported = learned_under(&update, field).await;
        for (nth, this) in reported.iter().enumerate() {
            assert!(reported[..nth].iter().all(|other| other != this), "{update}: of {field}, each value shows");
        }
    }
}

/// A caller who may change but not read a record learns nothing of it by guessing.
#[tokio::test]
async fn whether_a_field_changes_is_not_revealed_to_callers_who_may_not_read_the_record() {
    for (reads, right, wrong) in [(json!(OWN), 404, 404), (Value::Null, 404, 404), (json!("true"), 200, 403)] {
        let world = World::new().await;
        let admin = world.admin().await;
        let mut definition =
            cards("record.open != 100 && !changed('zone') && !(changed('badge') && input.name == 'Eve')");
        definition["schema"]["properties"]["zone"] = json!({ "type": "integer" });
        definition["schema"]["properties"]["badge"] = json!({ "type": "integer" });
        definition["rules"].as_object_mut().unwrap().remove("read");
        if !reads.is_null() {
            definition["rules"]["read"] = reads.clone();
        }
        admin.put("/v1/collections/cards", definition).await.expect(201);
        let (ada, bob) = (world.user("ada").await, world.user("bob").await);
        let card = json!({ "owner": ada.id(), "name": "Ada", "open": 1, "zone": 7, "badge": 7 });
        let card = admin.post(CARDS, card).await.expect(201).header("location").to_owned();
        for field in ["zone", "badge"] {
            for guess in [json!(6), json!(7), json!(null)] {
                let is_right = guess == 7;
                let answer = bob.patch(&card, json!({ "name": "Eve", field: guess })).await;
                let expected = if is_right { right } else { wrong };
                assert_eq!(answer.status, expected, "{reads}, {field} {guess}: {}", answer.text);
                let operation = json!({ "method": "PATCH", "path": card, "body": { "name": "Eve", field: guess } });
                let batch = bob.post("/v1/batch", json!({ "operations": [operation] })).await;
                assert_eq!(batch.status, expected, "{reads}, {field} {guess}: {}", batch.text);
            }
        }
        bob.patch(&card, json!({ "name": "Bob" })).await.expect(200);
        let of_owner = ada.patch(&card, json!({ "name": "Ada", "zone": 7 })).await;
        assert_eq!(of_owner.status, if reads.is_null() { 404 } else { 200 }, "{}", of_owner.text);
        let moved = ada.patch(&card, json!({ "name": "Ada", "zone": 8 })).await;
        assert_eq!(moved.status, if reads.is_null() { 404 } else { 403 }, "{}", moved.text);
    }
}

/// A comparison of a hidden field with a client's value is refused in every rule when the definition is put.
#[tokio::test]
async fn no_rule_may_compare_a_hidden_field_with_a_client_value() {
    let world = World::new().await;
    let admin = world.admin().await;
    for (rule, reported) in [
        ("update", "input.pin == record.pin"),
        ("update", "record.pin == input.open"),
        ("update", "!(input.open < record.pin)"),
        ("update", "record.pin in input.tags"),
        ("update", "input.open in [record.pin, 3]"),
        ("update", "input.pin == input.open"),
        ("create", "input.pin == input.open"),
        ("update", "record.owner == auth.id || record.pin == record.open"),
        ("read", "record.pin == record.open"),
        ("read", "record.pin in record.tags"),
        ("delete", "record.pin >= record.open"),
        ("read", "record.pin == record.version"),
        ("list", "record.pin == record.open"),
    ] {
        let mut definition = cards(OWN);
        definition["rules"][rule] = json!(reported);
        let refused = admin.put("/v1/collections/cards", definition).await.expect(400).body;
        let error = &refused["errors"][0];
        let expected = (format!("/rules/{rule}"), "bad_rule");
        assert_eq!((error["pointer"].as_str().unwrap(), error["code"].as_str().unwrap()), (&*expected.0, expected.1));
        assert!(error["message"].as_str().unwrap().contains("hidden"), "{reported}: {error}");
    }
    for hidden in ["pin", "seal"] {
        let mut unique = cards(OWN);
        unique["unique"] = json!([["owner", hidden]]);
        let refused = admin.put("/v1/collections/cards", unique).await.expect(400).body;
        assert_eq!(refused["errors"][0]["pointer"], "/unique/0/1", "that a value is taken would tell it: {refused}");
    }
}

/// The original attack: sixteen bits found by repeated requests until the answer changes.
#[tokio::test]
async fn a_pin_of_sixteen_bits_is_not_found_by_trying() {
    let world = World::new().await;
    let admin = world.admin().await;
    admin.put("/v1/collections/cards", cards(&format!("{OWN} && !changed('pin')"))).await.expect(201);
    let ada = world.user("ada").await;
    let card = json!({ "owner": ada.id(), "name": "Ada", "pin": 4_660 });
    let card = admin.post(CARDS, card).await.expect(201).header("location").to_owned();
    for guess in (4_560..4_760).chain([0, 65_535]) {
        ada.patch(&card, json!({ "pin": guess })).await.expect(403);
        let put = ada.request(Method::PUT, &card).header("if-match", "\"1\"");
        put.json(json!({ "owner": ada.id(), "name": "Ada", "pin": guess })).send().await.expect(403);
    }
    ada.patch(&card, json!({ "name": "Eve" })).await.expect(200);
    let put = ada.request(Method::PUT, &card).header("if-match", "\"2\"");
    put.json(json!({ "owner": ada.id(), "name": "Ada" })).send().await.expect(200);
    assert_eq!(admin.get(&card).await.expect(200).body["pin"], 4_660, "it is as it was");
}
