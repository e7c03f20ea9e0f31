//! What is measured, built as it ships: with the release profile, and each package alone, because features unify and the lean
//! functions grow when they are built together.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;
use undercroft::error::Source;

use crate::stack::root;

/// Builds a function's bootstrap.
///
/// # Errors
/// When it does not compile.
pub fn function(name: &str) -> Result<PathBuf, Source> {
    build(name, &["--bin", name])
}

/// Builds one of what is measured beside the functions (`infra/load/subjects`).
///
/// # Errors
/// When it does not compile.
pub fn subject(name: &str) -> Result<PathBuf, Source> {
    build("undercroft-subjects", &["--example", name])
}

fn build(package: &str, target: &[&str]) -> Result<PathBuf, Source> {
    eprintln!("building {} (minutes the first time)", target.join(" "));
    let mut command = Command::new("cargo");
    command.current_dir(root()).args(["build", "--release", "--package", package]).args(target);
    command.args(["--message-format", "json-render-diagnostics"]).stdout(Stdio::piped());
    let output = command.spawn()?.wait_with_output()?;
    if !output.status.success() {
        return Err(format!("{package} does not compile").into());
    }
    let messages = String::from_utf8_lossy(&output.stdout).into_owned();
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let executable = messages.filter_map(|message| Some(PathBuf::from(message.get("executable")?.as_str()?))).last();
    executable.ok_or_else(|| format!("cargo built no executable of {package}").into())
}
