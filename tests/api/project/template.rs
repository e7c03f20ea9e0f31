//! template.yaml and Cargo.toml agree with the sources and with each other.

use crate::world::template;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use undercroft_local::{LocalCloud, Options};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

async fn cloud() -> LocalCloud {
    LocalCloud::start(Options::in_memory(template())).await.unwrap()
}

fn text(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

/// The block of template.yaml under a top-level resource name.
fn resource(name: &str) -> String {
    let template = text("template.yaml");
    let start = template.find(&format!("\n  {name}:\n")).unwrap_or_else(|| panic!("template.yaml has no {name}"));
    let body = &template[start + 1..];
    let ends = |line: &&str| !(line.starts_with("   ") || line.is_empty());
    let lines: Vec<&str> = body.lines().collect();
    let length = lines.iter().skip(1).position(ends).map_or(lines.len(), |at| at + 1);
    lines[..length].join("\n")
}

/// `AuthRole` for the function `auth`.
fn role_of(binary: &str) -> String {
    let mut name = format!("{binary}Role");
    name[..1].make_ascii_uppercase();
    name
}

#[tokio::test]
async fn every_function_of_the_template_is_a_crate_and_every_crate_is_deployed() {
    let cloud = cloud().await;
    let deployed: BTreeSet<String> = cloud.functions().iter().map(|function| function.binary.clone()).collect();
    let crates: BTreeSet<String> = std::fs::read_dir(root().join("functions"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| root().join("functions").join(name).join("Cargo.toml").exists())
        .collect();
    assert_eq!(deployed, crates, "left: the binaries that template.yaml deploys; right: the crates under functions/");
}

#[tokio::test]
async fn local_routes_are_the_templates_routes() {
    let manifest = text("Cargo.toml");
    let section = manifest
        .split("[workspace.metadata.lambda.watch.router]")
        .nth(1)
        .unwrap()
        .split("\n[")
        .next()
        .unwrap()
        .to_owned();
    let local: BTreeMap<String, String> = section
        .lines()
        .filter_map(|line| line.split_once(" = "))
        .map(|(path, function)| (path.trim_matches('"').to_owned(), function.trim_matches('"').to_owned()))
        .collect();
    let cloud = cloud().await;
    let deployed: BTreeMap<String, String> = cloud
        .functions()
        .iter()
        .flat_map(|function| {
            function.routes().map(|route| (route.path.replace("{proxy+}", "{*proxy}"), function.binary.clone()))
        })
        .collect();
    assert!(!deployed.is_empty());
    assert_eq!(
        local, deployed,
        "left: the routes for `cargo lambda watch` in Cargo.toml; right: those of template.yaml"
    );
}

/// Resources that end in a wildcard because nothing narrower can be named. SECURITY.md lists them too.
const WILDCARDS: &[&str] = &[
    "${FilesBucket.Arn}/exports/*",
    "${FilesBucket.Arn}/uploads/*",
    "${FilesBucket.Arn}/unfinished/*",
    "${JobsTable.Arn}/stream/*",
    "${RecordsTable.Arn}/stream/*",
    "arn:${AWS::Partition}:ses:${AWS::Region}:${AWS::AccountId}:identity/*",
];

/// The words of a role with a wildcard in them, but for conditions on keys, which are all patterns.
fn wildcards(role: &str) -> Vec<&str> {
    let lines = role.lines().filter(|line| !line.contains("LeadingKeys") && !line.trim_start().starts_with('#'));
    let words = lines.flat_map(|line| line.split([' ', ',', '[', ']', '"', '\'']));
    words.filter(|word| word.contains(['*', '?'])).collect()
}

#[tokio::test]
async fn every_function_has_a_role_of_its_own_without_wildcards() {
    let cloud = cloud().await;
    let grants = cloud.grants();
    for function in cloud.functions() {
        let own = grants.iter().filter(|grant| grant.function == function.binary);
        assert!(own.clone().count() > 3, "{} is held to its role", function.binary);
        assert!(own.clone().all(|grant| !grant.action.contains(['*', '?'])), "{:?}", own.collect::<Vec<_>>());
    }
    let roles: Vec<String> = cloud.functions().iter().map(|function| resource(&role_of(&function.binary))).collect();
    let found: BTreeSet<&str> = roles.iter().flat_map(|role| wildcards(role)).collect();
    assert_eq!(found, BTreeSet::from_iter(WILDCARDS.iter().copied()), "left: found; right: the list above");
    for function in cloud.functions() {
        let (name, role) = (&function.binary, role_of(&function.binary));
        let own = resource(&role.replace("Role", "Function"));
        assert!(own.contains(&format!("Role: !GetAtt {role}.Arn")), "{name} has no role of its own");
        assert!(!own.contains("Policies:"), "SAM would add policies with wildcards to {name}");
        let block = resource(&role);
        assert!(!block.to_lowercase().contains("dynamodb:scan"), "{name} may scan");
        let hashes = block.contains("IdentityTable.Arn");
        assert_eq!(hashes, name == "auth", "only auth reaches password hashes");
    }
}

#[test]
fn every_event_source_reports_partial_batches_and_has_dead_letters() {
    let template = text("template.yaml");
    let sources =
        template.matches("Type: SQS\n          Properties:").count() + template.matches("Type: DynamoDB\n").count();
    assert_eq!(sources, 6, "a new queue or stream: check it below, and count it here");
    assert_eq!(
        template.matches("FunctionResponseTypes: [ReportBatchItemFailures]").count(),
        sources,
        "left: event sources that report partial batches; right: all"
    );
    for queue in ["JobsQueue", "JobsFifoQueue"] {
        let block = resource(queue);
        assert!(block.contains("RedrivePolicy") && block.contains("VisibilityTimeout: 360"), "{block}");
        let dead_letters = resource(&queue.replace("Queue", "DeadLetters"));
        assert!(dead_letters.contains("MessageRetentionPeriod: 1209600"), "{dead_letters}");
        assert!(dead_letters.contains("VisibilityTimeout: 360"), "the worker reads it, too: {dead_letters}");
    }
    assert!(resource("WorkerFunction").contains("Timeout: 60"), "visibility is six times the worker's timeout");
    let relay = resource("RelayFunction");
    assert_eq!(relay.matches("MaximumRecordAgeInSeconds: 79200").count(), 2, "given up before the stream forgets");
    assert_eq!(relay.matches("Destination: !GetAtt RelayFailures.Arn").count(), 2, "one a stream");
}

/// The sources of all functions and of what they share, with their paths.
fn sources() -> Vec<(PathBuf, String)> {
    fn collect(folder: &Path, found: &mut Vec<(PathBuf, String)>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let source = std::fs::read_to_string(&path).unwrap();
                found.push((path, source));
            }
        }
    }
    let mut found = Vec::new();
    collect(&root().join("functions"), &mut found);
    collect(&root().join("shared"), &mut found);
    assert!(found.len() > 40);
    found
}

