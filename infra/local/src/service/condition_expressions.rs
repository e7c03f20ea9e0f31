//! A check of condition expressions that DynamoDB makes and the engine does not: an operator may not compare an attribute with
//! itself.

use std::iter::Peekable;
use std::str::Chars;

use serde_json::Value;

use crate::aws_error::AwsError;

/// Request fields that hold a condition.
const CONDITIONS: [&str; 3] = ["ConditionExpression", "FilterExpression", "KeyConditionExpression"];
/// Operators with two operands.
const COMPARATORS: [&str; 6] = ["=", "<>", "<", "<=", ">", ">="];
/// Functions with two operands.
const FUNCTIONS: [&str; 2] = ["begins_with", "contains"];

/// Rejects a call with a condition that compares an attribute with itself.
///
/// # Errors
/// DynamoDB's `ValidationException`.
pub fn check(body: &[u8]) -> Result<(), AwsError> {
    // Most calls have no condition: do not parse them.
    if !body.windows(10).any(|window| window == b"Expression") {
        return Ok(());
    }
    check_request(&serde_json::from_slice(body)?)
}

fn check_request(request: &Value) -> Result<(), AwsError> {
    match request {
        Value::Object(members) => members.iter().try_for_each(|(name, member)| match member {
            Value::String(text) if CONDITIONS.contains(&name.as_str()) => {
                check_condition(name, text, request.get("ExpressionAttributeNames"))
            }
            member => check_request(member),
        }),
        Value::Array(elements) => elements.iter().try_for_each(check_request),
        _ => Ok(()),
    }
}

fn check_condition(kind: &str, text: &str, names: Option<&Value>) -> Result<(), AwsError> {
    let words = words(text);
    let compared = words.windows(3).filter_map(|words| match words {
        [left, by, right] if COMPARATORS.contains(&by.as_str()) => Some((by, left, right)),
        _ => None,
    });
    let called = words.windows(5).filter_map(|words| match words {
        [by, open, left, comma, right] if FUNCTIONS.contains(&by.as_str()) && open == "(" && comma == "," => {
            Some((by, left, right))
        }
        _ => None,
    });
    let is_attribute = |word: &str| word.starts_with(|first: char| first.is_ascii_alphabetic() || "_#".contains(first));
    match compared.chain(called).find(|(_, left, right)| is_attribute(left) && path(left, names) == path(right, names))
    {
        None => Ok(()),
        Some((by, left, _)) => Err(AwsError::new(
            "ValidationException",
            format!(
                "Invalid {kind}: The first operand must be distinct from the remaining operands for this operator or \
                 function; operator: {by}, first operand: [{}]",
                path(left, names).join(", ")
            ),
        )),
    }
}

/// The attribute names of a document path.
fn path<'a>(word: &'a str, names: Option<&'a Value>) -> Vec<&'a str> {
    let named = |part: &'a str| names.and_then(|names| names.get(part)).and_then(Value::as_str).unwrap_or(part);
    word.split('.').map(named).collect()
}

/// Splits an expression into operands, operators and punctuation.
fn words(text: &str) -> Vec<String> {
    let (mut words, mut rest) = (Vec::new(), text.chars().peekable());
    while let Some(first) = rest.next() {
        match first {
            ' ' | '\t' | '\r' | '\n' => {}
            '<' | '>' | '=' => words.push(word(first, &mut rest, |char| "<>=".contains(char))),
            '(' | ')' | ',' => words.push(first.to_string()),
            _ => words.push(word(first, &mut rest, |char| !" \t\r\n<>=(),".contains(char))),
        }
    }
    words
}

fn word(first: char, rest: &mut Peekable<Chars<'_>>, goes_on: impl Fn(char) -> bool) -> String {
    let mut word = first.to_string();
    while let Some(next) = rest.next_if(|next| goes_on(*next)) {
        word.push(next);
    }
    word
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn error(condition: &str) -> Option<String> {
        let names = json!({ "#d": "data", "#a": "a", "#b": "b", "#again": "a" });
        let put = json!({ "ConditionExpression": condition, "ExpressionAttributeNames": names });
        let call = json!({ "TransactItems": [{ "Put": put }] }).to_string();
        check(call.as_bytes()).err().map(|error| error.message)
    }

    #[test]
    fn an_attribute_compared_with_itself_is_rejected_under_any_name() {
        for (condition, by, place) in [
            ("#a = #a", "=", "a"),
            ("a=#again", "=", "a"),
            ("attribute_exists(pk) AND (x = :x OR NOT #d.#a <> data.a)", "<>", "data, a"),
            ("#d.#a <= #d.#again", "<=", "data, a"),
            ("begins_with(#d.#b, #d.#b)", "begins_with", "data, b"),
            ("x = :x AND contains (list[0] , list[0])", "contains", "list[0]"),
        ] {
            let message = error(condition).unwrap_or_else(|| panic!("{condition} is accepted"));
            assert!(
                message.starts_with("Invalid ConditionExpression: The first operand must be distinct"),
                "{message}"
            );
            assert!(message.ends_with(&format!("operator: {by}, first operand: [{place}]")), "{message}");
        }
    }

    #[test]
    fn different_attributes_and_values_are_accepted() {
        for condition in [
            "#a = #b",
            "#d.#a = #a",
            "a = :a AND a <> :b",
            ":a = :a",
            "begins_with(#a, #b) AND contains(#b, #a)",
            "a BETWEEN :a AND :b",
            "size(a) > size(b)",
            "(a > :x) AND (a > :x)",
        ] {
            assert_eq!(error(condition), None, "{condition}");
        }
    }
}
