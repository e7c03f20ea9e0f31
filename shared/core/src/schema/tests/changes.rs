//! Definitions put over another: what is in force at once, what waits, and for which job.

use crate::jobs::{BUILD_JOB, CHECK_JOB};
use serde_json::json;

use super::{tasks, tasks_with};
use crate::schema::*;

const MINUTE: u64 = 60_000;

fn first() -> Definition {
    Definition::parse("tasks", tasks(), None).unwrap()
}

/// The definition after `body` is put over `old`, with this job, at a minute of the day.
fn put(old: &Definition, body: serde_json::Value, job: &str, minute: u64) -> Definition {
    let new = Definition::parse("tasks", body, Some(old)).unwrap();
    old.followed_by(new, at(minute, job))
}

fn concluded(definition: &Definition, refused: Blocked, minute: u64) -> Definition {
    let job = definition.work.as_ref().unwrap().job.clone();
    definition.concluded(&refused, at(minute, &job))
}

fn at(minute: u64, job: &str) -> Put<'_> {
    Put { now: minute * MINUTE, in_force_at: minute * MINUTE + MINUTE / 2, ids_settled_at: (minute + 1) * MINUTE, job }
}

fn with_by_slug() -> serde_json::Value {
    tasks_with("/indexes", json!([tasks()["indexes"][0], { "name": "by_slug", "partition": ["slug"] }]))
}

fn narrower() -> serde_json::Value {
    let mut body = with_by_slug();
    body["schema"]["properties"]["title"]["maxLength"] = json!(20);
    body["unique"] = json!([["slug"], ["title"]]);
    body
}

#[test]
fn a_record_stays_in_the_shard_of_its_creation_time() {
    let eight = put(&first(), tasks_with("/shards", json!(8)), "j", 10);
    let two = put(&eight, tasks_with("/shards", json!(2)), "j", 20);
    assert_eq!([0, 10, 11, 20, 21, 99].map(|minute| two.shards_at(minute * MINUTE)), [1, 1, 8, 8, 2, 2]);
    assert_eq!(
        [0, 10, 11, 99].map(|minute| eight.shards_at(minute * MINUTE)),
        [1, 1, 8, 8],
        "both use the old shards for old records"
    );
    assert_eq!((two.shards_ever(), two.work), (8, None));
    assert_eq!((first().shards_at(0), first().shards_ever()), (1, 1));
}

#[test]
fn rules_are_in_force_at_once_and_do_not_affect_a_running_job() {
    let building = put(&first(), with_by_slug(), "one", 10);
    assert_eq!((building.status(), building.work.as_ref().unwrap().kind()), ("building", BUILD_JOB));
    let mut ruled = with_by_slug();
    ruled["rules"]["delete"] = json!("false");
    let ruled = put(&building, ruled, "two", 20);
    assert_eq!((ruled.work.as_ref(), ruled.status()), (building.work.as_ref(), "building"));
    let without = put(&ruled, tasks(), "three", 30);
    assert_eq!((without.work.unwrap().job.as_str(), without.indexes.len()), ("three", 1));
}

#[test]
fn a_narrower_definition_waits_and_then_adds_its_work_to_the_same_job() {
    let waiting = put(&first(), narrower(), "one", 10);
    assert_eq!(
        (waiting.as_put(), waiting.last_put()),
        (first().as_put(), Definition::parse("tasks", narrower(), None).unwrap().as_put())
    );
    assert_eq!((waiting.status(), waiting.work.as_ref().unwrap().kind()), ("narrowing", CHECK_JOB));
    let taken = concluded(&waiting, Blocked::default(), 20);
    let work = taken.work.clone().unwrap();
    assert_eq!((work.job.as_str(), work.since, work.next), ("one", 20 * MINUTE, None));
    assert_eq!(work.claims, [["title"]]);
    assert_eq!((taken.as_put(), taken.indexes[1].ready), (waiting.last_put(), false));
    let done = concluded(&taken, Blocked::default(), 30);
    assert_eq!((done.status(), &done.work, done.settled_by.as_deref()), ("ready", &None, Some("one")));
    assert!(first().version < waiting.version && waiting.version < taken.version && taken.version < done.version);
}

