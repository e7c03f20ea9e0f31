//! Every AWS call of every write fails in every way, and the client retries: the stored result equals that of one undisturbed
//! request, and every answer in between says what to do (requirements 4A, R94).
//!
//! A run creates its own records, plans one fault, and retries until it gets an answer. The changes in the tables, without
//! ids and times, are compared with those of the first run of the same operation, which had no fault.

mod operations;
mod traces;

use crate::world::{Answer, Caller, World, rounds, tasks};
use futures_util::future::join_all;
use operations::{Asked, Operation};
use serde_json::{Value, json};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::Duration;
use traces::Tables;
use undercroft_local::Fault;

/// The faults of a call, the operation each applies to (or any), and whether it is tried in every run or only in long ones.
const FAULTS: [(Fault, Option<&str>, bool); 8] = [
    (Fault::FailedBefore, None, true),
    (Fault::FailedAfter, None, true),
    (Fault::Conflict, Some("TransactWriteItems"), true),
    (Fault::LastInConflict, Some("TransactWriteItems"), true),
    (Fault::LostAnswer, None, false),
    (Fault::LostRequest, None, false),
    (Fault::TornAnswer, None, false),
    (Fault::Throttled, None, false),
];

/// Maximum number of retries of the client: longer than the lock of a deletion.
const PATIENCE: usize = 70;

/// A fault at the n-th call of this operation.
type Plan = (usize, Fault, Option<&'static str>);

/// One world, and the operation repeated in it.
pub struct Stage<'a> {
    world: &'a World,
    admin: RefCell<Caller<'a>>,
    ada: RefCell<Caller<'a>>,
    signed_in_at: Cell<u64>,
    runs: Cell<usize>,
}

impl<'a> Stage<'a> {
    async fn new(world: &'a World) -> Self {
        let (admin, ada) = (world.admin().await, world.user("ada").await);
        let open = json!({ "list": "auth.id != ''", "read": "auth.id != ''", "create": "auth.id != ''",
                           "update": "auth.id != ''", "delete": "auth.id != ''" });
        let posts = json!({ "name": "posts", "rules": open, "schema": { "type": "object", "additionalProperties": false,
            "properties": { "title": { "type": "string" }, "likes": { "type": "integer" },
                            "tags": { "type": "array", "items": { "type": "string" } } } } });
        let comments = json!({ "name": "comments", "rules": open, "schema": { "type": "object",
            "additionalProperties": false, "properties": { "text": { "type": "string" },
            "post": { "type": "string", "relation": { "collection": "posts", "onDelete": "restrict" } },
            "also": { "type": "array", "items": { "type": "string" }, "maxItems": 5,
                      "relation": { "collection": "posts", "onDelete": "restrict" } } } } });
        // Its entries have no time in their keys, so that two runs can be compared.
        let shared = json!({ "name": "shared", "rules": open, "schema": { "type": "object", "additionalProperties": false,
            "properties": { "title": { "type": "string" },
            "members": { "type": "array", "items": { "type": "string" }, "maxItems": 9 } } },
            "indexes": [{ "name": "with", "partition": ["members[]"] }] });
        for definition in [tasks(), posts, comments, shared] {
            admin
                .put(&format!("/v1/collections/{}", definition["name"].as_str().unwrap()), definition)
                .await
                .expect(201);
        }
        let signed_in_at = Cell::new(world.now());
        Self { world, admin: admin.into(), ada: ada.into(), signed_in_at, runs: Cell::new(0) }
    }

