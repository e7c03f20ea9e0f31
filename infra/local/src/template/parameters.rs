//! The template's parameters: what the user gave, else the default, held against what the template allows.

use std::collections::BTreeMap;

use serde_json::Value;

use super::refusal::Refusal;
use super::scope::plain_text;
use super::shape::entries;

/// The value of every declared parameter.
///
/// # Errors
/// A parameter given that is not declared, one without a value, or a value that is not allowed.
pub fn settle(declared: Option<&Value>, given: &BTreeMap<String, String>) -> Result<BTreeMap<String, Value>, Refusal> {
    let names: BTreeMap<&String, &Value> = entries(declared).collect();
    if let Some(stranger) = given.keys().find(|name| !names.contains_key(name)) {
        return Err(Refusal::new(stranger, "", "the template declares no such parameter"));
    }
    names
        .into_iter()
        .map(|(name, declaration)| Ok((name.clone(), settle_one(name, declaration, given.get(name))?)))
        .collect()
}

fn settle_one(name: &str, declaration: &Value, given: Option<&String>) -> Result<Value, Refusal> {
    let default = declaration.get("Default").map(plain_text);
    let Some(text) = given.cloned().or(default) else {
        return Err(Refusal::new(
            name,
            "",
            format!("this parameter has no default: give it with --parameter {name}=..."),
        ));
    };
    check_allowed(name, declaration, &text)?;
    check_bounds(name, declaration, &text)?;
    match declaration.get("Type").and_then(Value::as_str) {
        Some("String" | "Number") => Ok(Value::String(text)),
        Some("CommaDelimitedList" | "List<Number>") => {
            Ok(text.split(',').map(|item| Value::from(item.trim())).collect())
        }
        other => Err(Refusal::new(name, "Type", format!("parameters of type {other:?} cannot be honoured here"))),
    }
}

fn check_allowed(name: &str, declaration: &Value, text: &str) -> Result<(), Refusal> {
    let Some(allowed) = declaration.get("AllowedValues").and_then(Value::as_array) else { return Ok(()) };
    let allowed: Vec<_> = allowed.iter().map(plain_text).collect();
    if allowed.iter().any(|value| value == text) {
        return Ok(());
    }
    Err(Refusal::new(name, "AllowedValues", format!("{text:?} is none of {}", allowed.join(", "))))
}

fn check_bounds(name: &str, declaration: &Value, text: &str) -> Result<(), Refusal> {
    let number = text.parse::<f64>();
    let is_number = declaration.get("Type").and_then(Value::as_str) == Some("Number");
    if is_number && number.is_err() {
        return Err(Refusal::new(name, "Type", format!("{text:?} is not a number")));
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
            return Err(Refusal::new(name, property, format!("{text:?} is outside {bound}")));
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
    fn what_is_given_wins_over_the_default_and_is_held_against_the_declaration() {
        let declared = json!({
            "Level": { "Type": "String", "Default": "info", "AllowedValues": ["info", "debug"] },
            "Days": { "Type": "Number", "Default": 30, "MaxValue": 90 },
            "Origins": { "Type": "CommaDelimitedList", "Default": "a, b" },
        });
        let settled = settle(Some(&declared), &given(&[("Level", "debug")])).unwrap();
        assert_eq!(settled["Level"], "debug");
        assert_eq!(settled["Days"], "30");
        assert_eq!(settled["Origins"], json!(["a", "b"]));

        let refused = [("Level", "loud"), ("Days", "91"), ("Days", "many"), ("Stranger", "x")];
        for (name, value) in refused {
            let refusal = settle(Some(&declared), &given(&[(name, value)])).unwrap_err();
            assert_eq!(refusal.resource, name);
        }
    }

    #[test]
    fn a_parameter_without_a_value_is_named_together_with_the_way_to_give_it() {
        let declared = json!({ "Domain": { "Type": "String" } });
        let refusal = settle(Some(&declared), &BTreeMap::new()).unwrap_err();
        assert!(refusal.to_string().contains("--parameter Domain="), "{refusal}");
    }
}