/// Lambda freezes an execution environment after the response (R120): unfinished work continues in the next request, or never.
#[test]
fn no_function_leaves_work_behind_its_response() {
    for (path, source) in sources() {
        for way in [
            "tokio::spawn",
            "task::spawn",
            "spawn_blocking",
            "spawn_local",
            "JoinSet",
            "thread::spawn",
            "Handle::current",
        ] {
            assert!(!source.contains(way), "{} in {}: await it instead", way, path.display());
        }
    }
}

/// The tests that hold every route against template, document and policies (R61, R128) read them from there.
#[test]
fn a_function_makes_its_routes_in_its_lib_and_nowhere_else() {
    for (path, source) in sources() {
        let is_lib = path.ends_with("src/lib.rs");
        for way in [".route(", ".route_service(", ".nest(", ".nest_service(", ".fallback_service(", "MethodRouter"] {
            let is_read = is_lib && way == ".route(";
            assert!(is_read || !source.contains(way), "{way} in {}: move it to lib.rs, as .route(", path.display());
        }
        // A merged router is built in the same file.
        let merged: Vec<&str> = source.split(".merge(").skip(1).map(|call| call.split('(').next().unwrap()).collect();
        let is_own = |name: &&str| source.contains(&format!("fn {name}("));
        assert!(
            !path.starts_with(root().join("functions")) || merged.iter().all(is_own),
            "{merged:?} in {}",
            path.display()
        );
    }
}

#[test]
fn no_function_scans_a_table() {
    for (path, source) in sources() {
        assert!(!source.contains(".scan()"), "{}", path.display());
        assert!(!source.contains("process::abort") && !source.contains("std::env::var("), "{}", path.display());
    }
    let manifest = text("Cargo.toml");
    assert!(!manifest.contains("panic = \"abort\""), "one bad record must not take a batch down");
}
