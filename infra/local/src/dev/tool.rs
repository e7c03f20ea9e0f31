//! cargo-lambda, which runs the functions: the one that is there, else a pinned one, installed where it disturbs nobody.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use super::failure::Failure;
use super::guard::Guard;

/// The version that is installed where none is found.
const PINNED: &str = "1.9.2";
/// The oldest version that can be used: routes with parameters, and instances per function.
const OLDEST: (u32, u32) = (1, 9);

/// The program to call.
#[derive(Debug, Clone)]
pub struct Tool {
    pub program: PathBuf,
}

/// Finds a cargo-lambda that is new enough, or installs one.
pub async fn find_or_install(root: &Path, guard: &mut Guard) -> Result<Tool, Failure> {
    let home = root.join("target").join(format!("cargo-lambda-{PINNED}"));
    let candidates = [PathBuf::from("cargo-lambda"), home.join("bin/cargo-lambda")];
    for program in &candidates {
        if version(program).await.is_some_and(|version| version >= OLDEST) {
            return Ok(Tool { program: program.clone() });
        }
    }
    eprintln!(
        "undercroft: cargo-lambda {}.{} or later is not here. Installing {PINNED} with Python's pip into {} \
         (60 MB on disk, usually under a minute, only this once)",
        OLDEST.0,
        OLDEST.1,
        home.display()
    );
    install(&home, guard).await?;
    let [_, program] = candidates;
    match version(&program).await {
        Some(_) => Ok(Tool { program }),
        None => Err(impossible("it was installed but does not run on this machine")),
    }
}

/// A virtual environment keeps the user's own Python as it is. Where Python came without `venv`, a folder does as well.
async fn install(home: &Path, guard: &mut Guard) -> Result<(), Failure> {
    let home_text = home.display().to_string();
    let package = format!("cargo-lambda=={PINNED}");
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"];
    if run("python3", &["-m", "venv", &home_text], guard).await {
        let python = home.join("bin/python3").display().to_string();
        if run(&python, &[&pip[..], &[&package]].concat(), guard).await {
            return Ok(());
        }
    }
    if run("python3", &[&pip[..], &["--target", &home_text, "--upgrade", &package]].concat(), guard).await {
        return Ok(());
    }
    Err(impossible(
        "Python's pip could not install it (its messages are above; where they say that `venv` or `pip` is missing, on Debian \
         and Ubuntu `apt-get install python3-venv` brings both)",
    ))
}

async fn run(program: &str, arguments: &[&str], guard: &mut Guard) -> bool {
    let Ok(mut child) = Command::new(program).args(arguments).stdin(Stdio::null()).spawn() else { return false };
    let _ = guard.adopt(&child).await;
    child.wait().await.is_ok_and(|status| status.success())
}

async fn version(program: &Path) -> Option<(u32, u32)> {
    let output = Command::new(program).args(["lambda", "--version"]).stdin(Stdio::null()).output().await.ok()?;
    parse_version(&String::from_utf8_lossy(&output.stdout))
}

/// `cargo-lambda 1.9.2 (67129fc 2026-08-21Z)`, colours and all.
fn parse_version(text: &str) -> Option<(u32, u32)> {
    let number = text.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()))?;
    let mut parts = number.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

fn impossible(why: &str) -> Failure {
    Failure::Tool(format!(
        "cargo-lambda cannot be had: {why}. Install version {PINNED} yourself, for example with \
         `python3 -m pip install cargo-lambda=={PINNED}` or `cargo install cargo-lambda --version {PINNED} --locked`, \
         and start again"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert_eq!(parse_version("cargo-lambda 1.9.2 (67129fc 2026-08-21Z)"), Some((1, 9)));
        assert!(parse_version("cargo-lambda 1.10.0").unwrap() > OLDEST);
        assert!(parse_version("cargo-lambda 1.8.6 (x)").unwrap() < OLDEST);
        assert_eq!(parse_version("command not found"), None);
    }
}
