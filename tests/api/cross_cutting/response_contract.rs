//! Every answer that any test receives must match /openapi.json in status, media type, headers and body.

use crate::world::Answer;
use axum::http::Method;
use jsonschema::Validator;
use serde_json::{Map, Value, json};
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, LazyLock, Mutex};

/// The public document with closed schemas: a member that is not in them is undocumented.
static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    let mut document = undercroft_docs::openapi::document(&[]);
    for schema in document["components"]["schemas"].as_object_mut().unwrap().values_mut() {
        if schema.get("properties").is_some() && schema.get("additionalProperties").is_none() {
            schema["additionalProperties"] = json!(false);
        }
    }
    document
});

/// Validators by the JSON Pointer of their schema, each compiled once.
static VALIDATORS: LazyLock<Mutex<HashMap<String, Arc<Validator>>>> = LazyLock::new(Mutex::default);

/// Refusals before routing: a repeated header, a key on a route that does not take one.
const BEFORE_ROUTING: [u16; 2] = [400, 422];

/// Panics unless the answer matches the document.
pub fn hold(method: &Method, path_and_query: &str, answer: &Answer) {
    hold_every_header(answer);
    let (path, query) = path_and_query.split_once('?').unwrap_or((path_and_query, ""));
    let Some(item) = item(path) else {
        let expected = answer.status == 404 || BEFORE_ROUTING.contains(&answer.status);
        return assert!(expected, "{} is in no route of the document and answered {}", answer.asked, answer.status);
    };
    let name = if *method == Method::HEAD { "get".to_owned() } else { method.as_str().to_lowercase() };
    match item.get(&name) {
        Some(operation) => hold_operation(operation, query, *method == Method::HEAD, answer),
        None => hold_refused(item, answer),
    }
}

/// A response of Lambda has one value for each header, so a second one would be lost. Every answer depends on the origin.
fn hold_every_header(answer: &Answer) {
    let repeated = answer.headers.keys().find(|name| answer.headers.get_all(*name).iter().nth(1).is_some());
    assert_eq!(repeated, None, "{}: a second value is lost", answer.asked);
    let is_refused_by_gateway = answer.status == 404 && answer.text.is_empty();
    let vary = answer.headers.get("vary").map(|vary| vary.to_str().unwrap());
    let varies = vary.is_some_and(|vary| vary.split(", ").any(|name| name == "Origin"));
    assert!(varies || is_refused_by_gateway, "{}: Vary is {vary:?}", answer.asked);
}

fn hold_operation(operation: &Value, query: &str, is_head: bool, answer: &Answer) {
    let responses = &operation["responses"];
    let known: Vec<&String> = responses.as_object().unwrap().keys().collect();
    let response = responses.get(answer.status.to_string());
    let response = response.unwrap_or_else(|| {
        panic!("{} answered {}, and the document says {known:?}: {}", answer.asked, answer.status, answer.text)
    });
    let response = resolved(response);
    hold_headers(&response["headers"], query, answer);
    let sent = answer.headers.get("content-type").map(|value| value.to_str().unwrap().split(';').next().unwrap());
    match (response.get("content"), sent) {
        (None, None) => assert!(answer.text.is_empty(), "{} has a body: {}", answer.asked, answer.text),
        (None, Some(sent)) => panic!("{} has a body of {sent}, and the document says none", answer.asked),
        (Some(content), sent) => {
            let content = content.get(sent.unwrap_or_default());
            let content = content.unwrap_or_else(|| panic!("{} came as {sent:?}", answer.asked));
            if is_head {
                assert!(answer.text.is_empty(), "{}: HEAD has no body", answer.asked);
            } else {
                hold_body(content["schema"]["$ref"].as_str().unwrap(), query, sent.unwrap().ends_with("json"), answer);
            }
        }
    }
}

