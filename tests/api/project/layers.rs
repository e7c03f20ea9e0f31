//! Layers: no module imports from a higher one, and there are no import cycles.
//!
//! `layers.txt` beside a crate's `lib.rs` lists its modules from the lowest to the highest. Crates without one must only have no
//! cycles. Test modules are ignored.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The sources of a crate without comments, texts and test modules, by module: `store::records`; the crate's root is `crate`.
type Modules = BTreeMap<String, String>;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn modules(source: &Path) -> Modules {
    let mut found = Modules::new();
    collect(source, source, &mut found);
    found
}

fn collect(source: &Path, folder: &Path, found: &mut Modules) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() && name != "tests" {
            collect(source, &path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") && name != "tests" && name != "main" {
            let relative = path.strip_prefix(source).unwrap().with_extension("");
            let steps: Vec<&str> = relative.iter().map(|step| step.to_str().unwrap()).collect();
            let steps = steps.as_slice();
            let module = match steps {
                ["lib"] => "crate".to_owned(),
                [folder @ .., "mod"] => folder.join("::"),
                all => all.join("::"),
            };
            found.insert(module, code(&std::fs::read_to_string(&path).unwrap()));
        }
    }
}

/// The code of a file alone.
fn code(source: &str) -> String {
    let source = source.split("#[cfg(test)]\nmod tests {").next().unwrap();
    let lines = source.lines().map(|line| line.split("//").next().unwrap());
    let mut code = String::new();
    for line in lines {
        // Every second piece between quotes is text.
        code.push_str(&line.split('"').step_by(2).collect::<Vec<_>>().join(" "));
        code.push('\n');
    }
    code
}

/// The paths that a module names: those it imports, each spelled out, and those in its code that begin at a module.
fn paths(code: &str) -> Vec<Vec<String>> {
    let mut paths = Vec::new();
    for import in imports(code) {
        spell_out(&import, "", &mut paths);
    }
    let is_part = |char: char| char.is_ascii_alphanumeric() || char == '_' || char == ':';
    for word in without_imports(code).split(|char| !is_part(char)).filter(|word| word.contains("::")) {
        paths.push(word.split("::").map(str::to_owned).collect());
    }
    paths
}

/// What stands between `use` and `;`. What is only handed on (`pub use`) is no import.
fn imports(code: &str) -> Vec<String> {
    let statements = code.split(';').filter_map(|statement| {
        let start =
            statement.rfind("\nuse ").map(|at| at + 1).or_else(|| statement.starts_with("use ").then_some(0))?;
        Some(statement[start + 4..].replace(['\n', ' '], ""))
    });
    statements.collect()
}

/// The code without its imports and what it hands on.
fn without_imports(code: &str) -> String {
    let kept = |statement: &str| match statement.find("use ") {
        Some(at) => statement[..at].to_owned(),
        None => statement.to_owned(),
    };
    code.split(';').map(kept).collect::<Vec<_>>().join(";")
}

fn spell_out(tree: &str, before: &str, paths: &mut Vec<Vec<String>>) {
    let Some(open) = tree.find('{') else {
        let path = format!("{before}{tree}");
        return paths.push(
            path.split("::").filter(|step| *step != "self" || path.starts_with("self")).map(str::to_owned).collect(),
        );
    };
    let (before, inner) = (format!("{before}{}", &tree[..open]), &tree[open + 1..tree.rfind('}').unwrap()]);
    let (mut depth, mut start) = (0, 0);
    for (at, char) in inner.char_indices().chain([(inner.len(), ',')]) {
        match char {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                if start < at {
                    spell_out(&inner[start..at], &before, paths);
                }
                start = at + 1;
            }
            _ => {}
        }
    }
}

/// The names that a module hands on from modules below it: `pub use`.
fn handed_on(code: &str) -> BTreeMap<String, Vec<String>> {
    let mut paths = Vec::new();
    for part in code.split("pub use ").skip(1) {
        spell_out(&part.split(';').next().unwrap().replace(['\n', ' '], ""), "", &mut paths);
    }
    paths.into_iter().filter_map(|path| Some((path.last()?.clone(), path))).collect()
}

