//! Every kind of query for hidden data: records of others, and hidden fields of one's own records.

use crate::records::pages::encoded;
use crate::world::{Answer, Caller, World};
use serde_json::{Value, json};

const PEOPLE: &str = "/v1/collections/people/records";
const LINKS: &str = "/v1/collections/links/records";

/// People that only their owner sees, without the hidden field; links to people, which everybody sees.
async fn people(world: &World) -> Caller<'_> {
    let admin = world.admin().await;
    let to = |hidden: bool| json!({ "type": "string", "hidden": hidden, "relation": { "collection": "people" } });
    let people = json!({ "name": "people", "schema": { "type": "object", "additionalProperties": false, "properties": {
        "owner": { "type": "string" }, "name": { "type": "string" }, "open": { "type": "integer" },
        "secret": { "type": "integer", "hidden": true }, "friend": to(false), "boss": to(true) } },
        "indexes": [{ "name": "mine", "partition": ["owner"], "sort": ["open"] },
                    { "name": "friends", "partition": ["owner", "friend"], "sort": [] }],
        "counts": true, "changes": true,
        "rules": { "list": "record.owner == auth.id", "create": "true", "refer": "auth.id != ''",
            "read": "record.owner == auth.id && record.secret != 70000 && !(record.secret in [70001])" } });
    let mut listed = people.clone();
    listed["rules"]["list"] = json!("record.owner == auth.id && record.secret != 70000");
    let refused = admin.put("/v1/collections/people", listed).await.expect(400).body;
    assert_eq!(refused["errors"][0]["pointer"], "/rules/list", "no index holds what is hidden: {refused}");
    admin.put("/v1/collections/people", people).await.expect(201);
    let links = json!({ "name": "links", "schema": { "type": "object", "additionalProperties": false, "properties": {
        "to": to(false), "unseen": to(true) } }, "indexes": [{ "name": "by_to", "partition": ["to"], "sort": [] }],
        "rules": { "list": "true", "read": "true", "create": "true" } });
    admin.put("/v1/collections/links", links).await.expect(201);
    admin
}

/// Every query for each bit of a field of `people`: of the list, of one record, and of its referrers.
#[expect(clippy::too_many_lines, reason = "one table of cases, read from top to bottom")]
fn questions(field: &str, person: &str) -> Vec<String> {
    let mut filters = vec![
        format!("has({field})"),
        format!("!has({field})"),
        format!("{field} == null"),
        format!("record.{field} == 1"),
        format!("{field}.x == 1"),
        format!("friend.{field} == 1"),
        format!("changed('{field}')"),
        format!("'x' in {field}"),
        format!("{field}.startsWith('x')"),
    ];
    for bit in 0..16 {
        let guess = 1 << bit;
        for test in ["==", "!=", "<", "<=", ">", ">="] {
            filters.push(format!("{field} {test} {guess}"));
        }
        filters.push(format!("{field} in [0, {guess}]"));
        filters.push(format!("name == 'Ada' && !({field} >= {guess} || open == 9)"));
    }
    let mut asked = Vec::new();
    for filter in filters {
        let filter = encoded(&filter);
        for scan in ["", "&scan=100", "&explain=true", "&scan=1&explain=true"] {
            asked.push(format!("{PEOPLE}?filter={filter}{scan}"));
        }
    }
    let names = [
        field.to_owned(),
        format!("-{field}"),
        format!("friend.{field}"),
        format!("name,{field}"),
        format!("{field},-id"),
    ];
    for name in &names {
        for also in ["", "&scan=100", "&explain=true", "&limit=1"] {
            asked.push(format!("{PEOPLE}?sort={name}{also}"));
        }
        asked.push(format!("{PEOPLE}?fields={name}"));
    }
    let expands =
        ["friend", "boss", "friend.boss", "people_via_friend", "people_via_boss", "links_via_to", "links_via_unseen"];
    for expand in expands.iter().map(|expand| (*expand).to_owned()).chain(names.iter().cloned()) {
        for also in ["", "&explain=true", "&fields=name"] {
            asked.push(format!("{PEOPLE}?expand={expand}{also}"));
            asked.push(format!("{LINKS}?expand=to.{expand}{also}"));
        }
        asked.push(format!("{PEOPLE}/{person}?expand={expand}"));
    }
    for counted in [format!("{field} == 1"), format!("{field} > 255"), format!("has({field})")] {
        asked.push(format!("{PEOPLE}?count=true&limit=0&filter={}", encoded(&counted)));
        asked.push(format!("/v1/changes?collection=people&filter={}", encoded(&counted)));
    }
    asked.extend([
        PEOPLE.to_owned(),
        format!("{PEOPLE}?count=true"),
        format!("{PEOPLE}?count=true&sort={field}"),
        format!("{PEOPLE}?count=true&limit=0&{field}=1"),
        "/v1/changes?collection=people".to_owned(),
        format!("/v1/changes?collection=people&{field}=1"),
        format!("{PEOPLE}?limit=1"),
        format!("{PEOPLE}?deleted=true"),
        format!("{PEOPLE}?{field}=1"),
        format!("{PEOPLE}/{person}"),
        format!("{PEOPLE}/{person}?consistent=true"),
        format!("{PEOPLE}/{person}?{field}=1"),
    ]);
    asked
}

