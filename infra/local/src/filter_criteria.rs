//! The `FilterCriteria` of an event source, parsed once and evaluated for each record.

use serde_json::{Map, Value};

/// The filters of one event source. A record matches when any filter matches it, or when there are no filters.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct FilterCriteria {
    patterns: Vec<Pattern>,
}

#[derive(Debug, Clone, PartialEq)]
enum Pattern {
    /// All named fields match.
    Fields(Vec<(String, Pattern)>),
    /// One of the alternatives matches (`$or`).
    Either(Vec<Pattern>),
    /// Both match: the fields of an object, and its `$or`.
    Both(Box<Pattern>, Box<Pattern>),
    /// The value matches one of these rules.
    AnyOf(Vec<Rule>),
}

#[derive(Debug, Clone, PartialEq)]
enum Rule {
    Equals(Value),
    EqualsIgnoreCase(String),
    Prefix(String),
    Suffix(String),
    Exists(bool),
    Numeric(Vec<(Comparison, f64)>),
    AnythingBut(Vec<Rule>),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Comparison {
    Less,
    LessOrEqual,
    Equal,
    GreaterOrEqual,
    Greater,
}

impl FilterCriteria {
    /// Parses a resolved `FilterCriteria`.
    ///
    /// # Errors
    /// An operator or a pattern that is not supported, named in the message.
    pub fn parse(criteria: Option<&Value>) -> Result<Self, String> {
        let Some(criteria) = criteria else { return Ok(Self::default()) };
        let filters = criteria.get("Filters").and_then(Value::as_array).ok_or("Filters is missing or not a list")?;
        let patterns = filters.iter().map(|filter| {
            let text = filter.get("Pattern").and_then(Value::as_str).ok_or("a filter has no Pattern")?;
            let pattern: Value =
                serde_json::from_str(text).map_err(|error| format!("a Pattern is not JSON: {error}"))?;
            let fields = pattern.as_object().ok_or("a Pattern is not a JSON object")?;
            Pattern::parse_fields(fields)
        });
        Ok(Self { patterns: patterns.collect::<Result<_, _>>()? })
    }

    /// Whether a record in the format of a Lambda event matches.
    pub fn matches(&self, record: &Value) -> bool {
        self.patterns.is_empty() || self.patterns.iter().any(|pattern| pattern.matches(Some(record)))
    }

    /// Whether an SQS message matches. The body is compared as JSON or as text, depending on the pattern. A message whose body is
    /// of the other kind does not match.
    pub fn matches_message(&self, message: &Value) -> bool {
        self.patterns.is_empty()
            || self.patterns.iter().any(|pattern| pattern.matches(Some(&pattern.with_body_for_pattern(message))))
    }
}

impl Pattern {
    fn parse_fields(fields: &Map<String, Value>) -> Result<Self, String> {
        let plain = fields.iter().filter(|(name, _)| *name != "$or");
        let plain = plain.map(|(name, value)| Ok((name.clone(), Self::parse(name, value)?)));
        let plain = Self::Fields(plain.collect::<Result<_, String>>()?);
        let Some(alternatives) = fields.get("$or") else { return Ok(plain) };
        let alternatives = alternatives.as_array().ok_or("$or must be a list of objects")?.iter();
        let alternatives = alternatives.map(|one| {
            one.as_object().ok_or_else(|| "$or must be a list of objects".to_owned()).and_then(Self::parse_fields)
        });
        Ok(Self::Both(Box::new(plain), Box::new(Self::Either(alternatives.collect::<Result<_, _>>()?))))
    }

    fn parse(name: &str, value: &Value) -> Result<Self, String> {
        match value {
            Value::Object(fields) => Self::parse_fields(fields),
            Value::Array(rules) => rules.iter().map(Rule::parse).collect::<Result<_, _>>().map(Self::AnyOf),
            _ => Err(format!("{name}: the value must be a list or an object")),
        }
    }

    fn matches(&self, value: Option<&Value>) -> bool {
        match self {
            Self::Fields(fields) => {
                fields.iter().all(|(name, pattern)| pattern.matches(value.and_then(|value| value.get(name))))
            }
            Self::Either(alternatives) => alternatives.iter().any(|pattern| pattern.matches(value)),
            Self::Both(one, other) => one.matches(value) && other.matches(value),
            Self::AnyOf(rules) => rules.iter().any(|rule| rule.holds(value)),
        }
    }

