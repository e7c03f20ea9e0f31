//! The template's parameters: given values and defaults, checked against their declarations.

use std::collections::BTreeMap;

use serde_json::Value;

use super::error::TemplateError;
use super::scope::plain_text;
use super::supported::entries;

/// The value of every declared parameter.
///
/// # Errors
/// A given parameter is not declared, a parameter has no value, or a value is not allowed.
pub fn resolve(
    declared: Option<&Value>,
    given: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, Value>, TemplateError> {
    let names: BTreeMap<&String, &Value> = entries(declared).collect();
    if let Some(unknown) = given.keys().find(|name| !names.contains_key(name)) {
        return Err(TemplateError::new(unknown, "", "template.yaml does not declare this parameter"));
    }
    names
        .into_iter()
        .map(|(name, declaration)| Ok((name.clone(), resolve_one(name, declaration, given.get(name))?)))
        .collect()
}

fn resolve_one(name: &str, declaration: &Value, given: Option<&String>) -> Result<Value, TemplateError> {
    let default = declaration.get("Default").map(plain_text);
    let Some(text) = given.cloned().or(default) else {
        return Err(TemplateError::new(
            name,
            "",
            format!("this parameter has no default: set it with --parameter {name}=..."),
        ));
    };
    check_allowed(name, declaration, &text)?;
    check_bounds(name, declaration, &text)?;
    match declaration.get("Type").and_then(Value::as_str) {
        Some("String" | "Number") => Ok(Value::String(text)),
        Some("CommaDelimitedList" | "List<Number>") => {
            Ok(text.split(',').map(|item| Value::from(item.trim())).collect())
        }
        other => {
            Err(TemplateError::new(name, "Type", format!("the type {other:?} is not supported by the local cloud")))
        }
    }
}

fn check_allowed(name: &str, declaration: &Value, text: &str) -> Result<(), TemplateError> {
    let Some(allowed) = declaration.get("AllowedValues").and_then(Value::as_array) else { return Ok(()) };
    let allowed: Vec<_> = allowed.iter().map(plain_text).collect();
    if allowed.iter().any(|value| value == text) {
        return Ok(());
    }
    Err(TemplateError::new(name, "AllowedValues", format!("{text:?} is not one of {}", allowed.join(", "))))
}

fn check_bounds(name: &str, declaration: &Value, text: &str) -> Result<(), TemplateError> {
    let number = text.parse::<f64>();
    let is_number = declaration.get("Type").and_then(Value::as_str) == Some("Number");
    if is_number && number.is_err() {
        return Err(TemplateError::new(name, "Type", format!("{text:?} is not a number")));
    }
    let length = text.chars().count() as f64;
    let bounds = [
        ("MinLength", length, false),
        ("MaxLength", length, true),
        ("MinValue", number.clone().unwrap_or_default(), false),
        ("MaxValue", number.unwrap_or_default(), true),
    ];
    for (property, actual, is_upper) in bounds {
        let Some(bound) = declaration.get(property).and_then(|bound| plain_text(bound).parse::<f64>().ok()) else {
            continue;
        };
        if (is_upper && actual > bound) || (!is_upper && actual < bound) {
            return Err(TemplateError::new(name, property, format!("{text:?} is out of bounds: the limit is {bound}")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn given(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_given_value_overrides_the_default_and_is_checked() {
        let declared = json!({
            "Level": { "Type": "String", "Default": "info", "AllowedValues": ["info", "debug"] },
            "Days": { "Type": "Number", "Default": 30, "MaxValue": 90 },
            "Origins": { "Type": "CommaDelimitedList", "Default": "a, b" },
        });
        let resolved = resolve(Some(&declared), &given(&[("Level", "debug")])).unwrap();
        assert_eq!(resolved["Level"], "debug");
        assert_eq!(resolved["Days"], "30");
        assert_eq!(resolved["Origins"], json!(["a", "b"]));

        let invalid = [("Level", "loud"), ("Days", "91"), ("Days", "many"), ("Unknown", "x")];
        for (name, value) in invalid {
            let error = resolve(Some(&declared), &given(&[(name, value)])).unwrap_err();
            assert_eq!(error.resource, name);
        }
    }

    #[test]
    fn the_error_for_a_missing_value_says_how_to_set_it() {
        let declared = json!({ "Domain": { "Type": "String" } });
        let error = resolve(Some(&declared), &BTreeMap::new()).unwrap_err();
        assert!(error.to_string().contains("--parameter Domain="), "{error}");
    }
}
