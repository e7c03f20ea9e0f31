//! Pages: an unchanged record is on exactly one page, and deleted records have a bounded cost.

use crate::world::{Caller, World};
use futures_util::future::{join, join_all};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const THINGS: &str = "/v1/collections/things/records";

/// Things with two indexes, in as many shards.
async fn things(world: &World, shards: u8) -> Caller<'_> {
    let admin = world.admin().await;
    let things = json!({ "name": "things", "shards": shards, "schema": { "type": "object", "additionalProperties": false, "properties": {
        "kind": { "enum": ["a", "b", "c"] }, "rank": { "type": "integer" }, "note": { "type": "string" } } },
        "indexes": [{ "name": "by_rank", "partition": [], "sort": ["rank"] },
                    { "name": "by_kind", "partition": ["kind"], "sort": ["-rank", "note"] }],
        "rules": { "list": "true", "read": "true", "create": "true", "update": "true", "delete": "true" } });
    admin.put("/v1/collections/things", things).await.expect(201);
    admin
}

fn path(id: &str) -> String {
    format!("{THINGS}/{id}")
}

pub fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// Reproducible random numbers: a linear congruential generator.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    fn kind(&mut self) -> &'static str {
        ["a", "b", "c"][self.below(3) as usize]
    }

    fn thing(&mut self) -> Value {
        json!({ "kind": self.kind(), "rank": self.below(8) as i64 - 2, "note": format!("n{}", self.below(4)) })
    }
}

/// The fields that a page is ordered by, each with whether upwards.
type Order = &'static [(&'static str, bool)];

/// Filter and sort as they are asked, and the order that is promised.
const QUERIES: &[(&str, &str, Order)] = &[
    ("", "", &[("id", true)]),
    ("", "-createdAt", &[("id", false)]),
    ("createdAt >= \"2020-01-01T00:00:00Z\"", "-id", &[("id", false)]),
    ("", "rank", &[("rank", true), ("id", true)]),
    ("", "-rank", &[("rank", false), ("id", false)]),
    ("rank >= 2 && rank < 6", "-rank", &[("rank", false), ("id", false)]),
    ("kind == \"a\"", "-rank", &[("rank", false), ("note", true), ("id", true)]),
    ("kind == \"a\"", "rank,-note", &[("rank", true), ("note", false), ("id", false)]),
    ("kind in [\"a\", \"b\", \"c\"]", "-rank", &[("rank", false), ("note", true), ("id", true)]),
    ("kind == \"a\" && rank >= 3 || kind == \"b\"", "rank", &[("rank", true), ("note", false), ("id", false)]),
    ("kind == \"a\" || kind in [\"a\", \"b\"]", "-rank,note", &[("rank", false), ("note", true), ("id", true)]),
    // Part of an index, read backwards.
    ("rank == 3", "-createdAt", &[("id", false)]),
    ("rank == -1", "-createdAt", &[("id", false)]),
    ("kind == \"a\" && rank == 3", "-note", &[("note", false), ("id", false)]),
    ("kind == \"b\" && rank == -1", "-note", &[("note", false), ("id", false)]),
    ("kind == \"a\" && rank in [1, -2]", "-note", &[("note", false), ("id", false)]),
];

/// Whether an unchanged thing belongs in the answer.
fn belongs(filter: &str, thing: &Value) -> bool {
    let (kind, rank) = (thing["kind"].as_str().unwrap(), thing["rank"].as_i64().unwrap());
    match filter {
        "rank >= 2 && rank < 6" => (2..6).contains(&rank),
        "rank == 3" => rank == 3,
        "rank == -1" => rank == -1,
        "kind == \"a\" && rank == 3" => kind == "a" && rank == 3,
        "kind == \"b\" && rank == -1" => kind == "b" && rank == -1,
        "kind == \"a\" && rank in [1, -2]" => kind == "a" && (rank == 1 || rank == -2),
        "kind == \"a\"" => kind == "a",
        "kind == \"a\" && rank >= 3 || kind == \"b\"" => kind == "a" && rank >= 3 || kind == "b",
        "kind == \"a\" || kind in [\"a\", \"b\"]" => kind != "c",
        _ => true,
    }
}

/// Whether two neighbours are in the promised order.
fn in_order(first: &Value, second: &Value, order: Order) -> bool {
    for (field, up) in order {
        let compared = match (&first[*field], &second[*field]) {
            (Value::Number(a), Value::Number(b)) => a.as_i64().cmp(&b.as_i64()),
            (a, b) => a.as_str().cmp(&b.as_str()),
        };
        match if *up { compared } else { compared.reverse() } {
            std::cmp::Ordering::Less => return true,
            std::cmp::Ordering::Greater => return false,
            std::cmp::Ordering::Equal => {}
        }
    }
    true
}

