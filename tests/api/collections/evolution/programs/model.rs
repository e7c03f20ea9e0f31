//! What is known to have happened, and what follows for the stored records.

use super::super::leases::while_time_goes_by;
use super::steps::{Data, Definition, Listed, Step, Tag, Write, tags};
use super::{CALM, Seen, add};
use crate::imports::files;
use crate::records::pages::encoded;
use crate::records::shared_lists::entries;
use crate::world::{Answer, Caller, World};
use axum::http::Method;
use futures_util::future::{join, join_all};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use undercroft::clock::rfc3339;

const DEFINITION: &str = "/v1/collections/things";
const RECORDS: &str = "/v1/collections/things/records";

/// An accepted change. `None` is the deletion of the collection.
struct Change {
    definition: Option<Definition>,
    at: u64,
    /// When no function goes by what was there before, as the answer promised.
    in_force_at: String,
}

struct Record {
    path: String,
    body: Value,
    is_alive: bool,
}

impl Record {
    fn title(&self) -> &str {
        self.body["title"].as_str().unwrap()
    }
}

struct Deletion {
    with_records: bool,
}

struct Import {
    job: String,
    rows: Vec<Value>,
    /// The definitions in use when it was asked for.
    in_use: Vec<Definition>,
    /// How many changes there were then.
    changes: usize,
    /// Whether the collection was deleted since then, so that its rows may be anywhere.
    is_uncertain: bool,
}

/// A write that is about to be sent.
struct Sent {
    method: Method,
    path: String,
    body: Value,
    /// The place of the record among those known.
    target: Option<usize>,
    /// The title that a schema judges.
    title: Option<String>,
}

pub struct Model {
    tokens: Value,
    admin: Value,
    signed_in_at: u64,
    changes: Vec<Change>,
    deletion: Option<Deletion>,
    records: Vec<Record>,
    imports: Vec<Import>,
    /// Titles of rows that may or may not be there.
    uncertain: Vec<String>,
    writes: usize,
}

fn tokens_of(caller: &Caller<'_>) -> Value {
    json!({ "accessToken": caller.token, "refreshToken": caller.refresh_token, "user": caller.user })
}

/// A record as a client sends it.
fn data_of(record: &Value) -> Value {
    let mut data = record.clone();
    data.as_object_mut().unwrap().retain(|name, _| !undercroft::expr::is_system(name));
    data
}

impl Model {
    pub async fn new(world: &World) -> Self {
        let (admin, ada) = (world.admin().await, world.user("ada").await);
        Self {
            tokens: tokens_of(&ada),
            admin: tokens_of(&admin),
            signed_in_at: world.now(),
            changes: Vec::new(),
            deletion: None,
            records: Vec::new(),
            imports: Vec::new(),
            uncertain: Vec::new(),
            writes: 0,
        }
    }

