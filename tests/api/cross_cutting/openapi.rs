//! The OpenAPI document compared with routers, template, policies and error codes.

use crate::cross_cutting::response_contract::{compiled, is_built};
use crate::cross_cutting::routes::{ROUTES, knock};
use crate::world::{Caller, World, tasks};
use axum::http::Method;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;
use undercroft::routes::{Policy, Route, all as routes};
use undercroft::schema::Definition;
use undercroft_docs::openapi::document;

const TASKS: &str = "/v1/collections/tasks/records";

/// A collection with every schema feature.
pub fn rich() -> Value {
    json!({
        "name": "rich",
        "schema": { "type": "object", "required": ["name", "secret"], "additionalProperties": false,
            "$defs": { "odd+name": { "type": "boolean" }, "place": { "type": "object", "properties": { "city": { "type": "string" }, "near": { "$ref": "#/$defs/place" } } } },
            "properties": {
                "name": { "type": "string", "description": "<script>alert('name')</script>", "writeOnce": true },
                "place": { "$ref": "#/$defs/place" },
                "odd": { "$ref": "#/$defs/odd+name" },
                "home": { "$ref": "#/$defs/place/properties/city" },
                "places": { "type": "array", "items": { "$ref": "#/$defs/place" } },
                "checked": { "type": "boolean", "readOnly": true },
                "secret": { "type": "string", "hidden": true },
                "at": { "type": "string", "format": "date-time" } } },
        "rules": { "read": "true", "create": "auth.id != ''", "update": "auth.id != ''", "delete": "auth.id != ''" }
    })
}

fn parsed(body: Value) -> Definition {
    Definition::parse(body["name"].as_str().unwrap().to_owned().as_str(), body, None).unwrap()
}

fn whole() -> Value {
    document(&[parsed(tasks()), parsed(rich()), Definition::users()])
}

/// Every operation with its method and path.
pub fn operations(document: &Value) -> Vec<(String, String, &Value)> {
    let paths = document["paths"].as_object().unwrap().iter();
    let each = paths.flat_map(|(path, item)| {
        item.as_object()
            .unwrap()
            .iter()
            .map(move |(method, operation)| (method.to_uppercase(), path.clone(), operation))
    });
    each.collect()
}

/// Every `$ref` in a value.
fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            if let Some(Value::String(reference)) = members.get("$ref") {
                found.insert(reference.clone());
            }
            members.values().for_each(|member| references(member, found));
        }
        Value::Array(elements) => elements.iter().for_each(|element| references(element, found)),
        _ => {}
    }
}

#[test]
fn every_reference_resolves_and_every_component_is_used() {
    for document in [document(&[]), whole()] {
        let mut found = BTreeSet::new();
        references(&document, &mut found);
        for reference in &found {
            let target = reference.strip_prefix('#').and_then(|path| document.pointer(path));
            assert!(target.is_some(), "{reference} leads nowhere");
        }
        for kind in ["schemas", "parameters", "headers", "responses"] {
            for name in document["components"][kind].as_object().unwrap().keys() {
                let place = format!("#/components/{kind}/{name}");
                assert!(found.contains(&place), "nothing refers to {place}");
                assert!(!name.contains('.'), "generators make modules from the dot in {name}");
                compiled(&document, &if kind == "schemas" { place } else { "#/components/schemas/Problem".into() });
            }
        }
    }
}