/// One random write: a new thing, an end to one of `loose`, or another rank for it.
async fn disturb(caller: &Caller<'_>, chance: &mut Chance, loose: &mut Vec<String>) {
    let body = chance.thing();
    let at = chance.below(loose.len().max(1) as u64) as usize;
    match chance.below(3) {
        0 if !loose.is_empty() => {
            caller.delete(&path(&loose.swap_remove(at))).await.expect(204);
        }
        1 if !loose.is_empty() => {
            caller.patch(&path(&loose[at]), body).await.expect(200);
        }
        _ => {
            let made = caller.post(THINGS, body).await.expect(201).body;
            loose.push(made["id"].as_str().unwrap().to_owned());
        }
    }
}

#[tokio::test]
async fn an_unchanged_record_is_on_exactly_one_page_during_concurrent_writes() {
    for (seed, shards) in [(1, 1), (2, 4), (3, 8)] {
        let world = World::new().await;
        let ada = things(&world, shards).await;
        let mut chance = Chance(seed);
        let mut fixed = BTreeMap::new();
        let mut loose = Vec::new();
        for nth in 0..60 {
            world.advance(Duration::from_millis(chance.below(3)));
            let made = ada.post(THINGS, chance.thing()).await.expect(201).body;
            let id = made["id"].as_str().unwrap().to_owned();
            if nth % 3 == 0 { loose.push(id) } else { drop(fixed.insert(id, made)) }
        }
        for (filter, sort, order) in QUERIES {
            let short = filter.contains("rank == ") || filter.contains("rank in ");
            let filtered = if filter.is_empty() { String::new() } else { format!("&filter={}", encoded(filter)) };
            let sorted = if sort.is_empty() { String::new() } else { format!("&sort={sort}") };
            // Small pages where few records are expected, so that there are several pages.
            let limit = 1 + chance.below(if short { 2 } else { 9 });
            let (mut seen, mut cursor, mut last) = (Vec::new(), String::new(), None::<Value>);
            loop {
                // Writes before the page, and writes while it is read.
                disturb(&ada, &mut chance, &mut loose).await;
                let asked = format!("{THINGS}?limit={limit}{filtered}{sorted}{cursor}");
                let (page, ()) = join(ada.get(&asked), disturb(&ada, &mut chance, &mut loose)).await;
                let page = page.expect(200).body;
                let items = page["items"].as_array().unwrap().clone();
                assert!(items.len() <= limit as usize);
                for item in items {
                    let follows = last.as_ref().is_none_or(|last| in_order(last, &item, order));
                    assert!(follows, "seed {seed}: {filter} / {sort}: {last:?} before {item}");
                    last = Some(item.clone());
                    seen.push(item["id"].as_str().unwrap().to_owned());
                }
                let Some(next) = page["nextCursor"].as_str() else { break };
                cursor = format!("&cursor={next}");
                assert!(seen.len() < 1_000, "seed {seed}: {filter} / {sort} does not end");
            }
            let wanted: Vec<&String> =
                fixed.iter().filter(|(_, thing)| belongs(filter, thing)).map(|(id, _)| id).collect();
            for id in wanted {
                let times = seen.iter().filter(|seen| *seen == id).count();
                assert_eq!(times, 1, "seed {seed}, {shards} shards: {filter} / {sort}: {}", fixed[id]);
            }
            assert!(seen.iter().all(|id| fixed.get(id).is_none_or(|thing| belongs(filter, thing))), "{filter}");
        }
    }
}

/// Things made and deleted again, between two that stay.
async fn graveyard(world: &World, caller: &Caller<'_>, count: usize) -> (Value, Vec<Value>, Value) {
    let thing = |rank: usize| caller.post(THINGS, json!({ "kind": "a", "rank": rank }));
    let first = thing(0).await.expect(201).body;
    world.advance(Duration::from_millis(10));
    let tombstones = join_all((0..count).map(thing)).await;
    let tombstones: Vec<Value> = tombstones.into_iter().map(|made| made.expect(201).body).collect();
    let deleted = tombstones.iter().map(|thing| async { caller.delete(&path(thing["id"].as_str().unwrap())).await });
    join_all(deleted).await.into_iter().for_each(|deleted| drop(deleted.expect(204)));
    world.advance(Duration::from_millis(10));
    let last = thing(9).await.expect(201).body;
    (first, tombstones, last)
}