    fn ada<'a>(&self, world: &'a World) -> Caller<'a> {
        world.signed_in(&self.tokens)
    }

    fn admin<'a>(&self, world: &'a World) -> Caller<'a> {
        world.signed_in(&self.admin)
    }

    pub async fn step(&mut self, world: &mut World, step: &Step, seen: &Seen) {
        if world.now() - self.signed_in_at > 300_000 {
            self.tokens = tokens_of(&world.user("ada").await);
            self.admin = tokens_of(&world.admin().await);
            self.signed_in_at = world.now();
        }
        match step {
            Step::Put(definition) => self.put(world, definition, seen).await,
            Step::DeleteCollection { with_records } => self.delete(world, *with_records).await,
            Step::Writes(writes) => self.write(world, None, writes, seen).await,
            // A put after a deletion waits, and time passes for the writes too.
            Step::PutAndWrites(definition, writes) if self.deletion.is_none() => {
                self.write(world, Some(definition), writes, seen).await;
            }
            Step::PutAndWrites(definition, _) => self.put(world, definition, seen).await,
            Step::Import(rows) => self.import(world, rows).await,
            Step::Wait(tenths) => world.advance(Duration::from_millis(100 * tenths)),
            Step::Settle => world.settle().await,
            Step::SettleKilling(wakes) => {
                world.settle_killing_worker_after(*wakes).await;
            }
            Step::Restart => world.restart_functions(),
            Step::List(listed) => self.list(world, *listed, false).await,
        }
        self.resolve_imports(world, seen).await;
    }

    /// The definitions by which a function may still decide.
    fn in_use(&self, now: u64) -> Vec<&Definition> {
        let now = rfc3339(now);
        let until = |nth: usize| self.changes.get(nth + 1).map(|next| next.in_force_at.as_str());
        let usable = (0..self.changes.len()).filter(|nth| until(*nth).is_none_or(|until| now.as_str() < until));
        usable.filter_map(|nth| self.changes[nth].definition.as_ref()).collect()
    }

    fn latest(&self) -> Option<&Definition> {
        self.changes.last().and_then(|change| change.definition.as_ref())
    }

    async fn put(&mut self, world: &World, definition: &Definition, seen: &Seen) {
        let admin = self.admin(world);
        let request = admin.put(DEFINITION, definition.body());
        let answer = if self.deletion.is_some() { while_time_goes_by(world, request).await } else { request.await };
        self.put_answered(world, definition, &answer, seen);
    }

    fn put_answered(&mut self, world: &World, definition: &Definition, answer: &Answer, seen: &Seen) {
        match answer.status {
            503 => return,
            201 => {
                if let Some(deletion) = self.deletion.take() {
                    add(&seen.recreated, 1);
                    let alive = self.records.iter().filter(|record| record.is_alive).count();
                    assert!(deletion.with_records || alive == 0, "{alive} acknowledged records were lost");
                    self.forget_all();
                }
            }
            200 | 202 => {
                let deletion = self.deletion.take();
                assert!(deletion.is_none_or(|deletion| !deletion.with_records), "the deletion was undone");
            }
            _ => panic!("{}: {}", answer.asked, answer.text),
        }
        self.changed(world, Some(definition.clone()), answer);
    }

    fn changed(&mut self, world: &World, definition: Option<Definition>, answer: &Answer) {
        let at = world.now();
        let in_force_at = answer.body["inForceAt"].as_str().map_or_else(|| rfc3339(at), str::to_owned);
        self.changes.push(Change { definition, at, in_force_at });
    }

    /// The collection and its records are gone.
    fn forget_all(&mut self) {
        self.records.clear();
        self.imports.iter_mut().for_each(|import| import.is_uncertain = true);
    }

    async fn delete(&mut self, world: &World, with_records: bool) {
        let query = if with_records { "?records=delete" } else { "" };
        let answer = self.admin(world).delete(&format!("{DEFINITION}{query}")).await;
        match answer.status {
            202 => {
                let with_records = with_records || self.deletion.as_ref().is_some_and(|deletion| deletion.with_records);
                self.deletion = Some(Deletion { with_records });
                self.imports.iter_mut().for_each(|import| import.is_uncertain = true);
                self.changed(world, None, &answer);
            }
            404 | 409 | 503 => {}
            _ => panic!("{}: {}", answer.asked, answer.text),
        }
    }

    async fn import(&mut self, world: &World, rows: &[Data]) {
        if self.deletion.is_some() {
            return;
        }
        let rows: Vec<Value> = rows.iter().map(|row| row.body(self.next_write())).collect();
        let text: Vec<String> = rows.iter().map(Value::to_string).collect();
        let job = files::import(&self.admin(world), "things", "ndjson", &text.join("\n")).await;
        let in_use = self.in_use(world.now()).into_iter().cloned().collect();
        self.imports.push(Import { job, rows, in_use, changes: self.changes.len(), is_uncertain: false });
    }

    fn next_write(&mut self) -> usize {
        self.writes += 1;
        self.writes
    }

    async fn resolve_imports(&mut self, world: &World, seen: &Seen) {
        let admin = self.admin(world);
        let mut waiting = Vec::new();
        for import in std::mem::take(&mut self.imports) {
            let job = admin.get(&import.job).await.expect(200).body;
            let is_over = ["succeeded", "dead"].contains(&job["status"].as_str().unwrap());
            let titles = import.rows.iter().map(|row| row["title"].as_str().unwrap().to_owned());
            if !is_over {
                waiting.push(import);
            } else if job["status"] == "dead" || import.is_uncertain {
                self.uncertain.extend(titles);
            } else {
                self.imported(&import, &job["result"], &all(&admin).await, seen);
            }
        }
        self.imports = waiting;
    }

    fn imported(&mut self, import: &Import, result: &Value, stored: &[Value], seen: &Seen) {
        let refused: Vec<u64> =
            result["errors"].as_array().into_iter().flatten().map(|error| error["line"].as_u64().unwrap()).collect();
        let since = self.changes[import.changes..].iter().filter_map(|change| change.definition.as_ref());
        let usable: Vec<&Definition> = import.in_use.iter().chain(since).collect();
        for (line, row) in (1..).zip(&import.rows).filter(|(line, _)| !refused.contains(line)) {
            let title = row["title"].as_str().unwrap();
            assert!(
                usable.iter().any(|definition| definition.takes(title)),
                "row {line} was imported and no definition takes it: {row}"
            );
            let record = stored.iter().find(|record| record["title"] == title);
            let record = record.unwrap_or_else(|| panic!("row {line} was imported and is not there: {row}, {result}"));
            let path = format!("{RECORDS}/{}", record["id"].as_str().unwrap());
            self.records.push(Record { path, body: row.clone(), is_alive: true });
            add(&seen.imported, 1);
        }
    }

    /// Nothing has changed for long, and the definition is in force as it was put.
    async fn is_calm(&self, world: &World) -> bool {
        let Some(last) = self.changes.last() else { return false };
        if world.now() < last.at + u64::try_from(CALM.as_millis()).unwrap() || last.definition.is_none() {
            return false;
        }
        self.admin(world).get(DEFINITION).await.expect(200).body["status"] == "ready" && self.imports.is_empty()
    }

    fn prepare(&mut self, write: &Write, used: &mut Vec<usize>) -> Option<Sent> {
        let nth = self.next_write();
        let target = self.pick(write, used);
        if target.is_none() && !matches!(write, Write::Create(_)) {
            return None;
        }
        used.extend(target);
        let path = target.map_or(RECORDS.to_owned(), |target| self.records[target].path.clone());
        let sent = |method, path, body: Value| {
            let title = body["title"].as_str().map(str::to_owned);
            Some(Sent { method, path, body, target, title })
        };
        let title = |is_long| Data { is_long, state: true, slug: None, tags: Vec::new() }.body(nth)["title"].clone();
        match write {
            Write::Create(data) => sent(Method::POST, path, data.body(nth)),
            Write::PatchTitle(_, is_long) => sent(Method::PATCH, path, json!({ "title": title(*is_long) })),
            Write::PatchState(_, state) => {
                sent(Method::PATCH, path, json!({ "state": if *state { "a" } else { "b" } }))
            }
            Write::PatchSlug(_, slug) => sent(Method::PATCH, path, json!({ "slug": format!("s{slug}") })),
            Write::PatchTags(_, some) => sent(Method::PATCH, path, json!({ "tags": tags(some) })),
            Write::Replace(_, data) => sent(Method::PUT, path, data.body(nth)),
            Write::Delete(_) => sent(Method::DELETE, path, json!({})),
            Write::Undelete(_) => {
                let title = self.records[target?].title().to_owned();
                let sent = sent(Method::POST, format!("{path}/undelete"), json!({}));
                sent.map(|sent| Sent { title: Some(title), ..sent })
            }
        }
    }

    /// The record that a write is for: a deleted one for an undelete, else a living one.
    fn pick(&self, write: &Write, used: &[usize]) -> Option<usize> {
        let (nth, is_alive) = match write {
            Write::Create(_) => return None,
            Write::PatchTitle(nth, _)
            | Write::PatchState(nth, _)
            | Write::PatchSlug(nth, _)
            | Write::PatchTags(nth, _)
            | Write::Replace(nth, _) => (*nth, true),
            Write::Delete(nth) => (*nth, true),
            Write::Undelete(nth) => (*nth, false),
        };
        let fitting: Vec<usize> = (0..self.records.len())
            .filter(|place| self.records[*place].is_alive == is_alive && !used.contains(place))
            .collect();
        fitting.get(nth.checked_rem(fitting.len())?).copied()
    }

    async fn write(&mut self, world: &World, put: Option<&Definition>, writes: &[Write], seen: &Seen) {
        let is_calm = put.is_none() && writes.len() == 1 && self.is_calm(world).await;
        let mut used = Vec::new();
        let sent: Vec<Sent> = writes.iter().filter_map(|write| self.prepare(write, &mut used)).collect();
        let ada = self.ada(world);
        let requests = join_all(sent.iter().map(|sent| {
            let request = ada.request(sent.method.clone(), &sent.path);
            let request = if sent.method == Method::PUT { request.header("if-match", "*") } else { request };
            let has_body = sent.method != Method::DELETE && !sent.path.ends_with("/undelete");
            if has_body { request.json(sent.body.clone()).send() } else { request.send() }
        }));
        let mut usable: Vec<Definition> = self.in_use(world.now()).into_iter().cloned().collect();
        let answers = match put {
            None => requests.await,
            Some(definition) => {
                let admin = self.admin(world);
                let (put, answers) = join(admin.put(DEFINITION, definition.body()), requests).await;
                self.put_answered(world, definition, &put, seen);
                usable.push(definition.clone());
                answers
            }
        };
        // A deletion of an empty collection is undone by writes, and which ones is not known yet.
        let is_known = self.deletion.as_ref().is_none_or(|deletion| deletion.with_records);
        for (sent, answer) in sent.iter().zip(&answers) {
            let fits = |definition: &&Definition| {
                !definition.is_closed && sent.title.as_ref().is_none_or(|title| definition.takes(title))
            };
            if answer.status < 300 {
                assert!(
                    !is_known || usable.iter().any(|definition| fits(&definition)),
                    "{} {} was accepted: {}; usable {usable:?}",
                    answer.asked,
                    sent.body,
                    answer.text
                );
                add(&seen.accepted, 1);
            } else {
                assert!(answer.status < 500 || answer.status == 503, "{}: {}", answer.asked, answer.text);
                add(&seen.refused, 1);
            }
            if is_calm {
                let should = self.latest().is_some_and(|latest| fits(&latest) && !self.conflicts(latest, sent));
                assert_eq!(answer.status < 300, should, "{} {}: {}", answer.asked, sent.body, answer.text);
            }
        }
        for (sent, answer) in sent.iter().zip(answers).filter(|(_, answer)| answer.status < 300) {
            self.written(sent, &answer);
        }
    }

    /// Whether another record has the slug that a write claims.
    fn conflicts(&self, definition: &Definition, sent: &Sent) -> bool {
        let claimed = match sent.target {
            Some(target) if sent.path.ends_with("/undelete") => &self.records[target].body["slug"],
            _ => &sent.body["slug"],
        };
        let mut others = (0..self.records.len()).filter(|place| Some(*place) != sent.target);
        definition.is_unique
            && !claimed.is_null()
            && others.any(|other| self.records[other].is_alive && self.records[other].body["slug"] == *claimed)
    }

    fn written(&mut self, sent: &Sent, answer: &Answer) {
        match sent.target {
            None => {
                let path = answer.header("location").to_owned();
                self.records.push(Record { path, body: sent.body.clone(), is_alive: true });
            }
            Some(target) => {
                let record = &mut self.records[target];
                record.is_alive = sent.method != Method::DELETE;
                if sent.method == Method::PUT {
                    record.body = sent.body.clone();
                } else if sent.method == Method::PATCH {
                    record.body.as_object_mut().unwrap().extend(sent.body.as_object().unwrap().clone());
                }
                if record.is_alive {
                    assert_eq!(data_of(&answer.body), record.body, "{}", answer.asked);
                }
            }
        }
    }

    /// The living records, by title.
    fn alive(&self) -> BTreeMap<&str, &Value> {
        self.records.iter().filter(|record| record.is_alive).map(|record| (record.title(), &record.body)).collect()
    }

    /// Compares a list by state or by a tag with the model, if it is answered; at the end it has to be.
    async fn list(&self, world: &World, listed: Listed, must: bool) {
        let state = |state| if state { "a" } else { "b" };
        let filter = match listed {
            Listed::State(is_a) => format!("state == '{}'", state(is_a)),
            Listed::Tag(tag) => format!("'{}' in tags", tag.text()),
        };
        let is_listed = |body: &Value| match listed {
            Listed::State(is_a) => body["state"] == state(is_a),
            Listed::Tag(tag) => body["tags"].as_array().is_some_and(|tags| tags.contains(&json!(tag.text()))),
        };
        let path = format!("{RECORDS}?limit=100&filter={}", encoded(&filter));
        let answer = self.ada(world).get(&path).await;
        if answer.status != 200 {
            assert!(!must && [404, 422, 503].contains(&answer.status), "{}: {}", answer.asked, answer.text);
            return;
        }
        if self.deletion.is_some() || !self.imports.is_empty() {
            return;
        }
        let expected: BTreeMap<_, _> = self.alive().into_iter().filter(|(_, body)| is_listed(body)).collect();
        self.compare(answer.body["items"].as_array().unwrap(), &expected, &answer.asked);
    }

    fn compare(&self, items: &[Value], expected: &BTreeMap<&str, &Value>, what: &str) {
        let data: Vec<Value> = items.iter().map(data_of).collect();
        let shown: BTreeMap<&str, &Value> = data
            .iter()
            .map(|data| (data["title"].as_str().unwrap(), data))
            .filter(|(title, _)| !self.uncertain.iter().any(|it| it == title))
            .collect();
        assert_eq!(shown, *expected, "{what}");
    }

    pub async fn end(mut self, world: &World, seen: &Seen) {
        for _ in 0..4 {
            world.settle().await;
            world.advance(Duration::from_secs(20));
        }
        // A killed worker's messages come back.
        world.advance(Duration::from_secs(361));
        for _ in 0..4 {
            world.settle().await;
            world.advance(Duration::from_secs(20));
        }
        world.settle().await;
        self.tokens = tokens_of(&world.user("ada").await);
        self.admin = tokens_of(&world.admin().await);
        self.resolve_imports(world, seen).await;
        assert!(self.imports.is_empty(), "imports do not end");
        let definition = self.admin(world).get(DEFINITION).await;
        if let Some(deletion) = self.deletion.take() {
            if definition.status == 404 {
                let alive = self.alive();
                assert!(deletion.with_records || alive.is_empty(), "acknowledged and lost: {alive:?}");
                return;
            }
            assert!(!deletion.with_records, "the collection is not deleted: {}", definition.text);
            self.changes.retain(|change| change.definition.is_some());
        }
        let definition = definition.expect(200).body;
        self.hold(world, &definition, seen).await;
    }

    /// Every acknowledged record is there as it was written, and what the definition promises holds.
    async fn hold(&self, world: &World, definition: &Value, seen: &Seen) {
        let admin = self.admin(world);
        let stored = all(&admin).await;
        self.compare(&stored, &self.alive(), "the whole collection");
        let latest = self.latest().unwrap();
        let disagree = disagreements(&stored, latest);
        match definition["status"].as_str().unwrap() {
            "ready" => assert!(disagree.is_empty(), "ready, though {disagree:?}: {definition}"),
            "blocked" => {
                add(&seen.blocked, 1);
                assert!(!disagree.is_empty(), "blocked by nothing: {definition}");
                return;
            }
            other => panic!("still {other}: {definition}"),
        }
        let ada = self.ada(world);
        for record in &self.records {
            let read = ada.get(&record.path).await;
            assert_eq!(read.status, if record.is_alive { 200 } else { 404 }, "{}", record.body);
        }
        if latest.has_index {
            self.list(world, Listed::State(true), true).await;
            self.list(world, Listed::State(false), true).await;
        }
        if latest.tagged.is_some() {
            for tag in 0..3 {
                self.list(world, Listed::Tag(Tag(tag)), true).await;
            }
        }
        add(&seen.entries, entries::hold(world, "things").await);
        if latest.is_counted {
            let count = ada.get(&format!("{RECORDS}?limit=0&count=true")).await.expect(200).body;
            assert_eq!(count["count"]["records"], stored.len(), "{count}");
        }
    }
}

