//! The documentation: its links resolve, its examples are accepted, and it names every error code.

use super::cargo_dev::{LONG_TOUR, SHORT_TOUR, section};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use undercroft::expr::{Auth, Expr, Input, Known, Rule};
use undercroft::query::{ListQuery, Refusal, plan};
use undercroft::schema::{Collection, Definition};

/// Maximum number of words of the README, counted as by `wc -w`.
const MOST_WORDS: usize = 1_000;

/// Blocks of commands that no test runs: the page, the first line of the block, and the reason.
const NOT_RUN: [(&str, &str, &str); 9] = [
    ("README.md", "cargo dev", "the tests start it themselves, with ports of their own"),
    ("README.md", "sam build && sam deploy --guided", "needs an AWS account"),
    ("docs/guides/deploy.md", "pip install aws-sam-cli cargo-lambda ziglang", "installs tools"),
    ("docs/guides/deploy.md", "sam build && sam deploy --guided", "needs an AWS account"),
    ("docs/guides/deploy.md", "sam build && sam deploy --config-env prod", "needs an AWS account"),
    ("docs/guides/deploy.md", "sam build --parameter-overrides Architecture=x86_64", "needs an AWS account"),
    (
        "docs/guides/browser.md",
        "cargo dev -- --parameter AllowedOrigins=http://localhost:8080",
        "runs until it is stopped; `cargo_dev::options` has the option",
    ),
    (
        "docs/guides/testing-your-app.md",
        "cargo dev -- --port 9100 --dashboard-port 9101 --data target/test-data --fresh",
        "runs until it is stopped; `cargo_dev::dev` starts it like this",
    ),
    (
        "docs/guides/testing-your-app.md",
        "cargo dev -- --port 9100 --dashboard-port 9101 --data target/test-data --fresh &",
        "leaves a process behind",
    ),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every file below a folder whose name ends like this, as a path from the root.
fn files(folder: &str, ending: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(root().join(folder)).unwrap() {
        let entry = entry.unwrap();
        let path = format!("{folder}/{}", entry.file_name().to_str().unwrap());
        match entry.file_type().unwrap().is_dir() {
            true => found.extend(files(&path, ending)),
            false if path.ends_with(ending) => found.push(path),
            false => {}
        }
    }
    found.sort();
    found
}

/// The README and all below `docs/`.
fn guides() -> Vec<String> {
    [vec!["README.md".to_owned()], files("docs", ".md")].concat()
}

/// Every page a reader may come to.
fn pages() -> Vec<String> {
    let others = ["CHANGELOG.md", "CODE_OF_CONDUCT.md", "infra/bench/README.md", "infra/local/README.md"];
    [guides(), files(".github", ".md"), others.map(str::to_owned).to_vec()].concat()
}

/// A fenced block: what stands behind its fence, and its lines, without the indentation of the fence.
struct Block {
    info: String,
    text: String,
}

/// The fenced blocks of a page, and the page without them.
fn blocks(page: &str) -> (Vec<Block>, String) {
    let (mut blocks, mut prose, mut open) = (Vec::<Block>::new(), String::new(), None::<usize>);
    for line in page.lines() {
        let bare = line.trim_start();
        match (bare.strip_prefix("```"), open) {
            (Some(info), None) => {
                open = Some(line.len() - bare.len());
                blocks.push(Block { info: info.trim().to_owned(), text: String::new() });
            }
            (Some(_), Some(_)) => open = None,
            (None, Some(indent)) => {
                let block = blocks.last_mut().unwrap();
                block.text.push_str(line.get(indent..).unwrap_or_default());
                block.text.push('\n');
            }
            (None, None) => {
                prose.push_str(line);
                prose.push('\n');
            }
        }
    }
    assert!(open.is_none(), "a block does not end: {page}");
    (blocks, prose)
}

/// Text without what stands in backquotes: code is no link.
fn without_code(text: &str) -> String {
    text.split('`').step_by(2).collect()
}

/// The anchors of a page's headings, as GitHub makes them.
fn anchors(page: &str) -> BTreeSet<String> {
    let (_, prose) = blocks(page);
    let headings = prose.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let kept = |char: &char| char.is_alphanumeric() || matches!(char, '-' | '_' | ' ');
    headings.map(|heading| heading.to_lowercase().chars().filter(kept).collect::<String>().replace(' ', "-")).collect()
}

#[test]
fn the_readme_is_read_in_five_minutes() {
    let words = read("README.md").split_whitespace().count();
    assert!(words <= MOST_WORDS, "the README has {words} words, and may have {MOST_WORDS}");
}

#[test]
fn every_link_leads_to_a_file_and_every_anchor_to_a_heading() {
    let (mut wrong, mut followed) = (Vec::new(), 0);
    for page in pages() {
        let (_, prose) = blocks(&read(&page));
        for link in without_code(&prose).split("](").skip(1) {
            let link = link.split(')').next().unwrap();
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            followed += 1;
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let here = PathBuf::from(&page);
            let target = if path.is_empty() { here } else { here.parent().unwrap().join(path) };
            let file = root().join(&target);
            let is_anchor = |anchor: &str| anchors(&std::fs::read_to_string(&file).unwrap()).contains(anchor);
            if !file.exists() {
                wrong.push(format!("{page}: there is no {link}"));
            } else if !anchor.is_empty() && !is_anchor(anchor) {
                wrong.push(format!("{page}: {link} names no heading"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(followed > 100, "the links were found: {followed}");
}

#[test]
fn every_page_is_in_the_index() {
    let index = read("docs/README.md");
    let is_linked = |page: &&String| {
        let page = page.strip_prefix("docs/").unwrap();
        page == "README.md" || page.starts_with("decisions/0") || index.contains(&format!("]({page})"))
    };
    let missing: Vec<String> = files("docs", ".md").into_iter().filter(|page| !is_linked(&page)).collect();
    assert!(missing.is_empty(), "docs/README.md does not name {missing:?}");
    let decisions = read("docs/decisions/README.md");
    for page in files("docs/decisions", ".md").iter().filter(|page| !page.ends_with("README.md")) {
        let name = page.rsplit('/').next().unwrap();
        assert!(decisions.contains(&format!("]({name}) |")), "docs/decisions/README.md does not name {name}");
    }
}

#[test]
fn every_source_file_that_is_named_exists() {
    let sources = ["functions", "shared", "infra", "tests"].map(|folder| files(folder, ".rs")).concat();
    let mut wrong = Vec::new();
    // Decisions may name files by earlier names.
    for page in pages().iter().filter(|page| !page.starts_with("docs/decisions/") && *page != "CHANGELOG.md") {
        for name in read(page).split('`').skip(1).step_by(2).filter(|code| code.ends_with(".rs")) {
            let is_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-./".contains(&byte));
            let is_there = |source: &String| source == name || source.ends_with(&format!("/{name}"));
            if is_name && !sources.iter().any(is_there) {
                wrong.push(format!("{page}: {name}"));
            }
        }
    }
    assert!(wrong.is_empty(), "no such source: {wrong:#?}");
}

/// The first cells of the tables in a section, without their backquotes.
fn first_cells(section: &str) -> Vec<String> {
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    rows.map(|line| line.split('`').nth(1).unwrap().to_owned()).collect()
}

#[test]
fn the_error_reference_names_every_problem_code_and_no_other() {
    let schemas: Value = serde_json::from_str(&read("functions/docs/src/openapi/schemas.json")).unwrap();
    let codes = schemas["Problem"]["properties"]["code"]["enum"].as_array().unwrap();
    let codes: Vec<&str> = codes.iter().map(|code| code.as_str().unwrap()).collect();
    let page = read("docs/reference/errors.md");
    let named = first_cells(section(&page, "## Problem codes"));
    assert_eq!(named, codes, "one row for each code, in the order of schemas.json");
}

/// What follows `FieldError::new(` and `Error::field(` as the second argument, where it is written there.
fn codes_in(source: &str) -> Vec<String> {
    let mut found = Vec::new();
    for call in ["FieldError::new(", "Error::field("] {
        for after in source.split(call).skip(1) {
            let (mut depth, mut quoted, mut place) = (0_u32, false, after.char_indices());
            let comma = place.find_map(|(at, char)| {
                match char {
                    '"' => quoted = !quoted,
                    '(' | '[' | '{' if !quoted => depth += 1,
                    ')' | ']' | '}' if !quoted => depth = depth.saturating_sub(1),
                    ',' if !quoted && depth == 0 => return Some(at),
                    _ => {}
                }
                None
            });
            let second = comma.and_then(|comma| after.get(comma + 1..)).unwrap_or_default().trim_start();
            found.extend(second.strip_prefix('"').and_then(|code| code.split('"').next()).map(str::to_owned));
        }
    }
    found
}

#[test]
fn the_error_reference_names_every_field_error_code() {
    let page = read("docs/reference/errors.md");
    let named: BTreeSet<String> = first_cells(section(&page, "## Codes for members of a body")).into_iter().collect();
    let sources = ["functions", "shared"].map(|folder| files(folder, ".rs")).concat();
    let sources = sources.iter().filter(|path| !path.contains("/tests")).map(|path| read(path));
    let (mut used, mut all) = (BTreeSet::new(), String::new());
    for source in sources {
        let source = source.split("#[cfg(test)]\nmod tests {").next().unwrap().to_owned();
        used.extend(codes_in(&source));
        all.push_str(&source);
    }
    assert!(used.len() > 40, "the codes were found: {used:?}");
    let unnamed: Vec<&String> = used.difference(&named).collect();
    assert!(unnamed.is_empty(), "docs/reference/errors.md does not name {unnamed:?}");
    let unused: Vec<&String> = named.iter().filter(|code| !all.contains(&format!("\"{code}\""))).collect();
    assert!(unused.is_empty(), "no source has {unused:?}");
}

#[test]
fn every_block_of_commands_is_run_or_marked_with_a_reason() {
    let readme = read("README.md");
    let run: Vec<String> = [section(&readme, SHORT_TOUR), &read(LONG_TOUR)]
        .into_iter()
        .flat_map(|tour| blocks(tour).0)
        .map(|block| block.text)
        .collect();
    let mut excused: BTreeMap<(String, String), bool> =
        NOT_RUN.iter().map(|(page, line, _)| ((page.to_string(), line.to_string()), false)).collect();
    for page in guides() {
        for block in blocks(&read(&page)).0.iter().filter(|block| block.info == "sh") {
            if run.contains(&block.text) {
                continue;
            }
            let first = block.text.lines().next().unwrap_or_default().to_owned();
            let excuse = excused.get_mut(&(page.clone(), first.clone()));
            *excuse.unwrap_or_else(|| panic!("{page}: nothing runs the block that begins `{first}`")) = true;
        }
    }
    let idle: Vec<_> = excused.iter().filter(|(_, used)| !**used).map(|(block, _)| block).collect();
    assert!(idle.is_empty(), "NOT_RUN names blocks that are not there: {idle:?}");
}

/// The collection of an example, if it is one.
fn defined(page: &str, example: &Value) -> Option<Collection> {
    (example.get("schema").is_some() && example.get("rules").is_some()).then(|| {
        let name = example.get("name").and_then(Value::as_str).unwrap_or("example");
        let definition = Definition::parse(name, example.clone(), None);
        let definition = definition.unwrap_or_else(|errors| panic!("{page}: the definition of {name}: {errors:#?}"));
        Collection::compile(definition).unwrap()
    })
}

/// How a list with this filter is refused by the indexes, if it is, for a caller who is no admin.
fn refusal(collection: &Collection, filter: &Expr) -> Option<Refusal> {
    let id = "01900000-0000-7000-8000-000000000001".to_owned();
    let auth = Auth { id, email: "ada@example.org".to_owned(), roles: Vec::new(), verified: true };
    let known = Known { auth: Some(&auth), now: "2026-01-01T00:00:00.000Z", input: Input::None };
    let rule = collection.rule(Rule::List).unwrap().partial(&known);
    plan(collection.layout(), &ListQuery { rule: &rule, filter: Some(filter), sort: &[], scan: None }).err()
}

/// Reads each line of an example against the collection that the page has shown last. Adds to `refused` what no index serves.
fn check_expressions(
    page: &str,
    info: &str,
    text: &str,
    collection: Option<&Collection>,
    refused: &mut Vec<Refusal>,
) -> usize {
    let kind = info.strip_prefix("cel ").unwrap_or_default();
    let collection = collection.unwrap_or_else(|| panic!("{page}: no definition comes before `{text}`"));
    let fields = &collection.layout().fields;
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    for line in &lines {
        let read = match Rule::ALL.into_iter().find(|rule| rule.name() == kind) {
            Some(rule) => Expr::rule(line, fields, rule),
            None if ["filter", "served", "unserved"].contains(&kind) => Expr::filter(line, fields),
            None => panic!("{page}: say `cel filter`, `served` or `unserved`, or `cel` and a rule, not `{info}`"),
        };
        let read = read.unwrap_or_else(|error| panic!("{page}: {line}: {error}"));
        if ["served", "unserved"].contains(&kind) {
            let refusal = refusal(collection, &read);
            assert_eq!(refusal.is_some(), kind == "unserved", "{page}: {line}: {refusal:?}");
            refused.extend(refusal);
        }
    }
    lines.len()
}

#[test]
fn every_example_is_accepted() {
    let (mut definitions, mut expressions) = (0, 0);
    for page in guides() {
        let (mut shown, mut refused) = (None, Vec::<Refusal>::new());
        for block in blocks(&read(&page)).0 {
            match block.info.split(' ').next().unwrap() {
                "json" => {
                    let example = serde_json::from_str::<Value>(&block.text);
                    let example = example.unwrap_or_else(|error| panic!("{page}: {error}: {}", block.text));
                    if let (Some("index_required"), Some(refusal)) = (example["code"].as_str(), refused.last()) {
                        assert_eq!(example["detail"], refusal.message, "{page}");
                        assert_eq!(Some(&example["addIndex"]), refusal.add_index.as_ref(), "{page}");
                    }
                    if let Some(collection) = defined(&page, &example) {
                        (definitions, shown) = (definitions + 1, Some(collection));
                    }
                }
                "cel" => {
                    expressions += check_expressions(&page, &block.info, &block.text, shown.as_ref(), &mut refused);
                }
                _ => {}
            }
        }
    }
    assert!(definitions >= 4 && expressions >= 10, "{definitions} definitions, {expressions} expressions");
}

#[test]
fn the_documented_compiler_version_is_the_supported_one() {
    let value = |text: &str, name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} = \"")).map(str::to_owned));
        line.unwrap_or_else(|| panic!("no {name}")).trim_end_matches('"').to_owned()
    };
    let channel = value(&read("rust-toolchain.toml"), "channel");
    let supported = value(&read("Cargo.toml"), "rust-version");
    assert!(channel == supported || channel.starts_with(&format!("{supported}.")), "{channel}, {supported}");
}