#[test]
fn every_operation_has_one_name_and_declares_what_its_path_takes() {
    let document = whole();
    let mut names = BTreeSet::new();
    for (method, path, operation) in operations(&document) {
        let name = operation["operationId"].as_str().unwrap();
        assert!(names.insert(name), "two operations are called {name}");
        let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
        let declared: Vec<&Value> = parameters
            .iter()
            .map(|parameter| document.pointer(&parameter["$ref"].as_str().unwrap()[1..]).unwrap())
            .collect();
        let in_path: BTreeSet<&str> = declared
            .iter()
            .filter(|parameter| parameter["in"] == "path" && parameter["required"] == true)
            .map(|parameter| parameter["name"].as_str().unwrap())
            .collect();
        let taken: BTreeSet<&str> = path.split(['{', '}']).skip(1).step_by(2).collect();
        assert_eq!(in_path, taken, "{method} {path}");
        let mut places: Vec<String> =
            declared.iter().map(|parameter| format!("{} {}", parameter["in"], parameter["name"])).collect();
        let all = places.len();
        places.sort();
        places.dedup();
        assert_eq!(places.len(), all, "{method} {path} declares a parameter twice");
        for member in ["summary", "x-policy", "security"] {
            assert!(!operation[member].is_null() && operation[member] != "", "{method} {path} has no {member}");
        }
    }
}

#[test]
fn schemas_of_collections_with_similar_names_do_not_collide() {
    let names = ["notes", "notes_deleted", "notes_page", "notes_deleted_page", "notes_deletions", "record", "deleted"];
    let named = |name: &&str| {
        let schema = json!({ "type": "object", "properties": { *name: { "type": "string" } } });
        parsed(json!({ "name": name, "schema": schema }))
    };
    let schemas =
        |collections: &[Definition]| document(collections)["components"]["schemas"].as_object().unwrap().len();
    let (all, none): (Vec<Definition>, usize) = (names.iter().map(named).collect(), schemas(&[]));
    let alone: usize = all.iter().map(|one| schemas(std::slice::from_ref(one)) - none).sum();
    assert_eq!(schemas(&all) - none, alone);
}

#[test]
fn every_example_is_valid_by_its_schema() {
    let document = document(&[]);
    let mut seen = 0;
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        for example in schema["examples"].as_array().into_iter().flatten() {
            let validator = compiled(&document, &format!("#/components/schemas/{name}"));
            assert_eq!(validator.validate(example).map_err(|error| error.to_string()), Ok(()), "{name}");
            seen += 1;
        }
    }
    let bodies = routes().into_iter().flat_map(|(_, routes)| routes).filter_map(|route| route.body);
    for body in bodies {
        assert!(
            !document["components"]["schemas"][body.schema]["examples"].is_null(),
            "{} has no example",
            body.schema
        );
    }
    assert!(seen > 5);
    Definition::parse("notes", document["components"]["schemas"]["DefinitionInput"]["examples"][0].clone(), None)
        .unwrap();
}

/// The function of a path in the template.
fn serving(world: &World, path: &str) -> String {
    let fits = |route: &str| {
        let (fixed, rest) = route.split_once("{proxy+}").map_or((route, false), |(fixed, _)| (fixed, true));
        let (fixed, path): (Vec<&str>, Vec<&str>) =
            (fixed.trim_end_matches('/').split('/').collect(), path.split('/').collect());
        let same = |(a, b): (&&str, &&str)| a == b || (a.starts_with('{') && b.starts_with('{'));
        (if rest { path.len() > fixed.len() } else { path.len() == fixed.len() }) && fixed.iter().zip(&path).all(same)
    };
    let found: BTreeSet<String> = world
        .cloud
        .functions()
        .iter()
        .filter(|function| function.routes().any(|route| fits(&route.path)))
        .map(|function| function.binary.clone())
        .collect();
    assert_eq!(found.len(), 1, "{path} is served by {found:?}");
    found.into_iter().next().unwrap()
}