/// The records that the definition does not allow, or not beside another.
fn disagreements(stored: &[Value], definition: &Definition) -> Vec<Value> {
    let is_long = |record: &Value| !definition.takes(record["title"].as_str().unwrap());
    let is_double = |record: &Value| {
        definition.is_unique
            && !record["slug"].is_null()
            && stored.iter().any(|other| other["id"] != record["id"] && other["slug"] == record["slug"])
    };
    stored.iter().filter(|record| is_long(record) || is_double(record)).cloned().collect()
}

/// Deletes the collection, so that the next program finds none.
pub async fn clear(world: &World) {
    let answer = world.admin().await.delete(&format!("{DEFINITION}?records=delete")).await;
    assert!([202, 404].contains(&answer.status), "{}: {}", answer.asked, answer.text);
    for _ in 0..3 {
        world.settle().await;
        world.advance(Duration::from_secs(20));
    }
    world.settle().await;
}

/// Every record, as an admin reads it.
async fn all(admin: &Caller<'_>) -> Vec<Value> {
    let answer = admin.get(&format!("{RECORDS}?limit=100")).await;
    if answer.status == 404 {
        return Vec::new();
    }
    let page = answer.expect(200).body;
    assert!(page.get("nextCursor").is_none(), "a program makes fewer records");
    page["items"].as_array().unwrap().clone()
}