#[test]
fn blocked_changes_wait_and_are_listed_and_others_are_in_force() {
    let waiting = put(&first(), narrower(), "one", 10);
    let schema = Blocked { schema: true, ..Blocked::default() };
    let refused = concluded(&waiting, schema.clone(), 20);
    assert_eq!((refused.as_put(), refused.last_put()), (first().as_put(), waiting.last_put()));
    assert_eq!((refused.status(), refused.blocked(), refused.settled_by.as_ref()), ("blocked", Some(&schema), None));
    let withdrawn = put(&refused, tasks(), "again", 30);
    assert_eq!((withdrawn.blocked(), withdrawn.next(), withdrawn.as_put()), (None, None, first().as_put()));
    let repaired = concluded(&refused, Blocked::default(), 40);
    assert_eq!((repaired.as_put(), repaired.blocked()), (waiting.last_put(), None));
    let mut more = with_by_slug();
    more["unique"] = json!([["slug"], ["title"]]);
    let claiming = put(&first(), more, "two", 30);
    assert_eq!((claiming.status(), claiming.claims()), ("narrowing", &[vec!["title".to_owned()]][..]));
    let titles = Blocked { unique: vec![vec!["title".to_owned()]], ..Blocked::default() };
    let blocked = concluded(&claiming, titles.clone(), 40);
    assert_eq!((blocked.status(), blocked.blocked(), blocked.claims()), ("blocked", Some(&titles), claiming.claims()));
    assert!(blocked.indexes[1].ready, "the index is not affected");
    assert_eq!(put(&blocked, with_by_slug(), "three", 50).blocked(), None);
}

#[test]
fn a_withdrawal_shows_its_end_and_the_previous_members() {
    let change = |pointer: &str, value: serde_json::Value| put(&first(), tasks_with(pointer, value), "j", 10);
    let before = first().as_put();
    for (pointer, value) in [
        ("/rules/delete", json!("false")),
        ("/unique", json!([])),
        ("/unique", json!([["slug"], ["title"]])),
        ("/schema/properties/title/hidden", json!(true)),
        ("/schema/properties/title/readOnly", json!(true)),
        ("/schema/properties/owner", json!({ "type": "string" })),
    ] {
        let changed = change(pointer, value);
        let withdrawal = changed.withdrawal.clone().expect(pointer);
        assert_eq!(withdrawal.in_force_at, 10 * MINUTE + MINUTE / 2);
        let member = pointer.split('/').nth(1).unwrap();
        assert_eq!(withdrawal.previous.get(member), before.get(member), "{pointer}");
        assert_eq!(withdrawal.previous.len(), 1, "{pointer}");
        let added = put(
            &changed,
            {
                let mut body = changed.as_put();
                body["counts"] = json!(true);
                body
            },
            "k",
            10,
        );
        assert_eq!(added.withdrawal, changed.withdrawal, "a widening change ends no withdrawal");
    }
    for (pointer, value) in [
        ("/rules/delete", json!("record.owner == auth.id || auth.verified")),
        ("/rules/list", json!("true")),
        ("/counts", json!(true)),
        ("/shards", json!(4)),
        ("/schema/properties/title/maxLength", json!(400)),
    ] {
        assert_eq!(change(pointer, value).withdrawal, None, "{pointer}");
    }
    let indexed = Definition::parse("tasks", with_by_slug(), None).unwrap();
    let withdrawal = put(&indexed, tasks(), "j", 10).withdrawal.expect("an index is dropped");
    assert_eq!(withdrawal.previous.get("indexes"), indexed.as_put().get("indexes"));
}

