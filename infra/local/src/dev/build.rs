//! Compiles the functions with cargo.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;
use tokio::process::Command;

use super::failure::Failure;
use super::watchdog::Watchdog;
use crate::template::Function;

/// Environment variables that cargo sets. With them, the inner cargo would rebuild everything.
const SET_BY_CARGO: &[&str] = &["CARGO", "CARGO_BIN_NAME", "CARGO_CRATE_NAME", "CARGO_PRIMARY_PACKAGE", "OUT_DIR"];

/// The result of a build.
#[derive(Debug, Default)]
pub struct Built {
    /// The built binaries, by name.
    pub binaries: BTreeMap<String, PathBuf>,
    /// Whether everything compiled.
    pub is_complete: bool,
}

/// Builds every binary of the workspace.
pub async fn functions(root: &Path, release: bool, watchdog: &Watchdog) -> Result<Built, Failure> {
    let mut command = Command::new("cargo");
    command.current_dir(root).args(["build", "--bins", "--keep-going", "--message-format", "json-render-diagnostics"]);
    command.args(release.then_some("--release")).stdin(Stdio::null()).stdout(Stdio::piped());
    remove_cargo_variables(&mut command);
    let failed = |error: std::io::Error| Failure::Other(format!("cannot run cargo: {error}"));
    let child = command.spawn().map_err(failed)?;
    watchdog.register(&child).await.map_err(failed)?;
    let output = child.wait_with_output().await.map_err(failed)?;
    let messages = String::from_utf8_lossy(&output.stdout);
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    Ok(Built {
        binaries: messages.filter_map(|message| binary(&message)).collect(),
        is_complete: output.status.success(),
    })
}

/// Checks that every function of the template was built.
pub fn check(built: &Built, functions: &[Function]) -> Result<(), Failure> {
    let missing: Vec<_> = functions
        .iter()
        .map(|function| function.binary.clone())
        .filter(|name| !built.binaries.contains_key(name))
        .collect();
    match missing.len() {
        0 if built.is_complete => Ok(()),
        all if all == functions.len() => Err(Failure::Build(Vec::new())),
        0 => Err(Failure::Build(vec!["a binary that is not a function of template.yaml".into()])),
        _ => Err(Failure::Build(missing)),
    }
}

/// Removes the environment variables of the outer cargo.
fn remove_cargo_variables(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        let is_cargo_variable = SET_BY_CARGO.contains(&name.as_ref())
            || ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_EXE_"].iter().any(|prefix| name.starts_with(prefix));
        if is_cargo_variable {
            command.env_remove(name.as_ref());
        }
    }
}

/// Name and path of the binary in one of cargo's messages.
fn binary(message: &Value) -> Option<(String, PathBuf)> {
    let target =
        message.get("target").filter(|_| message.get("reason").is_some_and(|reason| reason == "compiler-artifact"))?;
    let is_binary = target.get("kind")?.as_array()?.iter().any(|kind| kind == "bin");
    let named = || Some((target.get("name")?.as_str()?.to_owned(), message.get("executable")?.as_str()?.into()));
    is_binary.then(named)?
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_binaries_count_as_built() {
        let artifact = |kind: &str| json!({ "reason": "compiler-artifact", "executable": "debug/auth", "target": { "kind": [kind], "name": "auth" } });
        assert_eq!(binary(&artifact("bin")), Some(("auth".into(), "debug/auth".into())));
        assert_eq!(binary(&artifact("lib")), None);
        assert_eq!(binary(&json!({ "reason": "build-finished", "success": true })), None);
    }
}
