//! What DynamoDB refuses of a condition and the engine takes: a comparison or a function of one place and the same place.

use std::iter::Peekable;
use std::str::Chars;

use serde_json::Value;

use super::Fault;

/// The members of requests whose text is a condition.
const CONDITIONS: [&str; 3] = ["ConditionExpression", "FilterExpression", "KeyConditionExpression"];
/// What takes two operands.
const COMPARATORS: [&str; 6] = ["=", "<>", "<", "<=", ">", ">="];
/// And what takes them in parentheses.
const FUNCTIONS: [&str; 2] = ["begins_with", "contains"];

/// Refuses a call one of whose conditions holds a place against itself.
///
/// # Errors
/// DynamoDB's `ValidationException`, in its own words.
pub fn check(body: &[u8]) -> Result<(), Fault> {
    // Most calls have no condition, and some are large.
    if !body.windows(10).any(|window| window == b"Expression") {
        return Ok(());
    }
    check_request(&serde_json::from_slice(body)?)
}

fn check_request(request: &Value) -> Result<(), Fault> {
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

fn check_condition(kind: &str, text: &str, names: Option<&Value>) -> Result<(), Fault> {
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
    let is_place = |word: &str| word.starts_with(|first: char| first.is_ascii_alphabetic() || "_#".contains(first));
    match compared.chain(called).find(|(_, left, right)| is_place(left) && path(left, names) == path(right, names)) {
        None => Ok(()),
        Some((by, left, _)) => Err(Fault::new(
            "ValidationException",
            format!(
                "Invalid {kind}: The first operand must be distinct from the remaining operands for this operator or \
                 function; operator: {by}, first operand: [{}]",
                path(left, names).join(", ")
            ),
        )),
    }
}

/// The attributes that a path names.
fn path<'a>(word: &'a str, names: Option<&'a Value>) -> Vec<&'a str> {
    let named = |part: &'a str| names.and_then(|names| names.get(part)).and_then(Value::as_str).unwrap_or(part);
    word.split('.').map(named).collect()
}

/// The text cut into operands, operators and punctuation.
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

    fn refusal(condition: &str) -> Option<String> {
        let names = json!({ "#d": "data", "#a": "a", "#b": "b", "#again": "a" });
        let put = json!({ "ConditionExpression": condition, "ExpressionAttributeNames": names });
        let call = json!({ "TransactItems": [{ "Put": put }] }).to_string();
        check(call.as_bytes()).err().map(|fault| fault.message)
    }

    #[test]
    fn a_place_held_against_itself_is_refused_under_whatever_name() {
        for (condition, by, place) in [
            ("#a = #a", "=", "a"),
            ("a=#again", "=", "a"),
            ("attribute_exists(pk) AND (x = :x OR NOT #d.#a <> data.a)", "<>", "data, a"),
            ("#d.#a <= #d.#again", "<=", "data, a"),
            ("begins_with(#d.#b, #d.#b)", "begins_with", "data, b"),
            ("x = :x AND contains (list[0] , list[0])", "contains", "list[0]"),
        ] {
            let message = refusal(condition).unwrap_or_else(|| panic!("{condition} is taken"));
            assert!(
                message.starts_with("Invalid ConditionExpression: The first operand must be distinct"),
                "{message}"
            );
            assert!(message.ends_with(&format!("operator: {by}, first operand: [{place}]")), "{message}");
        }
    }

    #[test]
    fn two_places_and_values_are_taken() {
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
            assert_eq!(refusal(condition), None, "{condition}");
        }
    }
}