    fn with_body_for_pattern(&self, message: &Value) -> Value {
        let mut message = message.clone();
        let body =
            message.get("body").and_then(Value::as_str).and_then(|text| serde_json::from_str::<Value>(text).ok());
        let parsed = body.filter(|body| body.is_object() || body.is_array());
        let replacement = match (self.compares_body_as_text(), parsed) {
            // A pattern for text does not match a JSON body, and a pattern for fields does not match a text body.
            (Some(true), Some(_)) => Some(Value::Null),
            (Some(false), parsed) => Some(parsed.unwrap_or(Value::Null)),
            (Some(true), None) | (None, _) => None,
        };
        if let (Some(replacement), Some(fields)) = (replacement, message.as_object_mut()) {
            fields.insert("body".into(), replacement);
        }
        message
    }

    fn compares_body_as_text(&self) -> Option<bool> {
        match self {
            Self::Fields(fields) => {
                fields.iter().find(|(name, _)| name == "body").map(|(_, pattern)| matches!(pattern, Self::AnyOf(_)))
            }
            Self::Either(alternatives) => alternatives.iter().find_map(Self::compares_body_as_text),
            Self::Both(one, other) => one.compares_body_as_text().or_else(|| other.compares_body_as_text()),
            Self::AnyOf(_) => None,
        }
    }
}

impl Rule {
    fn parse(value: &Value) -> Result<Self, String> {
        let Value::Object(fields) = value else { return Ok(Self::Equals(value.clone())) };
        let mut operators = fields.iter();
        let (Some((operator, argument)), None) = (operators.next(), operators.next()) else {
            return Err("a rule must be an object with exactly one operator".into());
        };
        match (operator.as_str(), argument) {
            ("prefix", Value::String(text)) => Ok(Self::Prefix(text.clone())),
            ("suffix", Value::String(text)) => Ok(Self::Suffix(text.clone())),
            ("equals-ignore-case", Value::String(text)) => Ok(Self::EqualsIgnoreCase(text.to_lowercase())),
            ("exists", Value::Bool(wanted)) => Ok(Self::Exists(*wanted)),
            ("numeric", Value::Array(parts)) => parse_numeric(parts).map(Self::Numeric),
            ("anything-but", Value::Array(items)) => {
                items.iter().map(Self::parse).collect::<Result<_, _>>().map(Self::AnythingBut)
            }
            ("anything-but", one) => Self::parse(one).map(|rule| Self::AnythingBut(vec![rule])),
            (operator, _) => Err(format!("filter operator {operator:?} is not supported by the local cloud")),
        }
    }

    fn holds(&self, value: Option<&Value>) -> bool {
        match (self, value) {
            (Self::Exists(wanted), value) => *wanted == value.is_some(),
            (_, None) => false,
            (rule, Some(Value::Array(items))) => items.iter().any(|item| rule.holds_for(item)),
            (rule, Some(value)) => rule.holds_for(value),
        }
    }

