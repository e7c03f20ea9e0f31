//! A rule as a DynamoDB condition and as CEL: both agree over generated rules and records, so that the condition of a write
//! equals the rule.

use crate::world::World;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use serde_json::{Map, Value, json};
use undercroft::expr::{Auth, Expr, FieldType, FieldTypes, Input, Kind, Known, RecordRef, Rule};
use undercroft::query::{Condition, condition};

#[path = "../../../shared/core/src/expr/tests/generated.rs"]
#[allow(dead_code, reason = "only some of the generators are asked of the store")]
mod generated;

const RULES: usize = 2_000;
const RECORDS: usize = 40;
const NOW: &str = "2026-02-01T00:00:00.000Z";
const MADE: &str = "2026-01-31T00:00:00.000Z";

fn drawn<T: std::fmt::Debug>(runner: &mut TestRunner, strategy: &impl Strategy<Value = T>) -> T {
    strategy.new_tree(runner).unwrap().current()
}

/// A value as DynamoDB's JSON spells it.
fn attribute(value: &Value) -> Value {
    match value {
        Value::Null => json!({ "NULL": true }),
        Value::Bool(flag) => json!({ "BOOL": flag }),
        Value::Number(number) => json!({ "N": number.to_string() }),
        Value::String(text) => json!({ "S": text }),
        Value::Array(elements) => json!({ "L": elements.iter().map(attribute).collect::<Vec<_>>() }),
        Value::Object(members) => json!({ "M": attributes(members) }),
    }
}

fn attributes(members: &Map<String, Value>) -> Map<String, Value> {
    members.iter().map(|(name, value)| (name.clone(), attribute(value))).collect()
}

fn id(position: usize) -> String {
    format!("0198c5a2-0000-7000-8000-{position:012}")
}

fn view<'a>(id: &'a str, data: &'a Map<String, Value>) -> RecordRef<'a> {
    RecordRef { id, created_at: MADE, updated_at: NOW, version: 3, data }
}

/// The store with the records in it.
struct Store {
    world: World,
    table: String,
}

impl Store {
    async fn with(records: &[Map<String, Value>]) -> Self {
        let world = World::new().await;
        let table = world.cloud.tables().iter().find(|name| name.contains("Records")).unwrap().clone();
        let store = Self { world, table };
        for (position, data) in records.iter().enumerate() {
            let item = json!({
                "pk": { "S": "rules" }, "sk": { "S": id(position) }, "d": { "M": attributes(data) },
                "v": { "N": "3" }, "ca": { "S": MADE }, "ua": { "S": NOW },
            });
            store.call("PutItem", json!({ "Item": item })).await.unwrap();
        }
        store
    }

    async fn call(&self, action: &str, mut request: Value) -> Result<Value, undercroft_local::CallError> {
        request["TableName"] = json!(self.table);
        self.world.cloud.call(&format!("DynamoDB_20120810.{action}"), &request).await
    }

    /// The records that meet the condition.
    async fn meeting(&self, asked: &Condition) -> Vec<String> {
        let mut request = placeholders(asked);
        request["KeyConditionExpression"] = json!("pk = :partition");
        request["FilterExpression"] = json!(asked.expression);
        request["ExpressionAttributeValues"][":partition"] = json!({ "S": "rules" });
        let answer = self.call("Query", request).await.unwrap_or_else(|error| panic!("{asked:?}: {error}"));
        let items = answer["Items"].as_array().unwrap();
        items.iter().map(|item| item["sk"]["S"].as_str().unwrap().to_owned()).collect()
    }

    /// Whether a write of the record on this condition happens.
    async fn writes(&self, asked: &Condition, id: &str) -> bool {
        let mut request = placeholders(asked);
        request["Key"] = json!({ "pk": { "S": "rules" }, "sk": { "S": id } });
        request["UpdateExpression"] = json!("SET touched = :partition");
        request["ConditionExpression"] = json!(format!("attribute_exists(pk) AND {}", asked.expression));
        request["ExpressionAttributeValues"][":partition"] = json!({ "S": "rules" });
        match self.call("UpdateItem", request).await {
            Ok(_) => true,
            Err(error) if error.is("ConditionalCheckFailedException") => false,
            Err(error) => panic!("{asked:?}: {error}"),
        }
    }
}

