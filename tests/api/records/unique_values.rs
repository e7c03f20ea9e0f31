//! Unique values under concurrent writes: an unchanged value is not claimed again, and no two records hold the same value.

use crate::records::crud::{TASKS, path, with_tasks};
use crate::world::{Answer, Caller, World, rounds};
use futures_util::future::{join_all, join3};
use serde_json::{Value, json};

/// Ada's tasks that hold the value.
async fn holders(ada: &Caller<'_>, slug: &str) -> Vec<Value> {
    let page = ada.get(&format!("{TASKS}?limit=100")).await.expect(200).body;
    assert!(page.get("nextCursor").is_none());
    page["items"].as_array().unwrap().iter().filter(|task| task["slug"] == slug).cloned().collect()
}

/// Asks again where others were in the way, as a client would, and gives up in the end.
async fn until_done(ask: impl AsyncFn() -> Answer) -> Answer {
    let mut answer = ask().await;
    for _ in 0..20 {
        if answer.status < 300 {
            break;
        }
        answer = ask().await;
    }
    answer
}

#[tokio::test]
async fn a_unique_value_has_one_holder_while_its_record_releases_and_reclaims_it() {
    for instances in [1, 6] {
        a_value_has_one_holder(&World::of_instances(instances).await).await;
    }
}

async fn a_value_has_one_holder(world: &World) {
    with_tasks(world).await;
    let ada = world.user("ada").await;
    let task = |slug: &str| json!({ "title": "t", "owner": ada.id(), "slug": slug });
    let mut changed = 0;
    for round in 0..rounds(6) {
        let slug = format!("round-{round}");
        let first = ada.post(TASKS, task(&slug)).await.expect(201).body;
        let first = path(&first);
        // Each patch keeps the value that it read, without sending it.
        let keep = async |nth: usize| until_done(async || ada.patch(&first, json!({ "priority": nth })).await).await;
        let keeping = join_all((0..8).map(keep));
        let letting_go = async {
            let left = until_done(async || ada.patch(&first, json!({ "slug": null })).await).await;
            [left.expect(200), ada.patch(&first, json!({ "slug": slug })).await]
        };
        let claiming = join_all((0..8).map(|_| until_done(async || ada.post(TASKS, task(&slug)).await)));
        let (kept, let_go, claimed) = join3(keeping, letting_go, claiming).await;
        let answers: Vec<_> = kept.into_iter().chain(let_go).chain(claimed).collect();
        for answer in &answers {
            assert!([200, 201, 409, 503].contains(&answer.status), "{}: {}", answer.asked, answer.text);
        }
        let made = answers.iter().filter(|answer| answer.status == 201).count();
        let holders = holders(&ada, &slug).await;
        assert!(holders.len() <= 1, "round {round}: {holders:?}");
        changed += usize::from(made > 0);
        if let [holder] = holders.as_slice() {
            assert_eq!(ada.post(TASKS, task(&slug)).await.expect(409).code(), "not_unique", "{holder}");
            ada.delete(&path(holder)).await.expect(204);
        }
        ada.post(TASKS, task(&slug)).await.expect(201);
    }
    assert!(changed > 0, "the value never went to another record, so nothing was seen");
}