    fn admin(&self) -> Caller<'a> {
        self.admin.borrow().clone()
    }

    fn ada(&self) -> Caller<'a> {
        self.ada.borrow().clone()
    }

    /// Lets cached definitions expire, so that a run reads them, and keeps the callers signed in.
    async fn go_on(&self) {
        self.world.advance(Duration::from_secs(6));
        if self.world.now() > self.signed_in_at.get() + 120_000 {
            self.signed_in_at.set(self.world.now());
            for caller in [&self.admin, &self.ada] {
                let known = caller.borrow().clone();
                let refresh = json!({ "refreshToken": known.refresh_token });
                let tokens = self.world.stranger().post("/v1/auth/refresh", refresh).await.expect(200);
                let mut renewed = self.world.signed_in(&tokens.body);
                renewed.user = known.user;
                caller.replace(renewed);
            }
        }
    }

    /// Runs the operation with this fault at this call. `None` if it makes fewer calls.
    async fn run(&self, operation: Operation, keyed: bool, fault: Option<Plan>) -> Option<String> {
        self.go_on().await;
        let run = self.runs.replace(self.runs.get() + 1);
        let tag = format!("run-{run}-");
        let asked = operation.prepare(self, &tag).await;
        self.go_on().await;
        let before = Tables::of(self.world).await;
        match fault {
            Some((nth, fault, None)) => self.world.cloud.faults().on_call(nth, fault),
            Some((nth, fault, Some(call))) => self.world.cloud.faults().on(call, nth, fault),
            None => {}
        }
        let reported = format!("{operation:?}, keyed: {keyed}, {fault:?}");
        let key = keyed.then(|| format!("\"{tag}\""));
        let answered = self.insist(&asked, key.as_deref(), &before, &reported).await;
        if self.world.cloud.faults().clear() > 0 {
            return None;
        }
        if let (Some(key), Some(answer)) = (key, answered) {
            let again = asked.send(Some(&key)).await;
            assert_eq!(
                (again.status, &again.text),
                (answer.status, &answer.text),
                "{reported}: the same key, the same answer"
            );
        }
        Some(before.changes_to(&Tables::of(self.world).await, &tag, keyed))
    }

    /// Runs the operation while the answer to this call is lost and the SDK retries. The client must not notice.
    async fn run_unnoticed(&self, operation: Operation, nth: Option<usize>) -> Option<String> {
        self.go_on().await;
        let tag = format!("run-{}-", self.runs.replace(self.runs.get() + 1));
        let asked = operation.prepare(self, &tag).await;
        self.go_on().await;
        let before = Tables::of(self.world).await;
        nth.into_iter().for_each(|nth| self.world.cloud.faults().on_call(nth, Fault::LostAnswer));
        let answer = asked.send(None).await;
        assert!(answer.status < 300, "{operation:?}, without the answer to call {nth:?}: {}", answer.text);
        let happened = self.world.cloud.faults().clear() == 0;
        happened.then_some(before.changes_to(&Tables::of(self.world).await, &tag, true))
    }

    /// Retries until the answer is final. Without a key the client first checks whether the request took effect.
    async fn insist(&self, asked: &Asked<'_>, key: Option<&str>, before: &Tables, reported: &str) -> Option<Answer> {
        for attempt in 0..PATIENCE {
            let answer = asked.send(key).await;
            if answer.status < 300 {
                return Some(answer);
            }
            if attempt > 0 && key.is_none() && asked.done_before.contains(&answer.status) {
                return None;
            }
            let wait = match (answer.status, answer.code()) {
                (503, "unavailable") => answer.header("retry-after").parse().unwrap(),
                (409, "in_progress") => 1,
                (503, "outcome_unknown") if key.is_none() && asked.looks_first => 1,
                _ => panic!("{reported}: attempt {attempt} was answered {}", answer.text),
            };
            self.world.advance(Duration::from_secs(wait));
            self.world.cloud.faults().clear();
            if key.is_none() && asked.looks_first && before.has_new(&Tables::of(self.world).await, asked.wrote) {
                return None;
            }
        }
        panic!("{reported}: it did not succeed in {PATIENCE} attempts");
    }
}

/// Runs an operation with every fault, without and with a key. Returns the number of runs.
async fn everything_goes_wrong(operation: Operation) -> usize {
    let world = World::that_tries_once().await;
    let stage = Stage::new(&world).await;
    let mut runs = 0;
    for keyed in [false, true] {
        let undisturbed = stage.run(operation, keyed, None).await.unwrap();
        let again = stage.run(operation, keyed, None).await.unwrap();
        assert_eq!(again, undisturbed, "{operation:?}, keyed: {keyed}: it leaves the same each time");
        for (fault, call, _) in FAULTS.iter().filter(|(.., always)| *always || rounds(1) > 1) {
            for nth in 1.. {
                let Some(left) = stage.run(operation, keyed, Some((nth, *fault, *call))).await else { break };
                assert_eq!(left, undisturbed, "{operation:?}, keyed: {keyed}: {fault:?} at call {nth}");
                runs += 1;
            }
        }
    }
    finish(&world).await;
    runs
}