#[test]
fn while_a_narrower_definition_waits_the_rules_of_both_apply() {
    let body = |delete: &str| {
        let mut body = narrower();
        body["rules"]["delete"] = json!(delete);
        body["rules"]["update"] = json!("true");
        body["rules"].as_object_mut().unwrap().remove("read");
        body
    };
    let waiting = put(&first(), body("auth.verified"), "one", 10);
    let rules = |definition: &Definition, rule: crate::expr::Rule| definition.rules.get(&rule).cloned();
    use crate::expr::Rule::{Delete, Read, Update};
    assert_eq!(rules(&waiting, Delete).as_deref(), Some("(record.owner == auth.id) && (auth.verified)"));
    assert_eq!(rules(&waiting, Update), rules(&first(), Update), "a new rule comes with the schema");
    assert_eq!(rules(&waiting, Read), None);
    assert!(waiting.check_rules().is_ok());
    let again = put(&waiting, body("record.title != ''"), "two", 20);
    assert_eq!(rules(&again, Delete).as_deref(), Some("(record.owner == auth.id) && (record.title != '')"));
    assert_eq!(put(&again, tasks(), "three", 30).as_put(), first().as_put());
    assert_eq!(concluded(&again, Blocked::default(), 40).rules.get(&Delete).unwrap(), "record.title != ''");
}

#[test]
fn a_replaced_index_serves_on_until_its_successor_is_ready() {
    let changed = tasks_with("/indexes", json!([{ "name": "mine", "partition": ["owner"], "sort": ["title"] }]));
    let building = put(&first(), changed.clone(), "one", 10);
    let shown: Vec<_> = building.indexes.iter().map(|index| (index.slot, index.ready, index.retiring)).collect();
    assert_eq!(shown, [(2, false, false), (1, true, true)]);
    assert_eq!(building.as_put()["indexes"], changed["indexes"]);
    assert!(building.work.as_ref().is_some_and(|work| !work.only_waits));
    let built = concluded(&building, Blocked::default(), 20);
    assert_eq!(serving(&built), [2]);
    retires(&built, 20);
    let back = put(&building, tasks(), "two", 20);
    assert_eq!(back.indexes, first().indexes, "an index that is put back stays ready");
    let refused = concluded(&building, Blocked { indexes: vec!["mine".to_owned()], ..Blocked::default() }, 20);
    assert_eq!((refused.indexes, refused.work.unwrap().blocked.is_some()), (building.indexes, true));
}

/// The slots of the indexes that serve lists.
fn serving(definition: &Definition) -> Vec<u8> {
    let serves = |index: &&crate::query::Index| crate::query::serves(&definition.indexes, index);
    definition.indexes.iter().filter(serves).map(|index| index.slot).collect()
}

/// The last index does not serve any more. It is maintained until no function reads it, then its entries are cleared.
fn retires(definition: &Definition, minute: u64) {
    let (kept, serving) = (definition.indexes.len(), serving(definition));
    assert_eq!(definition.work.as_ref().map(|work| (work.since, work.only_waits)), Some((minute * MINUTE, true)));
    let removed = concluded(definition, Blocked::default(), minute + 10);
    assert_eq!((removed.indexes.len(), self::serving(&removed)), (kept - 1, serving));
    assert!(removed.work.as_ref().is_some_and(|work| !work.only_waits), "its entries are not cleared yet");
    assert_eq!(concluded(&removed, Blocked::default(), minute + 20).work, None);
}

#[test]
fn a_dropped_index_is_maintained_until_no_function_reads_it() {
    let mut without = tasks_with("/indexes", json!([]));
    without["rules"] = json!({});
    let without = put(&first(), without, "one", 10);
    assert_eq!(
        (without.as_put()["indexes"].clone(), serving(&without), without.status()),
        (json!([]), vec![], "ready")
    );
    retires(&without, 10);
    let more = put(&without, tasks_with("/rules", json!({})), "two", 12);
    assert_eq!(more.indexes, first().indexes, "an index that is put back was complete all the time");
    // Its slot is needed: nothing can maintain it.
    let by = |name: &str, field: &str| json!({ "name": name, "partition": [field], "sort": [] });
    let five = json!([by("a", "title"), by("b", "slug"), by("c", "status"), by("d", "owner"), by("e", "priority")]);
    let full = put(&first(), tasks_with("/indexes", five), "three", 10);
    assert_eq!((full.indexes.len(), full.indexes.iter().any(|index| index.retiring)), (5, false));
}