/// Everything in an answer except values that change with every write or request.
pub fn learned(answer: &Answer) -> String {
    fn mask(value: &mut Value) {
        match value {
            Value::Object(members) => {
                for (name, value) in members.iter_mut() {
                    match name.as_str() {
                        "version" | "updatedAt" | "createdAt" | "requestId" => *value = json!("masked"),
                        "nextCursor" => *value = json!(value.as_str().unwrap().len()),
                        _ => mask(value),
                    }
                }
            }
            Value::Array(items) => items.iter_mut().for_each(mask),
            _ => {}
        }
    }
    let mut body = answer.body.clone();
    mask(&mut body);
    let reported = ["undercroft-cost", "content-type", "content-length", "link", "allow"];
    let headers: Vec<_> = reported.iter().map(|name| answer.headers.get(*name)).collect();
    format!("{} {headers:?} {body}", answer.status)
}

#[tokio::test]
async fn no_query_reveals_a_bit_of_a_hidden_field() {
    let world = World::new().await;
    let admin = people(&world).await;
    let ada = world.user("ada").await;
    let body = json!({ "owner": ada.id(), "name": "Ada", "open": 0 });
    let friend = admin.post(PEOPLE, body.clone()).await.expect(201).body["id"].clone();
    let mut person = body;
    person["friend"] = friend.clone();
    person["boss"] = friend;
    let person = admin.post(PEOPLE, person).await.expect(201).body["id"].as_str().unwrap().to_owned();
    ada.post(LINKS, json!({ "to": person })).await.expect(201);
    // Between these, every bit is 0 and 1, with every other bit either.
    let values = [0x0000, 0xFFFF, 0x5555, 0xAAAA, 0x0F0F, 0x1234];
    let mut answers = Vec::new();
    for field in ["secret", "open"] {
        let questions = questions(field, &person);
        // Warm: keys and definitions are fetched once, whatever is stored.
        ada.get(&format!("{PEOPLE}?limit=1")).await.expect(200);
        ada.get(&format!("{LINKS}?expand=to")).await.expect(200);
        let mut of_value = Vec::new();
        for value in values {
            admin.patch(&format!("{PEOPLE}/{person}"), json!({ field: value })).await.expect(200);
            let mut reported = Vec::new();
            for question in &questions {
                let answer = ada.get(question).await;
                assert!(answer.status < 500, "{question}: {}", answer.text);
                reported.push(learned(&answer));
            }
            of_value.push(reported);
        }
        answers.push((questions, of_value));
    }
    let (questions, secret) = &answers[0];
    for reported in secret {
        for ((question, now), before) in questions.iter().zip(reported).zip(&secret[0]) {
            assert_eq!(now, before, "{question}");
        }
    }
    // The queries are effective: for a visible field they distinguish every two values.
    let open = &answers[1].1;
    for (nth, reported) in open.iter().enumerate() {
        assert!(open[..nth].iter().all(|other| other != reported));
    }
    let telling =
        (0..answers[1].0.len()).filter(|nth| open.iter().any(|reported| reported[*nth] != open[0][*nth])).count();
    assert!(telling > 100, "{telling}");
}