fn placeholders(asked: &Condition) -> Value {
    let values: Map<String, Value> =
        asked.values.iter().map(|(name, value)| (name.clone(), attribute(value))).collect();
    let names: Map<String, Value> =
        asked.names.iter().map(|(placeholder, name)| (placeholder.clone(), json!(name))).collect();
    let mut request = json!({ "ExpressionAttributeValues": values });
    if !names.is_empty() {
        request["ExpressionAttributeNames"] = names.into();
    }
    request
}

#[tokio::test]
async fn a_dynamodb_condition_agrees_with_its_cel_rule_for_every_record() {
    let mut runner = TestRunner::deterministic();
    let odd = generated::odd_data();
    let records: Vec<Map<String, Value>> = (0..RECORDS).map(|_| drawn(&mut runner, &odd)).collect();
    let store = Store::with(&records).await;
    let (rules, auths, fields) = (generated::update_rule(), generated::auth(), generated::fields());
    let (mut pushed, mut met) = (0, 0);
    for nth in 0..RULES {
        let (source, auth, input): (String, Option<Auth>, _) =
            (drawn(&mut runner, &rules), drawn(&mut runner, &auths), drawn(&mut runner, &odd));
        let input = if nth % 3 == 0 { Input::Whole(&input) } else { Input::Patch(&input) };
        let known = Known { auth: auth.as_ref(), now: NOW, input };
        let rule = Expr::rule(&source, &fields, Rule::Update).unwrap();
        let left = rule.partial(&known);
        let Some(asked) = condition(&left, "d") else { continue };
        let expected: Vec<String> = records
            .iter()
            .enumerate()
            .filter(|(position, data)| rule.eval(&known, Some(&view(&id(*position), data))))
            .map(|(position, _)| id(position))
            .collect();
        assert_eq!(store.meeting(&asked).await, expected, "{source}\nleaves {left}\nasked as {asked:?}");
        if nth % 10 == 0 {
            let one = id(nth / 10 % RECORDS);
            assert_eq!(store.writes(&asked, &one).await, expected.contains(&one), "{source}\nleaves {left}");
        }
        pushed += 1;
        met += expected.len();
    }
    assert!(pushed > 500 && met > 1_000, "{pushed} rules were asked of the store, {met} records met them");
}

#[tokio::test]
async fn a_patch_outside_the_fields_of_the_rule_is_written_without_a_read() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    for (name, rule, cost) in [
        ("kept", "record.owner == auth.id && input.owner == record.owner", (0.0, 1.0, 1)),
        ("rising", "record.owner == auth.id && input.level >= record.level", (1.0, 1.0, 2)),
    ] {
        let schema = json!({ "type": "object", "additionalProperties": false, "properties": {
            "owner": { "type": "string" }, "level": { "type": "integer" }, "text": { "type": "string" } } });
        let rules = json!({ "read": "record.owner == auth.id", "create": "auth.id != ''", "update": rule });
        let definition = json!({ "name": name, "schema": schema, "rules": rules });
        world.admin().await.put(&format!("/v1/collections/{name}"), definition).await.expect(201);
        let body = json!({ "owner": ada.id(), "level": 2 });
        let made = ada.post(&format!("/v1/collections/{name}/records"), body).await.expect(201);
        let path = made.header("location");
        let patched = ada.patch(path, json!({ "text": "x" })).await.expect(200);
        assert_eq!(patched.cost(), cost, "{rule}");
        for other in [json!({ "level": 1 }), json!({ "owner": "bob" })] {
            let answer = ada.patch(path, other.clone()).await.status;
            let refused = (name == "kept") == (other.get("owner").is_some());
            assert_eq!(answer, if refused { 403 } else { 200 }, "{rule}: {other}");
        }
    }
}
