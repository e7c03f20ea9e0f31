//! Builds the measured functions as deployed: with the release profile, and each package separately, because Cargo unifies
//! features and small functions grow when built together. `BOOTSTRAPS=folder` uses existing binaries of the same names
//! instead, for example in `target/lambda`.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;
use undercroft::error::Source;

use crate::stack::root;

/// Prefixes of the variables that cargo sets for the programs it runs.
const OF_A_PACKAGE: [&str; 5] = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_", "CARGO_PRIMARY_"];

/// Builds a function's bootstrap.
///
/// # Errors
/// When it does not compile.
pub fn function(name: &str) -> Result<PathBuf, Source> {
    build(name, &["--bin", name])
}

/// Builds a program that is measured for comparison (`infra/bench/subjects`).
///
/// # Errors
/// When it does not compile.
pub fn subject(name: &str) -> Result<PathBuf, Source> {
    build("undercroft-subjects", &["--example", name])
}

fn build(package: &str, target: &[&str]) -> Result<PathBuf, Source> {
    if let Some(folder) = std::env::var_os("BOOTSTRAPS") {
        let named = PathBuf::from(folder).join(target.last().unwrap_or(&package));
        // Either each in its own folder, as cargo-lambda writes them, or as cargo does.
        return Ok(if named.is_dir() { named.join("bootstrap") } else { named });
    }
    eprintln!("building {} (minutes the first time)", target.join(" "));
    let mut command = Command::new("cargo");
    // Variables set by the outer cargo would make this one rebuild everything.
    let set_by_cargo =
        |name: &String| name == "CARGO" || name == "OUT_DIR" || OF_A_PACKAGE.iter().any(|of| name.starts_with(of));
    for name in std::env::vars().map(|(name, _)| name).filter(set_by_cargo) {
        command.env_remove(name);
    }
    command.current_dir(root()).args(["build", "--release", "--package", package]).args(target);
    command.args(["--message-format", "json-render-diagnostics"]).stdout(Stdio::piped());
    let output = command.spawn()?.wait_with_output()?;
    if !output.status.success() {
        return Err(format!("{package} does not compile").into());
    }
    let messages = String::from_utf8_lossy(&output.stdout).into_owned();
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut executables = messages.filter_map(|message| Some(PathBuf::from(message.get("executable")?.as_str()?)));
    executables.next_back().ok_or_else(|| format!("cargo built no executable of {package}").into())
}
