//! Converts YAML to JSON, with short tags (`!Ref`) in their long form.

use saphyr::{LoadableYamlNode, ScalarOwned, Tag, YamlOwned};
use serde_json::{Map, Number, Value, json};

/// Parses one YAML document. Short tags are expanded: `!Ref X` is `{"Ref": "X"}`, `!GetAtt A.B` is
/// `{"Fn::GetAtt": ["A", "B"]}`, any other `!Name v` is `{"Fn::Name": v}`.
///
/// # Errors
/// The text is not YAML, or cannot be represented in JSON.
pub fn parse(text: &str) -> Result<Value, String> {
    let mut documents = YamlOwned::load_from_str(text).map_err(|error| error.to_string())?;
    match documents.len() {
        1 => to_json(documents.remove(0)),
        found => Err(format!("expected one YAML document, found {found}")),
    }
}

fn to_json(node: YamlOwned) -> Result<Value, String> {
    match node {
        YamlOwned::Value(scalar) => Ok(scalar_to_json(scalar)),
        YamlOwned::Sequence(items) => items.into_iter().map(to_json).collect(),
        YamlOwned::Mapping(entries) => {
            let pairs = entries.into_iter().map(|(key, value)| Ok((key_to_string(key)?, to_json(value)?)));
            pairs.collect::<Result<Map<_, _>, String>>().map(Value::Object)
        }
        YamlOwned::Tagged(tag, inner) => Ok(long_form(&tag, to_json(*inner)?)),
        YamlOwned::Representation(text, _, Some(tag)) => Ok(long_form(&tag, Value::String(text))),
        YamlOwned::Representation(text, _, None) => Ok(Value::String(text)),
        YamlOwned::Alias(_) | YamlOwned::BadValue => Err("aliases and invalid scalars are not supported".into()),
    }
}

fn scalar_to_json(scalar: ScalarOwned) -> Value {
    match scalar {
        ScalarOwned::Null => Value::Null,
        ScalarOwned::Boolean(flag) => Value::Bool(flag),
        ScalarOwned::Integer(number) => Value::Number(number.into()),
        ScalarOwned::FloatingPoint(number) => Number::from_f64(number.into_inner()).map_or(Value::Null, Value::Number),
        ScalarOwned::String(text) => Value::String(text),
    }
}

fn key_to_string(key: YamlOwned) -> Result<String, String> {
    match to_json(key)? {
        Value::String(text) => Ok(text),
        Value::Number(number) => Ok(number.to_string()),
        other => Err(format!("the key {other} is not a string or a number")),
    }
}

fn long_form(tag: &Tag, value: Value) -> Value {
    if tag.is_yaml_core_schema() {
        return value;
    }
    match (tag.suffix.as_str(), value) {
        ("Ref", value) => json!({ "Ref": value }),
        ("Condition", value) => json!({ "Condition": value }),
        ("GetAtt", Value::String(path)) => {
            let (resource, attribute) = path.split_once('.').unwrap_or((&path, ""));
            json!({ "Fn::GetAtt": [resource, attribute] })
        }
        (name, value) => json!({ (format!("Fn::{name}")): value }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_tags_are_expanded_everywhere() {
        let text = "a: !Ref Table\nb: !GetAtt Table.Arn\nc: !Sub '${A}-x'\nd: [!If [C, !Ref X, 1]]\ne: !Condition C\n";
        let expected = json!({
            "a": { "Ref": "Table" },
            "b": { "Fn::GetAtt": ["Table", "Arn"] },
            "c": { "Fn::Sub": "${A}-x" },
            "d": [{ "Fn::If": ["C", { "Ref": "X" }, 1] }],
            "e": { "Condition": "C" },
        });
        assert_eq!(parse(text), Ok(expected));
    }

    #[test]
    fn two_documents_are_rejected() {
        assert!(parse("a: 1\n---\nb: 2\n").is_err());
    }
}
