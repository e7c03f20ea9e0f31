//! The document as an HTML page: no script and no external resource.

mod curl;
mod document;
mod text;

use document::{Operation, listed, resolved, text_at};
use serde_json::Value;
use text::{escaped, prose};
use undercroft::id;

const STYLE: &str = include_str!("style.css");

/// Sections of the functions, in this order, before those of the collections.
const FIRST: [&str; 4] = ["auth", "collections", "records", "jobs"];

/// The Content-Security-Policy: only the page's own style, by its hash.
pub fn content_security_policy() -> String {
    // CSP writes hashes in plain base64; 32 bytes always end in one `=`.
    let hash = id::sha256(STYLE.as_bytes()).replace('-', "+").replace('_', "/");
    format!(
        "default-src 'none'; style-src 'sha256-{hash}='; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
}

/// The page.
pub fn page(document: &Value) -> String {
    let about = text_at(document, "/info/description");
    let operations = operations(document);
    let mut tags: Vec<&str> = operations.iter().map(Operation::tag).collect();
    tags.dedup();
    let contents: String = tags.iter().map(|tag| contents(tag, &operations)).collect();
    let sections: String = tags.iter().map(|tag| section(document, tag, &operations)).collect();
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>Undercroft: the API</title>\
         <style>{STYLE}</style></head>\n<body>\n<header><h1>Undercroft</h1><p>{}</p>\
         <p>For programs: <a href=\"/openapi.json\">/openapi.json</a>. The examples read <code>API</code> and, where used, \
         <code>TOKEN</code>, <code>COLLECTION</code> and <code>ID</code> from the environment. Admins also see the collections: \
         <code>curl -H \"authorization: Bearer $TOKEN\" $API/docs</code>.</p></header>\n\
         <nav>{contents}</nav>\n<main>\n{sections}{}</main>\n</body>\n</html>\n",
        prose(about),
        schemas(document),
    )
}

fn operations(document: &Value) -> Vec<Operation<'_>> {
    let paths = document.get("paths").and_then(Value::as_object).into_iter().flatten();
    let mut all: Vec<Operation<'_>> = paths
        .flat_map(|(path, item)| {
            item.as_object().into_iter().flatten().map(move |(method, members)| (path, method, members))
        })
        .map(|(path, method, members)| Operation { path, method, members })
        .collect();
    let place = |operation: &Operation<'_>| FIRST.iter().position(|tag| *tag == operation.tag()).unwrap_or(FIRST.len());
    all.sort_by(|a, b| (place(a), a.tag(), a.path).cmp(&(place(b), b.tag(), b.path)));
    all
}

fn contents(tag: &str, operations: &[Operation<'_>]) -> String {
    let links: String = operations
        .iter()
        .filter(|operation| operation.tag() == tag)
        .map(|operation| {
            let (id, method) = (operation.text("operationId"), operation.method.to_uppercase());
            format!("<li><a href=\"#{}\">{method} {}</a></li>", escaped(id), escaped(operation.path))
        })
        .collect();
    format!("<details><summary>{}</summary><ul>{links}</ul></details>", escaped(tag))
}

fn section(document: &Value, tag: &str, operations: &[Operation<'_>]) -> String {
    let own = operations.iter().filter(|operation| operation.tag() == tag);
    let articles: String = own.map(|operation| article(document, operation)).collect();
    format!("<section><h2>{}</h2>\n{articles}</section>\n", escaped(tag))
}

fn article(document: &Value, operation: &Operation<'_>) -> String {
    format!(
        "<article id=\"{}\"><h3><b>{}</b> {}</h3><p>{} {}</p><p>Who: {}.{}</p>{}{}{}<pre>{}</pre></article>\n",
        escaped(operation.text("operationId")),
        operation.method.to_uppercase(),
        escaped(operation.path),
        prose(operation.text("summary")),
        prose(operation.text("description")),
        who(operation.text("x-policy")),
        rules(operation),
        parameters(document, operation),
        body(operation),
        answers(document, operation),
        escaped(&curl::example(document, operation)),
    )
}

fn who(policy: &str) -> String {
    match policy.strip_prefix("rule:") {
        Some(rules) => format!("callers whom the rule <code>{}</code> allows", escaped(&rules.replace(',', " or "))),
        None => match policy {
            "admin" => "admins".to_owned(),
            "signed-in" => "signed-in users".to_owned(),
            "each-operation" => "callers whom the rules allow each operation".to_owned(),
            "session" => "callers with a token of the session".to_owned(),
            _ => "everybody".to_owned(),
        },
    }
}

fn rules(operation: &Operation<'_>) -> String {
    let rules = operation.members.get("x-rules").and_then(Value::as_object).into_iter().flatten();
    rules.map(|(name, rule)| format!(" {name}: <code>{}</code>.", escaped(rule.as_str().unwrap_or_default()))).collect()
}

fn parameters(document: &Value, operation: &Operation<'_>) -> String {
    let rows: String = listed(document, operation, "parameters")
        .map(|parameter| {
            let text = |pointer| escaped(text_at(parameter, pointer));
            let (name, place, means) = (text("/name"), text("/in"), prose(text_at(parameter, "/description")));
            let must = parameter.get("required").and_then(Value::as_bool).unwrap_or(false);
            let must = if must { ", required" } else { "" };
            format!("<tr><td><code>{name}</code></td><td>{place}{must}</td><td>{means}</td></tr>")
        })
        .collect();
    if rows.is_empty() { String::new() } else { format!("<table>{rows}</table>") }
}

fn body(operation: &Operation<'_>) -> String {
    let content = operation.members.pointer("/requestBody/content").and_then(Value::as_object);
    let kinds: Vec<String> = content
        .into_iter()
        .flatten()
        .map(|(media, content)| format!("<code>{}</code> {}", escaped(media), schema_link(content)))
        .collect();
    if kinds.is_empty() { String::new() } else { format!("<p>Body: {}</p>", kinds.join(" or ")) }
}

fn answers(document: &Value, operation: &Operation<'_>) -> String {
    let answers = operation.members.get("responses").and_then(Value::as_object).into_iter().flatten();
    let rows: String = answers
        .map(|(status, answer)| {
            let whole = resolved(document, answer);
            let own = answer.get("description").or_else(|| whole.get("description"));
            let means = prose(own.and_then(Value::as_str).unwrap_or_default());
            let content = whole.get("content").and_then(Value::as_object).and_then(|content| content.values().next());
            let link = content.map(schema_link).unwrap_or_default();
            format!("<tr><td>{status}</td><td>{means}</td><td>{link}</td></tr>")
        })
        .collect();
    format!("<table>{rows}</table>")
}

fn schemas(document: &Value) -> String {
    let all = document.pointer("/components/schemas").and_then(Value::as_object).into_iter().flatten();
    let shown: String = all
        .map(|(name, schema)| {
            let text = serde_json::to_string_pretty(schema).unwrap_or_default();
            format!("<details id=\"schema-{name}\"><summary>{name}</summary><pre>{}</pre></details>\n", escaped(&text))
        })
        .collect();
    format!("<section><h2>Schemas</h2>\n{shown}</section>\n")
}

fn schema_link(content: &Value) -> String {
    let name = text_at(content, "/schema/$ref").rsplit('/').next().unwrap_or_default();
    format!("<a href=\"#schema-{0}\">{0}</a>", escaped(name))
}