#[tokio::test]
async fn the_document_the_routers_and_the_template_have_the_same_routes() {
    let world = World::new().await;
    let document = document(&[]);
    let reported: BTreeSet<(String, String)> =
        operations(&document).into_iter().map(|(method, path, _)| (method, path)).collect();
    let table: BTreeSet<(String, String)> =
        ROUTES.iter().map(|(method, path, _)| (method.to_string(), path.to_string())).collect();
    let difference: Vec<_> = reported.symmetric_difference(&table).collect();
    assert!(difference.is_empty(), "in the document or in the table ROUTES, but not in both: {difference:?}");
    for (_, path, operation) in operations(&document) {
        assert_eq!(
            operation["tags"],
            json!([serving(&world, &path)]),
            "{path}: left: the document; right: template.yaml"
        );
    }
    // Conversely, every deployed path is in the document.
    for route in world.cloud.functions().iter().flat_map(|function| function.routes()) {
        let prefix = route.path.strip_suffix("{proxy+}");
        let is_named = |path: &String| prefix.map_or(*path == route.path, |prefix| path.starts_with(prefix));
        assert!(
            reported.iter().any(|(_, path)| is_named(path)),
            "{} of template.yaml is not in the document",
            route.path
        );
    }
}

#[tokio::test]
async fn every_path_takes_the_methods_the_document_names_and_no_others() {
    let world = World::new().await;
    let admin = world.admin().await;
    admin.put("/v1/collections/tasks", tasks()).await.expect(201);
    let document = document(&[]);
    let mut refused = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        let knocked = path.replace("{collection}", "tasks").replace("{id}", "017f22e2-79b0-7cc3-98c4-dc0c0c07398f");
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"] {
            let answer = knock(&admin, method, &knocked).await;
            let reported = item.get(method.to_lowercase()).is_some();
            let wall = answer.status == 405
                || answer.body["detail"].as_str().unwrap_or_default().contains("This route does not exist");
            // The contract holds every 405's Allow to the document.
            assert!(!(reported && wall), "{}: {}", answer.asked, answer.text);
            let built = item.as_object().unwrap().values().any(is_built);
            assert!(
                reported || !built || answer.status == 405,
                "{} is not in the document: {}",
                answer.asked,
                answer.text
            );
            refused += usize::from(answer.status == 405);
        }
    }
    assert!(refused > 50, "{refused}");
    // A collection was deleted: its purge waits until the deletion is in force.
    world.settle().await;
    world.advance(Duration::from_secs(60));
    world.settle().await;
}

/// The status for callers without the right: stranger, user.
fn turned_away(policy: Policy) -> [Option<&'static [u16]>; 2] {
    match policy {
        Policy::Anyone | Policy::AnyoneByToken | Policy::EachOperation => [None, None],
        Policy::Session | Policy::SignedIn => [Some(&[401]), None],
        Policy::Admin => [Some(&[401]), Some(&[403])],
        Policy::Rules(_) => [Some(&[401]), Some(&[404])],
    }
}

#[tokio::test]
async fn every_operation_refuses_callers_its_policy_does_not_name() {
    let world = World::new().await;
    let admin = world.admin().await;
    let mut closed = tasks();
    closed["rules"] = json!({});
    admin.put("/v1/collections/tasks", closed).await.expect(201);
    let id = admin.post(TASKS, json!({ "title": "t" })).await.expect(201).body["id"].as_str().unwrap().to_owned();
    let (stranger, user, leaver) = (world.stranger(), world.user("user").await, world.user("leaver").await);
    for (function, routes) in routes() {
        for route in routes.iter().filter(|route| route.is_built()) {
            let path = of_tasks(route, &id);
            // A caller that ends its session needs a new one.
            let user = if route.policy == Policy::Session { &leaver } else { &user };
            for (caller, refusals) in [&stranger, user].into_iter().zip(turned_away(route.policy)) {
                let answer = bare(caller, route.method, &path).await;
                let asked = format!("{function}: {} as {}: {}", answer.asked, caller.user["email"], answer.text);
                match refusals {
                    Some(refusals) => assert!(refusals.contains(&answer.status), "{asked}"),
                    None => assert!(!matches!(answer.status, 401 | 403 | 404), "{asked}"),
                }
            }
        }
    }
    world.settle().await;
}

