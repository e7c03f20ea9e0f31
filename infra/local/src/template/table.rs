//! A table of the template, as parameters of `CreateTable`.

use serde_json::{Map, Value, json};

use super::error::TemplateError;

const INDEX_PROPERTIES: &[&str] = &["IndexName", "KeySchema", "Projection"];
const IGNORED_INDEX_PROPERTIES: &[&str] =
    &["ContributorInsightsSpecification", "OnDemandThroughput", "ProvisionedThroughput", "WarmThroughput"];

/// A table's keys, indexes, stream and time to live.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// Physical name.
    pub name: String,
    /// The body of the CreateTable call.
    pub create: Value,
    /// The attribute of the time to live, if it is enabled.
    pub time_to_live: Option<String>,
}

impl Table {
    /// Reads a table's resolved properties.
    ///
    /// # Errors
    /// A property of an index or of the stream is not supported.
    pub fn read(name: String, properties: &Value) -> Result<Self, TemplateError> {
        let mut create = Map::new();
        create.insert("TableName".into(), name.clone().into());
        create.insert("BillingMode".into(), "PAY_PER_REQUEST".into());
        for property in ["KeySchema", "AttributeDefinitions"] {
            let value = properties.get(property).ok_or_else(|| TemplateError::new("", property, "is missing"))?;
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

    /// Whether an existing table, as returned by `DescribeTable`, has the same keys and indexes.
    pub fn has_keys_of(&self, existing: &Value) -> bool {
        let parts = ["KeySchema", "GlobalSecondaryIndexes", "LocalSecondaryIndexes"];
        parts.iter().all(|part| keys_of(self.create.get(*part)) == keys_of(existing.get(*part)))
            && types_of(&self.create) == types_of(existing)
    }
}

fn plain_index(property: &str, index: &Value) -> Result<Value, TemplateError> {
    let mut plain = Map::new();
    for (key, value) in index.as_object().into_iter().flatten() {
        if INDEX_PROPERTIES.contains(&key.as_str()) {
            plain.insert(key.clone(), value.clone());
        } else if !IGNORED_INDEX_PROPERTIES.contains(&key.as_str()) {
            return Err(TemplateError::new(property, key, "is not supported by the local cloud"));
        }
    }
    Ok(Value::Object(plain))
}

fn plain_stream(stream: &Value) -> Result<Value, TemplateError> {
    let only_images = |key: &&String| !["StreamViewType", "ResourcePolicy"].contains(&key.as_str());
    if let Some(unknown) = stream.as_object().and_then(|fields| fields.keys().find(only_images)) {
        return Err(TemplateError::new("StreamSpecification", unknown, "is not supported by the local cloud"));
    }
    Ok(json!({ "StreamEnabled": true, "StreamViewType": stream.get("StreamViewType") }))
}

fn time_to_live(properties: &Value) -> Option<String> {
    let specification = properties.get("TimeToLiveSpecification")?;
    let enabled = specification.get("Enabled").is_some_and(|flag| flag == true || flag == "true");
    enabled.then(|| Some(specification.get("AttributeName")?.as_str()?.to_owned()))?
}

/// The parts of a key schema or of indexes that cannot be changed: names and keys, sorted.
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