/// Copies a tombstone `count` times, under ids between the first thing and the last.
async fn bury_more(world: &World, count: usize) {
    let all = world.dump("RecordsTable").await;
    let is_tombstone =
        |found: &&Value| found["del"].is_object() && found["pk"]["S"].as_str().unwrap().starts_with("c#things");
    let tombstone = all.as_array().unwrap().iter().find(is_tombstone).unwrap();
    let partitions: BTreeSet<&str> = all
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|found| found["pk"]["S"].as_str())
        .filter(|pk| pk.starts_with("c#things"))
        .collect();
    let partitions: Vec<&str> = partitions.into_iter().collect();
    let table = world.cloud.tables().iter().find(|name| name.ends_with("RecordsTable")).unwrap();
    let copy = |nth: usize| {
        let mut copy = tombstone.clone();
        let id = tombstone["sk"]["S"].as_str().unwrap();
        copy["sk"]["S"] = json!(format!("{}{nth:012x}", &id[..24]));
        copy["pk"]["S"] = json!(partitions[nth % partitions.len()]);
        json!({ "PutRequest": { "Item": copy } })
    };
    for start in (0..count).step_by(25) {
        let requests: Vec<Value> = (start..count.min(start + 25)).map(copy).collect();
        let body = json!({ "RequestItems": { table: requests } });
        world.cloud.call("DynamoDB_20120810.BatchWriteItem", &body).await.unwrap();
    }
}

/// Every page of a list, from the first on.
async fn pages(caller: &Caller<'_>, query: &str) -> Vec<crate::world::Answer> {
    let (mut pages, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = caller.get(&format!("{THINGS}?{query}{cursor}")).await.expect(200);
        let next = page.body["nextCursor"].as_str().map(|next| format!("&cursor={next}"));
        pages.push(page);
        match next {
            Some(next) => cursor = next,
            None => return pages,
        }
    }
}

fn ids(pages: &[crate::world::Answer]) -> Vec<&str> {
    pages
        .iter()
        .flat_map(|page| page.body["items"].as_array().unwrap())
        .map(|item| item["id"].as_str().unwrap())
        .collect()
}