#[test]
fn a_recreated_collection_starts_with_an_empty_history() {
    let mut old = put(&first(), tasks_with("/shards", json!(8)), "j", 10);
    old.work = None;
    let changed = tasks_with("/indexes", json!([{ "name": "mine", "partition": ["owner"], "sort": ["title"] }]));
    let anew = Definition::parse("tasks", changed, Some(&old)).unwrap().made_after(&old);
    assert_eq!((anew.generation, anew.shards_ever(), anew.status()), (2, 1, "ready"));
    assert_eq!(anew.indexes.len(), 1);
    assert!(anew.version > old.version);
}

/// The example with `state` required, and the field itself.
fn with_state(state: serde_json::Value) -> serde_json::Value {
    let mut body = with_by_slug();
    body["schema"]["required"] = json!(["title", "state"]);
    body["schema"]["properties"]["state"] = state;
    body
}

#[test]
fn a_required_field_is_in_force_at_once_but_for_the_requirement() {
    for (state, steps) in [
        (
            json!({ "type": "string", "default": "new" }),
            vec![Step::Fill { field: "state".into(), value: json!("new") }],
        ),
        (json!({ "type": "string" }), Vec::new()),
    ] {
        let mut body = with_state(state.clone());
        body["rules"]["delete"] = json!("record.state == 'old'");
        let waiting = put(&first(), body.clone(), "one", 10);
        let status = if steps.is_empty() { "narrowing" } else { "migrating" };
        assert_eq!((waiting.status(), waiting.steps()), (status, &steps[..]));
        assert_eq!(waiting.schema["required"], json!(["title"]));
        assert_eq!((&waiting.schema["properties"]["state"], waiting.indexes[1].ready), (&state, false));
        assert_eq!(waiting.rules[&crate::expr::Rule::Delete], "record.state == 'old'");
        let known = Collection::compile(waiting.clone()).unwrap();
        let without = json!({ "title": "t" }).as_object().cloned().unwrap();
        let mut changed = json!({ "title": "u" }).as_object().cloned().unwrap();
        assert!(known.validate_change(&without, &mut changed).is_ok(), "an old record can be changed");
        assert_eq!(known.validate(&mut without.clone()).unwrap_err()[0].pointer, "/state");
        let mut made = without.clone();
        known.apply_defaults(&mut made);
        assert_eq!(known.validate(&mut made).is_ok(), !steps.is_empty());
        let migrated = known.migrated(&without);
        assert_eq!(migrated.map(|data| data["state"].clone()), (!steps.is_empty()).then(|| json!("new")));
        assert_eq!(known.migrated(json!({ "title": "t", "state": "s" }).as_object().unwrap()), None);
        // What is blocked keeps all of it, until the records fit.
        let index = Blocked { indexes: vec!["by_slug".into()], ..Blocked::default() };
        let blocked = concluded(&waiting, index, 20);
        assert_eq!((blocked.status(), blocked.next(), blocked.steps()), ("blocked", waiting.next(), &steps[..]));
        for done in [concluded(&waiting, Blocked::default(), 20), concluded(&blocked, Blocked::default(), 30)] {
            assert_eq!((done.status(), done.steps(), done.next()), ("ready", &[][..], None));
            assert_eq!(done.as_put(), waiting.last_put());
        }
        // Another put on top keeps what is in force.
        body["rules"]["delete"] = json!("false");
        let again = put(&waiting, body, "two", 30);
        assert_eq!((again.work.as_ref().unwrap().job.as_str(), again.steps()), ("two", &steps[..]));
        let mut narrower = again.last_put();
        narrower["schema"]["properties"]["title"]["maxLength"] = json!(20);
        let narrower = put(&again, narrower, "three", 40);
        assert_eq!(narrower.rules, again.rules);
    }
}