/// A route's path for the tasks, with required query parameters.
fn of_tasks(route: &Route, id: &str) -> String {
    let path = route.path.replace("{collection}", "tasks").replace("{id}", id);
    let has = |parameter| route.parameters.contains(&parameter);
    match (has("CollectionAsked"), has("UniqueFields")) {
        (true, _) => format!("{path}?collection=tasks"),
        (_, true) => format!("{path}?unique=slug"),
        _ => path,
    }
}

/// A well-formed request.
async fn bare(caller: &Caller<'_>, method: &str, path: &str) -> crate::world::Answer {
    let method: Method = method.to_uppercase().parse().unwrap();
    let knock = caller.request(method.clone(), path);
    let knock = if method == Method::PUT { knock.header("if-match", "*") } else { knock };
    let is_empty = method == Method::GET || method == Method::DELETE || path.ends_with("/signout");
    if is_empty { knock.send().await } else { knock.json(json!({})).send().await }
}

#[tokio::test]
async fn each_rule_opens_the_operations_that_name_it_and_no_others() {
    for rule in ["list", "read", "create", "update", "delete"] {
        let world = World::new().await;
        let admin = world.admin().await;
        let mut open = tasks();
        open["rules"] = json!({ rule: "true" });
        admin.put("/v1/collections/tasks", open).await.expect(201);
        let user = world.user("user").await;
        for route in routes().into_iter().flat_map(|(_, routes)| routes) {
            let Policy::Rules(rules) = route.policy else { continue };
            let made = admin.post(TASKS, json!({ "title": "t" })).await.expect(201);
            let path = of_tasks(&route, made.body["id"].as_str().unwrap());
            let answer = match (route.method, rule) {
                ("put", "create") if route.id != "upsertRecord" => {
                    let new = format!("{TASKS}/01900000-0000-7000-8000-000000000001");
                    let knock = user.request(Method::PUT, &new).header("if-none-match", "*");
                    knock.json(json!({ "title": "t" })).send().await
                }
                _ => bare(&user, route.method, &path).await,
            };
            let opened = !matches!(answer.status, 401 | 403 | 404);
            assert_eq!(opened, rules.contains(&rule), "{} under the rule {rule}: {}", answer.asked, answer.text);
        }
    }
}

/// The problem codes in the sources: those of the error table, and literals where an error is created.
fn codes_in_sources() -> BTreeSet<String> {
    fn read(folder: &Path, text: &mut String) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("tests") {
                read(&path, text);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                text.push_str(&std::fs::read_to_string(path).unwrap());
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut text = String::new();
    for function in ["auth", "collections", "records", "jobs"] {
        read(&root.join("functions").join(function).join("src"), &mut text);
    }
    read(&root.join("shared"), &mut text);
    let table = std::fs::read_to_string(root.join("shared/src/http/problem.rs")).unwrap();
    let table = table.split("pub fn code(").nth(1).unwrap().split("\n}").next().unwrap().to_owned();
    let mut found: BTreeSet<String> = table.split('"').skip(1).step_by(2).map(str::to_owned).collect();
    for maker in ["Error::bad_request(", "Error::conflict(", "Error::refused("] {
        for call in text.split(maker).skip(1) {
            let code = call.trim_start().strip_prefix('"').and_then(|rest| rest.split('"').next());
            found.extend(code.map(str::to_owned));
        }
    }
    for refusal in text.split("code: \"").skip(1) {
        found.insert(refusal.split('"').next().unwrap().to_owned());
    }
    found
}

#[test]
fn the_document_lists_the_codes_that_problems_have() {
    let document = document(&[]);
    let reported: BTreeSet<String> = document["components"]["schemas"]["Problem"]["properties"]["code"]["enum"]
        .as_array()
        .unwrap()
        .iter()
        .map(|code| code.as_str().unwrap().to_owned())
        .collect();
    assert_eq!(reported, codes_in_sources(), "left: schemas.json; right: the sources");
}
