//! An operation as a curl command.

use super::document::{Operation, listed, resolved, text_at};
use serde_json::Value;

/// Builds the curl command with the example body and parameters of the document.
pub fn example(document: &Value, operation: &Operation<'_>) -> String {
    let method = operation.method.to_uppercase();
    let path = operation.path.replace("{collection}", "$COLLECTION").replace("{id}", "$ID");
    let mut line = match method.as_str() {
        "GET" => format!("curl -s \"$API{path}\""),
        _ => format!("curl -s -X {method} \"$API{path}\""),
    };
    if !matches!(operation.text("x-policy"), "anyone") {
        line.push_str(" \\\n  -H \"authorization: Bearer $TOKEN\"");
    }
    for argument in parameters(document, operation).chain(body(document, operation)) {
        line.push_str(" \\\n  ");
        line.push_str(&argument);
    }
    line
}

/// Query parameters that have an example, and the precondition where one is required.
fn parameters(document: &Value, operation: &Operation<'_>) -> impl Iterator<Item = String> {
    let is_required = operation.members.pointer("/responses/428").is_some();
    let shown = listed(document, operation, "parameters").filter_map(move |parameter| {
        let (name, example) = (text_at(parameter, "/name"), parameter.get("example")?);
        let example = example.as_str().map_or_else(|| example.to_string(), str::to_owned);
        match text_at(parameter, "/in") {
            "query" => Some(format!("--data-urlencode {}", quoted(&format!("{name}={example}")))),
            "header" if is_required => Some(format!("-H {}", quoted(&format!("{name}: {example}")))),
            _ => None,
        }
    });
    let shown: Vec<String> = shown.collect();
    let by_query = shown.iter().any(|argument| argument.starts_with("--data")).then(|| "-G".to_owned());
    by_query.into_iter().chain(shown)
}

fn body(document: &Value, operation: &Operation<'_>) -> Vec<String> {
    let content = operation.members.pointer("/requestBody/content").and_then(Value::as_object);
    let Some((media, content)) = content.and_then(|content| content.iter().next_back()) else { return Vec::new() };
    let schema = content.get("schema").map(|schema| resolved(document, schema));
    let sent = match schema.and_then(|schema| schema.pointer("/examples/0")) {
        Some(example) => quoted(&example.to_string()),
        None => "@body.json".to_owned(),
    };
    vec![format!("-H {}", quoted(&format!("content-type: {media}"))), format!("-d {sent}")]
}

/// Quotes a text as one shell word.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quote_is_escaped_for_the_shell() {
        assert_eq!(quoted("auth.id != ''"), r"'auth.id != '\'''\'''");
    }
}
