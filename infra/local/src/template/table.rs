//! A table as the template describes it, in the words of DynamoDB's own CreateTable.

use serde_json::{Map, Value, json};

use super::refusal::Refusal;

const INDEX_PROPERTIES: &[&str] = &["IndexName", "KeySchema", "Projection"];
const INDEX_ONLY_IN_AWS: &[&str] =
    &["ContributorInsightsSpecification", "OnDemandThroughput", "ProvisionedThroughput", "WarmThroughput"];

/// What has to exist: keys, indexes, stream and time to live.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// Physical name.
    pub name: String,
    /// The body of the CreateTable call.
    pub create: Value,
    /// The attribute that holds each item's time to live, if it is enabled.
    pub time_to_live: Option<String>,
}

impl Table {
    /// Reads a table's resolved properties.
    ///
    /// # Errors
    /// An index or the stream is described by something that cannot be honoured here.
    pub fn read(name: String, properties: &Value) -> Result<Self, Refusal> {
        let mut create = Map::new();
        create.insert("TableName".into(), name.clone().into());
        create.insert("BillingMode".into(), "PAY_PER_REQUEST".into());
        for property in ["KeySchema", "AttributeDefinitions"] {
            let value = properties.get(property).ok_or_else(|| Refusal::new("", property, "is missing"))?;
            create.insert(property.into(), value.clone());
        }
        for property in ["GlobalSecondaryIndexes", "LocalSecondaryIndexes"] {
            if let Some(indexes) = properties.get(property).and_then(Value::as_array) {
                let indexes = indexes.iter().map(|index| plain_index(property, index));
                create.insert(property.into(), indexes.collect::<Result<_, _>>()?);
            }
        }
        if let Some(stream) = properties.get("StreamSpecification") {
            create.insert("StreamSpecification".into(), plain_stream(stream)?);
        }
        Ok(Self { name, create: Value::Object(create), time_to_live: time_to_live(properties) })
    }

    /// Whether a table that exists already, as DescribeTable tells of it, has the keys and indexes described here.
    pub fn has_keys_of(&self, existing: &Value) -> bool {
        let parts = ["KeySchema", "GlobalSecondaryIndexes", "LocalSecondaryIndexes"];
        parts.iter().all(|part| keys_of(self.create.get(*part)) == keys_of(existing.get(*part)))
            && types_of(&self.create) == types_of(existing)
    }
}

fn plain_index(property: &str, index: &Value) -> Result<Value, Refusal> {
    let mut plain = Map::new();
    for (key, value) in index.as_object().into_iter().flatten() {
        if INDEX_PROPERTIES.contains(&key.as_str()) {
            plain.insert(key.clone(), value.clone());
        } else if !INDEX_ONLY_IN_AWS.contains(&key.as_str()) {
            return Err(Refusal::new(property, key, "cannot be honoured here"));
        }
    }
    Ok(Value::Object(plain))
}

fn plain_stream(stream: &Value) -> Result<Value, Refusal> {
    let only_images = |key: &&String| !["StreamViewType", "ResourcePolicy"].contains(&key.as_str());
    if let Some(stranger) = stream.as_object().and_then(|fields| fields.keys().find(only_images)) {
        return Err(Refusal::new("StreamSpecification", stranger, "cannot be honoured here"));
    }
    Ok(json!({ "StreamEnabled": true, "StreamViewType": stream.get("StreamViewType") }))
}

fn time_to_live(properties: &Value) -> Option<String> {
    let specification = properties.get("TimeToLiveSpecification")?;
    let enabled = specification.get("Enabled").is_some_and(|flag| flag == true || flag == "true");
    enabled.then(|| Some(specification.get("AttributeName")?.as_str()?.to_owned()))?
}

/// The part of a key schema or a list of indexes that a persisted table cannot change: names and keys, in any order.
fn keys_of(value: Option<&Value>) -> Vec<String> {
    let entries = value.and_then(Value::as_array).into_iter().flatten();
    let mut keys: Vec<_> = entries
        .map(|entry| match entry.get("IndexName") {
            Some(name) => format!(
                "{name} {:?} {:?}",
                keys_of(entry.get("KeySchema")),
                entry.pointer("/Projection/ProjectionType")
            ),
            None => format!("{:?} {:?}", entry.get("AttributeName"), entry.get("KeyType")),
        })
        .collect();
    keys.sort();
    keys
}

fn types_of(table: &Value) -> Vec<String> {
    let definitions = table.get("AttributeDefinitions").and_then(Value::as_array).into_iter().flatten();
    let mut types: Vec<_> =
        definitions.map(|entry| format!("{:?} {:?}", entry.get("AttributeName"), entry.get("AttributeType"))).collect();
    types.sort();
    types
}