/// The module that a path leads to, from within a module.
fn target(modules: &Modules, from: &str, path: &[String], depth: usize) -> Option<String> {
    let own: Vec<&str> = if from == "crate" { Vec::new() } else { from.split("::").collect() };
    let steps: Vec<&str> = path.iter().map(String::as_str).collect();
    let name = |at: &[&str]| if at.is_empty() { "crate".to_owned() } else { at.join("::") };
    let mut steps = steps.as_slice();
    let mut at = match steps {
        ["crate", rest @ ..] => {
            steps = rest;
            Vec::new()
        }
        ["super" | "self", ..] => {
            let mut at = own;
            while let ["super", rest @ ..] | ["self", rest @ ..] = steps {
                if steps[0] == "super" {
                    at.pop();
                }
                steps = rest;
            }
            at
        }
        [first, ..] if modules.contains_key(&name(&[own.as_slice(), &[*first]].concat())) => own,
        _ => return None,
    };
    while let [first, rest @ ..] = steps {
        let deeper = [at.as_slice(), &[*first]].concat();
        if !modules.contains_key(&name(&deeper)) {
            break;
        }
        (at, steps) = (deeper, rest);
    }
    let reached = name(&at);
    let handed = steps.first().and_then(|first| handed_on(modules.get(&reached)?).get(*first).cloned());
    match handed {
        Some(on) if depth < 6 => {
            let on: Vec<String> = on.into_iter().chain(steps[1..].iter().map(|step| (*step).to_owned())).collect();
            target(modules, &reached, &on, depth + 1)
        }
        _ => modules.contains_key(&reached).then_some(reached),
    }
}

/// What each module imports from.
fn graph(modules: &Modules) -> BTreeMap<&str, BTreeSet<String>> {
    let mut graph = BTreeMap::new();
    for (module, code) in modules {
        let targets = paths(code).into_iter().filter_map(|path| target(modules, module, &path, 0));
        graph.insert(module.as_str(), targets.filter(|target| target != module).collect());
    }
    graph
}

#[test]
fn every_module_imports_from_modules_below_it_alone() {
    for source in ["shared/core/src", "shared/src", "infra/local/src"] {
        let folder = root().join(source);
        let modules = modules(&folder);
        let layers = std::fs::read_to_string(folder.join("layers.txt")).unwrap();
        let order: Vec<&str> = layers.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
        let listed: BTreeSet<&str> = order.iter().copied().collect();
        assert_eq!(
            listed,
            modules.keys().map(String::as_str).collect(),
            "left: {source}/layers.txt; right: its modules"
        );
        let level = |module: &str| order.iter().position(|listed| *listed == module).unwrap();
        let graph = graph(&modules);
        assert!(graph.values().map(BTreeSet::len).sum::<usize>() > modules.len(), "{source}: imports were read");
        for (module, targets) in &graph {
            for target in targets {
                assert!(
                    level(target) < level(module),
                    "{source}: {module} imports from {target}, which stands above it"
                );
            }
        }
    }
}

#[test]
fn no_modules_of_a_function_import_each_other_in_a_circle() {
    for function in std::fs::read_dir(root().join("functions")).unwrap() {
        let source = function.unwrap().path().join("src");
        let modules = modules(&source);
        let mut graph = graph(&modules);
        while let Some(lowest) =
            graph.iter().find(|(_, targets)| targets.is_empty()).map(|(module, _)| (*module).to_owned())
        {
            graph.remove(lowest.as_str());
            graph.values_mut().for_each(|targets| {
                targets.remove(&lowest);
            });
        }
        assert!(graph.is_empty(), "{}: these modules import each other: {graph:?}", source.display());
    }
}

#[test]
fn an_import_from_a_higher_module_is_found() {
    let module = |name: &str, code: &str| (name.to_owned(), code.to_owned());
    let modules = Modules::from([
        module("crate", "pub mod low;\npub mod high;\n"),
        module("low", "use crate::{\n    high::{self, Thing},\n};\n"),
        module("high", "pub use inner::Thing;\nmod inner;\n"),
        module("high::inner", "use super::super::low::x;\nfn f() { crate::low::g() }\n"),
    ]);
    let graph = graph(&modules);
    assert_eq!(graph["low"], BTreeSet::from(["high".to_owned(), "high::inner".to_owned()]));
    assert_eq!(graph["high::inner"], BTreeSet::from(["low".to_owned()]));
    assert!(graph["high"].is_empty(), "what is handed on is no import: {:?}", graph["high"]);
}