    fn holds_for(&self, value: &Value) -> bool {
        match (self, value) {
            (Self::Equals(Value::Number(expected)), Value::Number(actual)) => expected.as_f64() == actual.as_f64(),
            (Self::Equals(expected), actual) => expected == actual,
            (Self::EqualsIgnoreCase(expected), Value::String(actual)) => *expected == actual.to_lowercase(),
            (Self::Prefix(prefix), Value::String(actual)) => actual.starts_with(prefix),
            (Self::Suffix(suffix), Value::String(actual)) => actual.ends_with(suffix),
            (Self::Numeric(comparisons), Value::Number(actual)) => {
                let actual = actual.as_f64().unwrap_or(f64::NAN);
                comparisons.iter().all(|(comparison, bound)| comparison.holds(actual, *bound))
            }
            (Self::AnythingBut(rules), actual) => !rules.iter().any(|rule| rule.holds_for(actual)),
            (Self::Exists(wanted), _) => *wanted,
            _ => false,
        }
    }
}

impl Comparison {
    fn holds(self, actual: f64, bound: f64) -> bool {
        match self {
            Self::Less => actual < bound,
            Self::LessOrEqual => actual <= bound,
            Self::Equal => actual == bound,
            Self::GreaterOrEqual => actual >= bound,
            Self::Greater => actual > bound,
        }
    }
}

fn parse_numeric(parts: &[Value]) -> Result<Vec<(Comparison, f64)>, String> {
    let pairs = parts.chunks(2).map(|pair| match pair {
        [Value::String(operator), Value::Number(bound)] => {
            let comparison = match operator.as_str() {
                "<" => Comparison::Less,
                "<=" => Comparison::LessOrEqual,
                "=" => Comparison::Equal,
                ">=" => Comparison::GreaterOrEqual,
                ">" => Comparison::Greater,
                other => return Err(format!("numeric comparison {other:?} is not supported by the local cloud")),
            };
            Ok((comparison, bound.as_f64().unwrap_or(f64::NAN)))
        }
        _ => Err("numeric must be a list like [\">\", 1, \"<\", 5]".to_owned()),
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn filter(pattern: Value) -> FilterCriteria {
        FilterCriteria::parse(Some(&json!({ "Filters": [{ "Pattern": pattern.to_string() }] }))).unwrap()
    }

    #[test]
    fn each_operator_matches_only_the_values_it_names() {
        let cases = [
            (
                json!(["a", 1, null, true]),
                vec![json!("a"), json!(1.0), Value::Null, json!(true)],
                vec![json!("b"), json!(2)],
            ),
            (json!([{ "prefix": "ab" }]), vec![json!("abc")], vec![json!("cab"), json!(1)]),
            (json!([{ "suffix": "bc" }]), vec![json!("abc")], vec![json!("bca")]),
            (json!([{ "equals-ignore-case": "AbC" }]), vec![json!("aBc")], vec![json!("ab")]),
            (json!([{ "numeric": [">", 1, "<=", 5] }]), vec![json!(2), json!(5)], vec![json!(1), json!(6), json!("2")]),
            (json!([{ "anything-but": ["a", { "prefix": "x" }] }]), vec![json!("b")], vec![json!("a"), json!("xy")]),
            (json!([{ "exists": true }]), vec![json!("any"), Value::Null], vec![]),
        ];
        for (rule, wanted, unwanted) in cases {
            let filter = filter(json!({ "field": rule }));
            assert!(wanted.iter().all(|value| filter.matches(&json!({ "field": value }))), "{rule}");
            assert!(!unwanted.iter().any(|value| filter.matches(&json!({ "field": value }))), "{rule}");
            assert!(!filter.matches(&json!({ "other": "a" })), "{rule}");
        }
        assert!(filter(json!({ "field": [{ "exists": false }] })).matches(&json!({})));
    }

    #[test]
    fn all_fields_and_one_alternative_must_match() {
        let filter = filter(json!({ "kind": ["x"], "$or": [{ "a": [1] }, { "b": [2] }] }));
        assert!(filter.matches(&json!({ "kind": "x", "b": 2 })));
        assert!(!filter.matches(&json!({ "kind": "y", "b": 2 })));
        assert!(!filter.matches(&json!({ "kind": "x", "b": 1 })));
    }

    #[test]
    fn a_message_body_matches_only_a_pattern_of_its_kind() {
        let fields = filter(json!({ "body": { "kind": ["x"] } }));
        assert!(fields.matches_message(&json!({ "body": "{\"kind\":\"x\"}" })));
        assert!(!fields.matches_message(&json!({ "body": "kind x" })));
        let text = filter(json!({ "body": ["hello"] }));
        assert!(text.matches_message(&json!({ "body": "hello" })));
        assert!(!text.matches_message(&json!({ "body": "{\"kind\":\"x\"}" })));
    }

    #[test]
    fn an_unsupported_operator_is_rejected_by_name() {
        let criteria = json!({ "Filters": [{ "Pattern": "{\"ip\":[{\"cidr\":\"10.0.0.0/8\"}]}" }] });
        assert!(FilterCriteria::parse(Some(&criteria)).unwrap_err().contains("cidr"));
    }
}
