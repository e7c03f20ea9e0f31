//! Lists that name ids: one batch read under any rule, in which a record that the caller may not list is a missing one.

use crate::records::crud::{TASKS, path, task, with_tasks};
use crate::records::pages::encoded;
use crate::world::{Answer, Caller, World};
use serde_json::{Value, json};

const MISSING: &str = "017f22e2-79b0-7cc3-98c4-dc0c0c07398f";

fn id(record: &Value) -> &str {
    record["id"].as_str().unwrap()
}

fn ids(items: &Value) -> Vec<&str> {
    items.as_array().unwrap().iter().map(id).collect()
}

async fn list(caller: &Caller<'_>, filter: &str, rest: &str) -> Answer {
    caller.get(&format!("{TASKS}?filter={}{rest}", encoded(filter))).await
}

fn one_of<'a>(ids: impl IntoIterator<Item = &'a str>) -> String {
    format!("id in {}", json!(ids.into_iter().collect::<Vec<_>>()))
}

#[tokio::test]
async fn ids_are_listed_under_an_owner_rule() {
    let world = World::new().await;
    with_tasks(&world).await;
    let ada = world.user("ada").await;
    let mut made = Vec::new();
    for number in 0..9 {
        made.push(task(&ada, &format!("task {}", 9 - number)).await);
    }
    made.sort_by_key(|task| id(task).to_owned());
    let all: Vec<&str> = made.iter().map(id).collect();
    let one = list(&ada, &format!("id == '{}'", all[3]), "").await.expect(200);
    assert_eq!((&one.body["items"], one.cost()), (&json!([made[3]]), (0.5, 0.0, 1)));

    // In the order of the ids, whatever the order in which they are named; twice is once.
    let named = one_of(all.iter().rev().copied().chain([all[0]]));
    let answer = list(&ada, &named, "").await.expect(200);
    assert_eq!((ids(&answer.body["items"]), answer.cost()), (all.clone(), (4.5, 0.0, 1)));
    let down = list(&ada, &named, "&sort=-createdAt,-id").await.expect(200);
    assert_eq!(ids(&down.body["items"]), all.iter().rev().copied().collect::<Vec<_>>());

    // With other tests, other orders and only some members.
    let few = format!("{named} && title > 'task 3'");
    let answer = list(&ada, &few, "&sort=title&fields=title").await.expect(200);
    let titles: Vec<&Value> = answer.body["items"].as_array().unwrap().iter().map(|task| &task["title"]).collect();
    assert_eq!(titles, ["task 4", "task 5", "task 6", "task 7", "task 8", "task 9"]);
    assert_eq!((answer.cost(), answer.body["items"][0].as_object().unwrap().len()), ((4.5, 0.0, 1), 2));
    let admin = world.admin().await;
    assert_eq!(ids(&list(&admin, &named, "").await.expect(200).body["items"]), all, "who may list all of them too");
}