#[test]
fn a_required_field_beside_another_narrowing_is_declared_at_once() {
    let mut body = with_state(json!({ "$ref": "#/$defs/state", "default": "new" }));
    body["schema"]["$defs"] = json!({ "state": { "type": "string" } });
    body["schema"]["properties"]["title"]["maxLength"] = json!(20);
    let waiting = put(&first(), body.clone(), "one", 10);
    assert_eq!(waiting.schema["properties"]["title"]["maxLength"], 200);
    let known = Collection::compile(waiting.clone()).unwrap();
    let mut made = json!({ "title": "t" }).as_object().cloned().unwrap();
    known.apply_defaults(&mut made);
    assert!(known.validate(&mut made).is_ok());
    assert_eq!(concluded(&waiting, Blocked::default(), 20).schema, body["schema"]);
    // A shared schema that the old definition has under the same name: the old one alone stays in force.
    let mut shared = tasks();
    shared["schema"]["$defs"] = json!({ "state": { "type": "integer" } });
    let shared = Definition::parse("tasks", shared, None).unwrap();
    let waiting = put(&shared, body, "one", 10);
    assert_eq!((&waiting.schema, waiting.steps(), waiting.status()), (&shared.schema, &[][..], "narrowing"));
}

#[test]
fn a_dropped_field_stays_declared_until_no_record_has_it() {
    let mut body = tasks_with("/dropped", json!(["slug", "never"]));
    body["unique"] = json!([]);
    let slug = body["schema"]["properties"].as_object_mut().unwrap().remove("slug").unwrap();
    let waiting = put(&first(), body.clone(), "one", 10);
    assert_eq!((waiting.status(), waiting.steps()), ("migrating", &[Step::Drop { field: "slug".into() }][..]));
    assert_eq!((&waiting.schema["properties"]["slug"], waiting.unique.len()), (&slug, 0));
    assert!(Definition::parse("tasks", waiting.as_put(), Some(&waiting)).is_ok(), "what is in force can be put");
    let known = Collection::compile(waiting.clone()).unwrap();
    let old = json!({ "title": "t", "slug": "s" }).as_object().cloned().unwrap();
    assert_eq!(known.migrated(&old).unwrap(), json!({ "title": "t" }).as_object().cloned().unwrap());
    assert!(known.validate_change(&old, &mut old.clone()).is_ok());
    assert_eq!(known.validate(&mut old.clone()).unwrap_err()[0].pointer, "/slug");
    let done = concluded(&waiting, Blocked::default(), 20);
    assert_eq!((done.status(), done.as_put()), ("ready", waiting.last_put()));
    assert_eq!(put(&done, body.clone(), "two", 30).steps(), []);
    // New records do not get it.
    let mut other = tasks_with("/dropped", json!(["status"]));
    other["schema"]["properties"].as_object_mut().unwrap().remove("status").unwrap();
    other["indexes"] = json!([]);
    other["rules"]["list"] = json!("false");
    for longest in [200, 20] {
        other["schema"]["properties"]["title"]["maxLength"] = json!(longest);
        let known = Collection::compile(put(&first(), other.clone(), "one", 10)).unwrap();
        let mut made = json!({ "title": "t" }).as_object().cloned().unwrap();
        known.apply_defaults(&mut made);
        assert!(known.validate(&mut made).is_ok(), "{longest}: {made:?}");
    }
    // Its schema may need what only the old definition shares.
    let mut old = tasks();
    old["schema"]["$defs"] = json!({ "slug": slug });
    old["schema"]["properties"]["slug"] = json!({ "$ref": "#/$defs/slug" });
    let shared = put(&Definition::parse("tasks", old, None).unwrap(), body.clone(), "one", 10);
    assert_eq!(shared.schema["$defs"]["slug"], slug);
    body["schema"]["properties"]["slug"] = json!(true);
    assert_eq!(Definition::parse("tasks", body, None).unwrap_err()[0].pointer, "/dropped/0");
}

/// The example with the field `title` renamed to `name`: both declared, or the old one dropped.
fn renamed(both: bool) -> serde_json::Value {
    let mut body = tasks();
    let properties = body["schema"]["properties"].as_object_mut().unwrap();
    let mut name = properties["title"].clone();
    name["renamedFrom"] = json!("title");
    properties.insert("name".into(), name);
    if !both {
        properties.remove("title");
        body["schema"]["required"] = json!(["name"]);
        body["dropped"] = json!(["title"]);
    }
    body
}