/// Runs the enqueued jobs to their end.
async fn finish(world: &World) {
    for _ in 0..12 {
        world.settle().await;
        world.advance(Duration::from_secs(60));
    }
    world.settle().await;
}

async fn all_go_wrong(operations: &[Operation]) {
    for operation in operations {
        let runs = everything_goes_wrong(*operation).await;
        assert!(runs >= 6, "{operation:?} was disturbed only {runs} times");
    }
}

#[tokio::test]
async fn making_a_record_survives_whatever_goes_wrong_with_any_call() {
    use Operation::*;
    all_go_wrong(&[Create, CreateUnique, TakeOver, CreateRelated, CreateAs]).await;
}

#[tokio::test]
async fn arrays_of_ids_survive_whatever_goes_wrong_with_any_call() {
    use Operation::*;
    all_go_wrong(&[CreateManyRelated, PatchManyRelated]).await;
}

#[tokio::test]
async fn changing_a_record_survives_whatever_goes_wrong_with_any_call() {
    use Operation::*;
    all_go_wrong(&[PatchUnread, PatchVersion, PatchRead, PatchUnique, Replace]).await;
}

#[tokio::test]
async fn upserts_survive_whatever_goes_wrong_with_any_call() {
    use Operation::*;
    all_go_wrong(&[UpsertNew, UpsertThere]).await;
}

/// Nothing is added twice: without a key the client looks at the record after an unknown outcome.
#[tokio::test]
async fn adding_to_a_record_survives_whatever_goes_wrong_with_any_call() {
    use Operation::*;
    all_go_wrong(&[AddUnread, AddRead]).await;
}

#[tokio::test]
async fn deleting_undeleting_and_batches_survive_whatever_goes_wrong_with_any_call() {
    use Operation::*;
    all_go_wrong(&[Delete, DeleteRestricted, DeleteReleased, Undelete, Batch]).await;
}

#[tokio::test]
async fn records_with_entries_survive_whatever_goes_wrong_with_any_call() {
    use Operation::*;
    all_go_wrong(&[CreateShared, PatchShared, ReplaceShared, DeleteShared, UndeleteShared]).await;
}

#[tokio::test]
async fn definitions_survive_whatever_goes_wrong_with_any_call() {
    use Operation::*;
    all_go_wrong(&[Define, Redefine, DeleteCollection]).await;
}

#[tokio::test]
async fn asking_for_jobs_survives_whatever_goes_wrong_with_any_call() {
    use Operation::*;
    all_go_wrong(&[Enqueue, Cancel, Redrive, RedriveAll]).await;
}

/// The answer of DynamoDB is lost: the SDK retries the write and finds its own first write.
#[tokio::test]
async fn a_retried_write_does_not_conflict_with_itself() {
    use Operation::*;
    let unnoticed = async |operation: Operation| {
        let world = World::new().await;
        let stage = Stage::new(&world).await;
        let undisturbed = stage.run_unnoticed(operation, None).await.unwrap();
        for nth in 1.. {
            let Some(left) = stage.run_unnoticed(operation, Some(nth)).await else { break };
            assert_eq!(left, undisturbed, "{operation:?}, call {nth}");
        }
        finish(&world).await;
    };
    let operations = [
        CreateShared,
        PatchShared,
        DeleteShared,
        Create,
        CreateUnique,
        UpsertNew,
        UpsertThere,
        PatchUnread,
        PatchRead,
        Delete,
        DeleteRestricted,
        Define,
        Enqueue,
        Cancel,
        Redrive,
    ];
    join_all(operations.map(|operation| Box::pin(unnoticed(operation)))).await;
}