#[tokio::test]
async fn a_page_of_named_records_costs_a_page() {
    let world = World::new().await;
    with_tasks(&world).await;
    let ada = world.user("ada").await;
    let mut made = Vec::new();
    for number in 0..12 {
        made.push(id(&task(&ada, &format!("task {number}")).await).to_owned());
    }
    made.sort();
    // The key that cursors are sealed with is fetched once.
    ada.get(&format!("{TASKS}?limit=1")).await.expect(200);
    for (rest, forward) in [("", true), ("&sort=-id", false)] {
        let (mut found, mut cursor, mut costs) = (Vec::new(), String::new(), Vec::new());
        loop {
            let rest = format!("{rest}&limit=5{cursor}");
            let page = list(&ada, &one_of(made.iter().map(String::as_str)), &rest).await.expect(200);
            found.extend(ids(&page.body["items"]).into_iter().map(str::to_owned));
            costs.push(page.cost());
            match page.body["nextCursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        if !forward {
            found.reverse();
        }
        assert_eq!(found, made);
        // One more than a page shows whether there is a next page.
        assert_eq!(costs, [(3.0, 0.0, 1), (3.0, 0.0, 1), (1.0, 0.0, 1)]);
    }

    // Ids that are left out do not leave the page short.
    let missing = (0..50).map(|number| undercroft::id::derived(1_645_557_742_000, &number.to_string()));
    let named: Vec<String> = missing.chain(made.iter().cloned()).collect();
    let page = list(&ada, &one_of(named.iter().map(String::as_str)), "&limit=5").await.expect(200);
    assert_eq!(ids(&page.body["items"]), made[..5]);
    assert!(page.body["nextCursor"].is_string() && !page.headers.contains_key("undercroft-cost"));
    let (rru, _, trips) = world.logged_cost();
    assert!(rru <= 31.0 && trips <= 4, "{rru} units in {trips} trips");

    // Another order takes all of them on one page.
    let filter = one_of(made.iter().map(String::as_str));
    let refused = list(&ada, &filter, "&sort=-title&limit=5").await.expect(400);
    assert!(refused.body["detail"].as_str().unwrap().contains("Send limit=12 or more"), "{}", refused.text);
    assert_eq!(refused.cost(), (0.0, 0.0, 0));
    let all = list(&ada, &filter, "&sort=-title&limit=12").await.expect(200);
    assert_eq!((all.cost(), &all.body["nextCursor"]), ((6.0, 0.0, 1), &Value::Null));
}

#[tokio::test]
async fn the_ids_of_others_are_as_if_they_were_nobody_s() {
    let world = World::new().await;
    with_tasks(&world).await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let (mine, theirs) = (task(&ada, "mine").await, task(&bob, "theirs").await);
    let large = json!({ "title": "x".repeat(200), "owner": bob.id(), "slug": "a".repeat(60), "priority": 9 });
    let larger = bob.post(TASKS, large).await.expect(201).body;
    let deleted = task(&ada, "deleted").await;
    ada.delete(&path(&deleted)).await.expect(204);
    for rest in ["", "&sort=title", "&sort=-id&limit=2", "&expand=owner", "&scan=10"] {
        let mut learned = Vec::new();
        for other in [MISSING, id(&theirs), id(&larger), id(&deleted)] {
            for filter in [
                format!("id == '{other}'"),
                one_of([id(&mine), other]),
                format!("id == '{other}' && title != 'theirs'"),
                format!("{} && priority > 3", one_of([other, id(&mine)])),
            ] {
                let answer = list(&ada, &filter, rest).await.expect(200);
                let shown = (answer.body.clone(), answer.headers.get("undercroft-cost").is_some());
                learned.push((filter.replace(other, "?"), shown));
            }
        }
        let (of_missing, others) = learned.split_at(4);
        others.chunks(4).for_each(|other| assert_eq!(other, of_missing, "{rest}"));
        assert!(of_missing.iter().all(|(_, (_, is_priced))| !is_priced), "{rest}: the cost would tell");
    }
    // What is no id is not read.
    let answer = list(&ada, "id == 'nonsense' || id == ''", "").await.expect(200);
    assert_eq!((&answer.body["items"], answer.cost()), (&json!([]), (0.0, 0.0, 0)));
}

#[tokio::test]
async fn a_hundred_ids_are_one_read_and_one_more_is_refused() {
    let world = World::new().await;
    with_tasks(&world).await;
    let ada = world.user("ada").await;
    let body = json!({ "title": "t", "owner": ada.id() });
    let write = json!({ "method": "POST", "path": TASKS, "body": body });
    let batch = ada.post("/v1/batch", json!({ "operations": vec![write; 100] })).await.expect(200).body;
    let made: Vec<&str> = batch["results"].as_array().unwrap().iter().map(|result| id(&result["body"])).collect();
    // With the spaces of a generous serialiser.
    let filter = format!("id in [\"{}\"]", made.join("\", \""));
    let all = list(&ada, &filter, "&limit=100").await.expect(200);
    assert_eq!((all.body["items"].as_array().map(Vec::len), all.cost()), (Some(100), (50.0, 0.0, 1)));
    assert_eq!(all.body["nextCursor"], Value::Null);
    let refused = list(&ada, &one_of(made.iter().copied().chain([MISSING])), "").await.expect(422);
    assert_eq!(refused.code(), "index_required");
    let detail =
        "The filter names 101 ids, and one list reads at most 100 records by id. Send the ids in several requests.";
    assert_eq!((refused.body["detail"].as_str(), &refused.body["addIndex"]), (Some(detail), &Value::Null));
}

#[tokio::test]
async fn a_list_of_ids_is_expanded_explained_and_not_counted() {
    let world = World::new().await;
    let counted = json!({ "counts": true });
    let mut definition = crate::world::tasks();
    definition.as_object_mut().unwrap().extend(counted.as_object().cloned().unwrap());
    world.admin().await.put("/v1/collections/tasks", definition).await.expect(201);
    let ada = world.user("ada").await;
    let mut both = [task(&ada, "one").await, task(&ada, "two").await];
    both.sort_by_key(|task| id(task).to_owned());
    let [one, two] = both;
    let filter = one_of([id(&two), id(&one)]);
    let expanded = list(&ada, &filter, "&expand=owner").await.expect(200).body;
    assert_eq!(expanded["items"][1]["expanded"]["owner"]["id"], ada.id());

    let explained = list(&ada, &format!("{filter} && title != 'x'"), "&sort=-title&explain=true").await.expect(200);
    assert_eq!(explained.body["plan"]["ids"], json!([id(&one), id(&two)]));
    assert_eq!(explained.body["plan"]["residualFilter"], "title != \"x\"");
    let expected = &explained.body["expected"];
    assert_eq!((&expected["trips"], &expected["items"], &expected["mostItems"]), (&json!(1), &json!(2), &json!(2)));
    let page = list(&ada, &filter, "&limit=1&explain=true").await.expect(200).body;
    assert_eq!((&page["expected"]["items"], &page["expected"]["rruAt1kb"]), (&json!(2), &json!(1.0)));

    world.settle().await;
    for rest in ["&count=true", "&count=true&limit=0"] {
        assert_eq!(list(&ada, &filter, rest).await.expect(422).code(), "count_needs_partition");
    }
}