fn scanned(page: &crate::world::Answer) -> usize {
    page.header("undercroft-cost").rsplit('=').next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_page_full_of_tombstones_ends_with_a_cursor_that_continues() {
    for shards in [1, 4] {
        let world = World::new().await;
        let ada = things(&world, shards).await;
        let (first, _, last) = graveyard(&world, &ada, 40).await;
        bury_more(&world, 2_500).await;
        for sort in ["id", "-id"] {
            let pages = pages(&ada, &format!("limit=2&sort={sort}")).await;
            let mut expected = vec![first["id"].as_str().unwrap(), last["id"].as_str().unwrap()];
            expected.sort_unstable();
            if sort == "-id" {
                expected.reverse();
            }
            assert_eq!(ids(&pages), expected, "{shards} shards");
            assert!(pages.len() >= 3, "{} pages", pages.len());
            let most = usize::from(shards) * 3 + 1_000;
            for page in &pages {
                assert!(scanned(page) <= most, "{} of {most}", page.header("undercroft-cost"));
            }
            assert!(pages[1..pages.len() - 1].iter().any(|page| page.body["items"] == json!([])));
        }
        // An index has no tombstones, so a page costs the same as before.
        let through = pages(&ada, "limit=2&sort=rank").await;
        assert_eq!((through.len(), through[0].cost().2, scanned(&through[0])), (1, 1, 2));
    }
}

#[tokio::test]
async fn a_scan_reads_at_most_what_it_was_allowed_and_misses_nothing() {
    for shards in [1, 4] {
        let world = World::new().await;
        let ada = things(&world, shards).await;
        let mut wanted = BTreeSet::new();
        for nth in 0..120 {
            let made = ada.post(THINGS, json!({ "kind": "a", "rank": nth % 40, "note": "n" })).await.expect(201).body;
            if nth % 40 == 7 {
                wanted.insert(made["id"].as_str().unwrap().to_owned());
            }
        }
        let query = format!("limit=2&scan=25&filter={}", encoded("note == \"n\" && rank == 7"));
        let pages = pages(&ada, &query).await;
        assert_eq!(ids(&pages).into_iter().map(str::to_owned).collect::<BTreeSet<_>>(), wanted, "{shards} shards");
        assert_eq!(ids(&pages).len(), wanted.len(), "each once");
        for page in &pages {
            assert!(scanned(page) <= 25, "{}", page.header("undercroft-cost"));
        }
        let one = ada.get(&format!("{THINGS}?limit=2&scan=1&filter={}", encoded("note == \"x\""))).await.expect(200);
        assert!(scanned(&one) <= usize::from(shards) && one.body["nextCursor"].is_string());
    }
}

#[tokio::test]
async fn admins_see_what_is_deleted_by_whom_and_when_until_it_is_gone() {
    let world = World::new().await;
    let admin = things(&world, 2).await;
    let ada = world.user("ada").await;
    let (first, tombstones, last) = graveyard(&world, &ada, 100).await;
    let pages = pages(&admin, "deleted=true&limit=30&scan=60").await;
    let mut expected: Vec<&str> = tombstones.iter().map(|thing| thing["id"].as_str().unwrap()).collect();
    expected.sort_unstable();
    assert_eq!(ids(&pages), expected);
    assert!(pages.iter().all(|page| scanned(page) <= 60));
    let shown = &pages[0].body["items"][0];
    assert_eq!((&shown["deletedBy"], &shown["kind"], &shown["version"]), (&json!(ada.id()), &json!("a"), &json!(2)));
    assert!(shown["deletedAt"].as_str().unwrap() >= shown["createdAt"].as_str().unwrap());
    for alive in [&first, &last] {
        assert!(!ids(&pages).contains(&alive["id"].as_str().unwrap()));
    }

    // For all others the answer is the same whether the collection exists or not.
    for collection in ["things", "nothing"] {
        let deleted = format!("/v1/collections/{collection}/records?deleted=true");
        let refused = ada.get(&deleted).await.expect(403);
        assert!(
            !refused.headers.contains_key("undercroft-cost")
                && refused.body["detail"] == "Only admins may list deleted records."
        );
        world.stranger().get(&deleted).await.expect(401);
    }
    for other in ["filter=rank%3D%3D1", "sort=rank", "fields=id", "expand=x", "explain=true"] {
        let refused = admin.get(&format!("{THINGS}?deleted=true&{other}")).await.expect(400);
        assert!(
            refused.body["detail"].as_str().unwrap().contains(other.split('=').next().unwrap()),
            "{}",
            refused.text
        );
    }
    let cursor = pages[0].body["nextCursor"].as_str().unwrap();
    admin.get(&format!("{THINGS}?cursor={cursor}")).await.expect(400);
    let alive =
        admin.get(&format!("{THINGS}?limit=1")).await.expect(200).body["nextCursor"].as_str().unwrap().to_owned();
    admin.get(&format!("{THINGS}?deleted=true&cursor={alive}")).await.expect(400);

    // After thirty days they are gone, though DynamoDB has not removed them yet.
    world.advance(Duration::from_secs(30 * 86_400 + 1));
    let admin = world.admin().await;
    assert_eq!(admin.get(&format!("{THINGS}?deleted=true")).await.expect(200).body, json!({ "items": [] }));
}

#[tokio::test]
async fn a_record_that_two_alternatives_of_a_filter_name_is_listed_once() {
    let world = World::new().await;
    let admin = world.admin().await;
    let text = json!({ "type": "string" });
    let plots = json!({ "name": "plots", "schema": { "type": "object", "additionalProperties": false, "properties": {
        "owner": text, "farm": text } }, "indexes": [{ "name": "mine", "partition": ["owner"], "sort": [] },
        { "name": "on", "partition": ["farm"], "sort": [] }] });
    admin.put("/v1/collections/plots", plots).await.expect(201);
    let plots = "/v1/collections/plots/records";
    let mut made = Vec::new();
    for (owner, farm) in [("ada", "hill"), ("ada", "dale"), ("bob", "hill"), ("bob", "dale"), ("ada", "hill")] {
        let plot = admin.post(plots, json!({ "owner": owner, "farm": farm })).await.expect(201).body;
        if owner == "ada" || farm == "hill" {
            made.push(plot["id"].as_str().unwrap().to_owned());
        }
        world.advance(Duration::from_millis(2));
    }
    let either = encoded("owner == 'ada' || farm == 'hill'");
    for limit in [1, 2, 3, 100] {
        let (mut listed, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = admin.get(&format!("{plots}?filter={either}&limit={limit}{cursor}")).await.expect(200).body;
            let ids = page["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned());
            listed.extend(ids);
            let Some(next) = page["nextCursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        listed.sort();
        assert_eq!(listed, made, "{limit} a page");
    }
}