fn hold_headers(headers: &Value, query: &str, answer: &Answer) {
    // The document cannot state when a cost is withheld. For records it depends on the definition and the caller (`cost.rs`
    // checks the costs), for an address it is always withheld; otherwise it depends only on the status.
    let withheld = ["/records", "/schema", "/v1/batch", "/v1/changes", "/v1/auth/signup", "/v1/auth/verify"];
    let may_be_withheld = withheld.iter().any(|part| answer.asked.contains(part));
    let is_priced = !may_be_withheld && !matches!(answer.status, 401 | 403 | 404);
    for (name, header) in headers.as_object().unwrap() {
        let place = header["$ref"].as_str().unwrap();
        let header = resolved(header);
        let Some(sent) = answer.headers.get(name.to_lowercase()) else {
            let is_record = name == "ETag" && !query.contains("explain=true");
            let is_needed = header["required"] == true || is_record || (is_priced && name == "Undercroft-Cost");
            assert!(!is_needed, "{} ({}) has no {name}", answer.asked, answer.status);
            continue;
        };
        let sent = Value::from(sent.to_str().unwrap());
        let found = validator(&format!("{place}/schema")).validate(&sent).map_err(|error| error.to_string());
        assert_eq!(found, Ok(()), "{}: the header {name}", answer.asked);
    }
}

fn hold_body(schema: &str, query: &str, is_json: bool, answer: &Answer) {
    let text = Value::from(answer.text.as_str());
    let body = if is_json { &answer.body } else { &text };
    // The document cannot state which alternative belongs to which parameters, so this code does.
    let asked = |name: &str| query.split('&').any(|part| part.starts_with(name));
    if let Some(place) = schema.strip_suffix("PatchedRecord") {
        let schema = if asked("explain=true") { "ExplainedPatch" } else { "WrittenRecord" };
        return hold_schema(&format!("{place}{schema}"), body, answer);
    }
    let schema = match schema.strip_suffix("RecordList") {
        Some(place) if asked("explain=true") => format!("{place}Explained"),
        Some(place) if asked("deleted=true") => format!("{place}DeletedPage"),
        Some(place) if asked("fields=") => format!("{place}SelectionPage"),
        Some(place) => format!("{place}RecordPage"),
        None => schema.to_owned(),
    };
    hold_schema(&schema, body, answer);
}

fn hold_schema(schema: &str, body: &Value, answer: &Answer) {
    let validator = validator(schema);
    let errors: Vec<String> =
        validator.iter_errors(body).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(errors.is_empty(), "{} ({}): not as {schema} says: {errors:?}", answer.asked, answer.status);
}

/// A method that this path does not allow.
fn hold_refused(item: &Map<String, Value>, answer: &Answer) {
    let is_preflight = answer.asked.starts_with("OPTIONS ") && answer.status == 204;
    let nothing_built =
        item.values().all(|operation| operation["responses"].get("501").is_some() && !is_built(operation));
    if is_preflight || BEFORE_ROUTING.contains(&answer.status) || (nothing_built && answer.status == 501) {
        return;
    }
    assert_eq!(answer.status, 405, "{} is no operation of the document: {}", answer.asked, answer.text);
    let mut methods: BTreeSet<String> = item.keys().map(|method| method.to_uppercase()).collect();
    if methods.contains("GET") {
        methods.insert("HEAD".into());
    }
    let allowed: BTreeSet<String> = answer.header("allow").split(',').map(|method| method.trim().to_owned()).collect();
    assert_eq!(allowed, methods, "{}: left: Allow; right: the document's", answer.asked);
}

/// Whether an operation has a successful answer.
pub fn is_built(operation: &Value) -> bool {
    operation["responses"].as_object().unwrap().keys().any(|status| status.starts_with('2'))
}

