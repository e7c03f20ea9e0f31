//! Which records a function wants to see: the `FilterCriteria` of an event source, parsed once and asked per record.

use serde_json::{Map, Value};

/// Filters of one event source. A record is wanted when any of them matches; with no filters, every record is.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Filter {
    patterns: Vec<Pattern>,
}

#[derive(Debug, Clone, PartialEq)]
enum Pattern {
    /// Every named field matches.
    Fields(Vec<(String, Pattern)>),
    /// One of the alternatives matches (`$or`).
    Either(Vec<Pattern>),
    /// Both match: the fields of an object that has a `$or` beside them.
    Both(Box<Pattern>, Box<Pattern>),
    /// The value satisfies one of these rules.
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

impl Filter {
    /// Parses a resolved `FilterCriteria`.
    ///
    /// # Errors
    /// Names the operator or shape that cannot be honoured.
    pub fn parse(criteria: Option<&Value>) -> Result<Self, String> {
        let Some(criteria) = criteria else { return Ok(Self::default()) };
        let filters = criteria.get("Filters").and_then(Value::as_array).ok_or("has no list of Filters")?;
        let patterns = filters.iter().map(|filter| {
            let text = filter.get("Pattern").and_then(Value::as_str).ok_or("a filter has no Pattern")?;
            let pattern: Value =
                serde_json::from_str(text).map_err(|error| format!("a pattern is not JSON: {error}"))?;
            let fields = pattern.as_object().ok_or("a pattern is not an object")?;
            Pattern::parse_fields(fields)
        });
        Ok(Self { patterns: patterns.collect::<Result<_, _>>()? })
    }

    /// Whether `record`, in the shape the function would see it, is wanted.
    pub fn wants(&self, record: &Value) -> bool {
        self.patterns.is_empty() || self.patterns.iter().any(|pattern| pattern.matches(Some(record)))
    }

    /// Whether a message is wanted. Its body is looked into as JSON where a pattern does so, else taken as text; a
    /// message whose body is of the other kind than the pattern's is not wanted.
    pub fn wants_message(&self, message: &Value) -> bool {
        self.patterns.is_empty()
            || self.patterns.iter().any(|pattern| pattern.matches(Some(&pattern.with_body_as_asked(message))))
    }
}

impl Pattern {
    fn parse_fields(fields: &Map<String, Value>) -> Result<Self, String> {
        let plain = fields.iter().filter(|(name, _)| *name != "$or");
        let plain = plain.map(|(name, value)| Ok((name.clone(), Self::parse(name, value)?)));
        let plain = Self::Fields(plain.collect::<Result<_, String>>()?);
        let Some(alternatives) = fields.get("$or") else { return Ok(plain) };
        let alternatives = alternatives.as_array().ok_or("$or is not a list")?.iter();
        let alternatives = alternatives
            .map(|one| one.as_object().ok_or_else(|| "$or holds no objects".to_owned()).and_then(Self::parse_fields));
        Ok(Self::Both(Box::new(plain), Box::new(Self::Either(alternatives.collect::<Result<_, _>>()?))))
    }

    fn parse(name: &str, value: &Value) -> Result<Self, String> {
        match value {
            Value::Object(fields) => Self::parse_fields(fields),
            Value::Array(rules) => rules.iter().map(Rule::parse).collect::<Result<_, _>>().map(Self::AnyOf),
            _ => Err(format!("{name}: a pattern's leaf is a list")),
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

    fn with_body_as_asked(&self, message: &Value) -> Value {
        let mut message = message.clone();
        let body =
            message.get("body").and_then(Value::as_str).and_then(|text| serde_json::from_str::<Value>(text).ok());
        let parsed = body.filter(|body| body.is_object() || body.is_array());
        let replacement = match (self.asks_body_as_text(), parsed) {
            // A pattern over text never sees a JSON body, and one over fields never sees a text one.
            (Some(true), Some(_)) => Some(Value::Null),
            (Some(false), parsed) => Some(parsed.unwrap_or(Value::Null)),
            (Some(true), None) | (None, _) => None,
        };
        if let (Some(replacement), Some(fields)) = (replacement, message.as_object_mut()) {
            fields.insert("body".into(), replacement);
        }
        message
    }

    fn asks_body_as_text(&self) -> Option<bool> {
        match self {
            Self::Fields(fields) => {
                fields.iter().find(|(name, _)| name == "body").map(|(_, pattern)| matches!(pattern, Self::AnyOf(_)))
            }
            Self::Either(alternatives) => alternatives.iter().find_map(Self::asks_body_as_text),
            Self::Both(one, other) => one.asks_body_as_text().or_else(|| other.asks_body_as_text()),
            Self::AnyOf(_) => None,
        }
    }
}

impl Rule {
    fn parse(value: &Value) -> Result<Self, String> {
        let Value::Object(fields) = value else { return Ok(Self::Equals(value.clone())) };
        let mut operators = fields.iter();
        let (Some((operator, argument)), None) = (operators.next(), operators.next()) else {
            return Err("an operator stands alone in its object".into());
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
            (operator, _) => Err(format!("filter operator {operator:?} cannot be honoured here")),
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
                other => return Err(format!("numeric comparison {other:?} cannot be honoured here")),
            };
            Ok((comparison, bound.as_f64().unwrap_or(f64::NAN)))
        }
        _ => Err("numeric is written [\">\", 1, \"<\", 5]".to_owned()),
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn filter(pattern: Value) -> Filter {
        Filter::parse(Some(&json!({ "Filters": [{ "Pattern": pattern.to_string() }] }))).unwrap()
    }

    #[test]
    fn each_operator_lets_through_what_it_names_and_nothing_else() {
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
            assert!(wanted.iter().all(|value| filter.wants(&json!({ "field": value }))), "{rule}");
            assert!(!unwanted.iter().any(|value| filter.wants(&json!({ "field": value }))), "{rule}");
            assert!(!filter.wants(&json!({ "other": "a" })), "{rule}");
        }
        assert!(filter(json!({ "field": [{ "exists": false }] })).wants(&json!({})));
    }

    #[test]
    fn fields_must_all_match_and_alternatives_need_only_one() {
        let filter = filter(json!({ "kind": ["x"], "$or": [{ "a": [1] }, { "b": [2] }] }));
        assert!(filter.wants(&json!({ "kind": "x", "b": 2 })));
        assert!(!filter.wants(&json!({ "kind": "y", "b": 2 })));
        assert!(!filter.wants(&json!({ "kind": "x", "b": 1 })));
    }

    #[test]
    fn a_message_body_is_looked_into_only_by_a_pattern_of_its_own_kind() {
        let fields = filter(json!({ "body": { "kind": ["x"] } }));
        assert!(fields.wants_message(&json!({ "body": "{\"kind\":\"x\"}" })));
        assert!(!fields.wants_message(&json!({ "body": "kind x" })));
        let text = filter(json!({ "body": ["hello"] }));
        assert!(text.wants_message(&json!({ "body": "hello" })));
        assert!(!text.wants_message(&json!({ "body": "{\"kind\":\"x\"}" })));
    }

    #[test]
    fn an_operator_that_is_not_known_is_refused_by_name() {
        let criteria = json!({ "Filters": [{ "Pattern": "{\"ip\":[{\"cidr\":\"10.0.0.0/8\"}]}" }] });
        assert!(Filter::parse(Some(&criteria)).unwrap_err().contains("cidr"));
    }
}