#[test]
fn a_renamed_field_has_two_names_until_the_old_one_is_dropped() {
    let object = |value: serde_json::Value| value.as_object().cloned().unwrap();
    let copying = put(&first(), renamed(true), "one", 10);
    let copy = Step::Copy { from: "title".into(), field: "name".into() };
    assert_eq!((copying.status(), copying.steps(), copying.next()), ("migrating", &[copy][..], None));
    let known = Collection::compile(copying.clone()).unwrap();
    for (sent, mirrored) in [
        (json!({ "title": "a" }), json!({ "title": "a", "name": "a" })),
        (json!({ "name": null }), json!({ "title": null, "name": null })),
        (json!({ "slug": "s" }), json!({ "slug": "s" })),
    ] {
        let mut data = object(sent);
        known.canonicalise(&mut data);
        assert_eq!(data, object(mirrored));
        assert!(known.unequal(&data).is_empty());
    }
    assert_eq!(known.unequal(&object(json!({ "title": "a", "name": "b" })))[0].pointer, "/name");
    // The old name is right: whoever knows only that one may still write.
    assert_eq!(known.migrated(&object(json!({ "title": "a", "name": "b" }))).unwrap()["name"], "a");
    assert_eq!(known.migrated(&object(json!({ "title": "a", "name": "a" }))), None);
    // Not dropped before every record has it, whatever else changes.
    let before = first();
    let refused = |body, previous| Definition::parse("tasks", body, Some(previous)).unwrap_err()[0].pointer.clone();
    assert_eq!(refused(renamed(false), &copying), "/dropped/0");
    assert_eq!(refused(renamed(false), &before), "/dropped/0");
    let mut unnamed = renamed(false);
    unnamed["schema"]["properties"]["name"].as_object_mut().unwrap().remove("renamedFrom");
    assert_eq!(refused(unnamed, &copying), "/dropped/0");
    let mut ruled = renamed(true);
    ruled["rules"]["delete"] = json!("false");
    assert_eq!(put(&copying, ruled, "two", 20).steps(), copying.steps(), "what is not done is done later");
    let both = concluded(&copying, Blocked::default(), 20);
    assert_eq!((both.status(), both.steps()), ("ready", &[][..]));
    let dropping = put(&both, renamed(false), "two", 30);
    assert_eq!(dropping.steps(), [Step::Drop { field: "title".into() }]);
    let known = Collection::compile(dropping.clone()).unwrap();
    let mut sent = object(json!({ "name": "a" }));
    known.canonicalise(&mut sent);
    assert!(known.validate(&mut sent).is_ok(), "the old name is not written any more: {sent:?}");
    for definition in [&dropping, &concluded(&dropping, Blocked::default(), 40)] {
        let known = Collection::compile(definition.clone()).unwrap();
        let errors = known.validate(&mut object(json!({ "name": "a", "title": "a" }))).unwrap_err();
        let message = errors.iter().find(|error| error.pointer == "/title").unwrap().message.clone();
        assert!(message.contains("`name` now"), "{message}");
    }
}

#[test]
fn both_names_of_a_field_mean_the_same() {
    let refused = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut body = renamed(true);
        change(&mut body["schema"]["properties"]);
        let problems = Definition::parse("tasks", body, None).unwrap_err();
        assert_eq!(problems[0].pointer, "/schema/properties/name/renamedFrom", "{problems:?}");
    };
    refused(&|fields| fields["name"]["maxLength"] = json!(10));
    refused(&|fields| fields["name"]["hidden"] = json!(true));
    refused(&|fields| fields["name"]["renamedFrom"] = json!("name"));
    refused(&|fields| fields["name"]["renamedFrom"] = json!(["title"]));
    refused(&|fields| fields["title"]["renamedFrom"] = json!("label"));
    let mut described = renamed(true);
    described["schema"]["properties"]["name"]["description"] = json!("was title");
    assert!(Definition::parse("tasks", described, None).is_ok());
    let mut copying = renamed(true);
    copying["schema"]["required"] = json!(["title", "name"]);
    copying["schema"]["properties"]["slug"]["maxLength"] = json!(20);
    let waiting = put(&first(), copying.clone(), "one", 10);
    assert_eq!(waiting.steps(), [], "another narrowing waits with the old schema in force");
}