#[tokio::test]
async fn no_answer_contains_text_of_another_users_record() {
    let world = World::new().await;
    let admin = people(&world).await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let canary =
        json!({ "owner": bob.id(), "name": "CANARY", "open": 424_242_424_242_u64, "secret": 434_343_434_343_u64 });
    let friend = admin.post(PEOPLE, canary.clone()).await.expect(201).body["id"].clone();
    let mut person = canary;
    person["friend"] = friend;
    let person = admin.post(PEOPLE, person).await.expect(201).body["id"].as_str().unwrap().to_owned();
    let own = admin.post(PEOPLE, json!({ "owner": ada.id(), "name": "Ada", "friend": person })).await.expect(201).body;
    ada.post(LINKS, json!({ "to": person })).await.expect(201);
    let gone = admin.post(PEOPLE, json!({ "owner": bob.id(), "name": "CANARY" })).await.expect(201).body;
    admin.delete(&format!("{PEOPLE}/{}", gone["id"].as_str().unwrap())).await.expect(204);

    let sings = |answer: &Answer| {
        let all = format!("{:?} {}", answer.headers, answer.text);
        ["CANARY", "424242424242", "434343434343"].iter().any(|canary| all.contains(canary))
    };
    let mut asked: Vec<String> =
        ["name", "open", "secret"].iter().flat_map(|field| questions(field, &person)).collect();
    asked.extend(questions("name", own["id"].as_str().unwrap()));
    for owner in [encoded(&format!("owner == \"{}\"", bob.id())), encoded("name == \"CANARY\""), encoded("open >= 0")] {
        asked.extend(["", "&scan=1000", "&explain=true"].map(|also| format!("{PEOPLE}?filter={owner}{also}")));
    }
    let mut heard = 0;
    for question in &asked {
        for caller in [&ada, &world.stranger()] {
            let answer = caller.get(question).await;
            // A query may contain the searched value itself.
            assert!(!sings(&answer) || question.contains(&encoded("CANARY")), "{question}: {}", answer.text);
        }
    }
    for question in &asked[..40] {
        heard += usize::from(sings(&bob.get(question).await));
    }
    heard += usize::from(sings(&bob.get(PEOPLE).await));
    assert!(heard > 0, "its owner hears it");
    // The owner does not see the hidden part either.
    for question in questions("secret", &person) {
        assert!(!bob.get(&question).await.text.contains("434343434343"), "{question}");
    }
    // Relations that are hidden are no relations, forward and back.
    for (of, expand) in [(PEOPLE, "boss"), (PEOPLE, "people_via_boss"), (PEOPLE, "links_via_unseen"), (LINKS, "unseen")]
    {
        let hidden = bob.get(&format!("{of}?expand={expand}")).await.expect(400).body["detail"].clone();
        let ghost = bob.get(&format!("{of}?expand=ghost")).await.expect(400).body["detail"].clone();
        assert_eq!(hidden.as_str().unwrap().replace(expand, "ghost"), ghost, "{of}?expand={expand}");
    }
    // A cursor is valid only for its own caller.
    let cursor =
        bob.get(&format!("{PEOPLE}?limit=1")).await.expect(200).body["nextCursor"].as_str().unwrap().to_owned();
    ada.get(&format!("{PEOPLE}?limit=1&cursor={cursor}")).await.expect(400);
}

#[tokio::test]
async fn hidden_records_change_no_answer_and_no_cost() {
    let world = World::new().await;
    let admin = people(&world).await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let mut own = Vec::new();
    for open in [1, 2, 3] {
        let body = json!({ "owner": ada.id(), "name": "Ada", "open": open });
        own.push(admin.post(PEOPLE, body).await.expect(201).body["id"].as_str().unwrap().to_owned());
    }
    ada.post(LINKS, json!({ "to": own[0] })).await.expect(201);
    let mut asked: Vec<String> = ["name", "open"].iter().flat_map(|field| questions(field, &own[0])).collect();
    for sort in ["", "&sort=id", "&sort=-createdAt", "&sort=open", "&sort=-open"] {
        for scan in [1, 2, 100] {
            for filter in
                ["true", "name == \"Ada\"", "name != \"Ada\"", "open == 2", "createdAt >= \"2020-01-01T00:00:00Z\""]
            {
                asked.push(format!("{PEOPLE}?scan={scan}{sort}&filter={}", encoded(filter)));
            }
        }
    }
    let ask = async || {
        ada.get(&format!("{PEOPLE}?limit=1")).await.expect(200);
        ada.get(&format!("{LINKS}?expand=to")).await.expect(200);
        let mut reported = Vec::new();
        for question in &asked {
            reported.push(learned(&ada.get(question).await));
        }
        reported
    };
    let before = ask().await;
    world.advance(std::time::Duration::from_millis(5));
    for nth in 0..6 {
        let body = json!({ "owner": bob.id(), "name": "Bob", "open": nth, "friend": own[nth % 3], "boss": own[0] });
        let made = admin.post(PEOPLE, body).await.expect(201).body;
        if nth == 5 {
            admin.delete(&format!("{PEOPLE}/{}", made["id"].as_str().unwrap())).await.expect(204);
        }
    }
    for ((question, before), after) in asked.iter().zip(&before).zip(&ask().await) {
        assert_eq!(before, after, "{question}");
    }
    let scanned =
        asked.iter().zip(&before).filter(|(asked, reported)| asked.contains("scan=") && reported.starts_with("200"));
    assert!(scanned.count() > 20, "scans were answered");
}