/// The path item of the document for a path; the most specific one.
fn item(path: &str) -> Option<&'static Map<String, Value>> {
    let sent: Vec<&str> = path.split('/').collect();
    let matches = |route: &str| {
        let parts: Vec<&str> = route.split('/').collect();
        let fits = |(part, sent): (&&str, &&str)| part == sent || (part.starts_with('{') && !sent.is_empty());
        parts.len() == sent.len() && parts.iter().zip(&sent).all(fits)
    };
    let paths = DOCUMENT["paths"].as_object().unwrap().iter().filter(|(route, _)| matches(route));
    paths.min_by_key(|(route, _)| route.matches('{').count()).map(|(_, item)| item.as_object().unwrap())
}

fn resolved(value: &Value) -> &Value {
    match value.get("$ref") {
        Some(reference) => DOCUMENT.pointer(reference.as_str().unwrap().strip_prefix('#').unwrap()).unwrap(),
        None => value,
    }
}

fn validator(place: &str) -> Arc<Validator> {
    let mut validators = VALIDATORS.lock().unwrap();
    validators.entry(place.to_owned()).or_insert_with(|| Arc::new(compiled(&DOCUMENT, place))).clone()
}

/// The validator of a schema somewhere in a document, formats asserted.
pub fn compiled(document: &Value, place: &str) -> Validator {
    let schema = json!({ "$ref": place, "components": document["components"] });
    jsonschema::options().should_validate_formats(true).offline().build(&schema).unwrap()
}

/// A valid answer, for tests that change it.
fn good() -> Answer {
    let body = json!({ "redriven": 0, "more": false });
    let mut headers = axum::http::HeaderMap::new();
    headers.insert("content-type", "application/json".parse().unwrap());
    headers.insert("x-request-id", "r".parse().unwrap());
    headers.insert("undercroft-cost", "rru=0.5; wru=0; trips=1; scanned=0".parse().unwrap());
    headers.insert("vary", "Origin".parse().unwrap());
    Answer { asked: "POST /v1/jobs/redrive".into(), status: 200, headers, text: body.to_string(), body }
}

#[test]
fn an_answer_that_the_document_does_not_name_fails_its_test() {
    let fails = |path: &'static str, method: Method, spoil: fn(&mut Answer)| {
        let mut answer = good();
        spoil(&mut answer);
        std::panic::catch_unwind(move || hold(&method, path, &answer)).is_err()
    };
    let redrive = "/v1/jobs/redrive";
    assert!(!fails(redrive, Method::POST, |_| ()));
    assert!(fails(redrive, Method::POST, |answer| answer.status = 201), "a status");
    assert!(fails(redrive, Method::POST, |answer| answer.body["extra"] = json!(1)), "a member");
    assert!(fails(redrive, Method::POST, |answer| answer.body["more"] = json!("no")), "a type");
    assert!(fails(redrive, Method::POST, |answer| answer.body = json!({ "redriven": 0 })), "a missing member");
    assert!(fails(redrive, Method::POST, |answer| drop(answer.headers.remove("undercroft-cost"))), "a missing header");
    let cost = |answer: &mut Answer| drop(answer.headers.insert("undercroft-cost", "free".parse().unwrap()));
    assert!(fails(redrive, Method::POST, cost), "a header's form");
    let media = |answer: &mut Answer| drop(answer.headers.insert("content-type", "text/html".parse().unwrap()));
    assert!(fails(redrive, Method::POST, media), "a media type");
    assert!(fails("/v1/nothing", Method::GET, |_| ()), "a path");
    assert!(fails(redrive, Method::PUT, |_| ()), "a method");
    let refused = |answer: &mut Answer| {
        answer.status = 405;
        answer.headers.insert("allow", "POST".parse().unwrap());
    };
    assert!(!fails(redrive, Method::PUT, refused));
    let too_much = |answer: &mut Answer| {
        answer.status = 405;
        answer.headers.insert("allow", "POST,PUT".parse().unwrap());
    };
    assert!(fails(redrive, Method::PUT, too_much), "what Allow lists");
}
