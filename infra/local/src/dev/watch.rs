//! `cargo lambda watch`: serves the API, starts each function on its first call and again when its source changes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use super::build::without_cargos_variables;
use super::failure::Failure;
use super::guard::Guard;
use super::options::Options;
use super::runner;
use super::tool::Tool;
use crate::cloud::LocalCloud;

/// A developer's own AWS session must not leak into functions that believe they are in another account.
const OF_THE_DEVELOPER: &[&str] = &["AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN"];

/// The running tool.
pub struct Watch {
    process: Child,
}

impl Watch {
    /// Starts it, with every function's environment at hand for the moment the function starts.
    pub async fn start(
        tool: &Tool,
        root: &Path,
        data: &Path,
        options: &Options,
        cloud: &LocalCloud,
        guard: &mut Guard,
    ) -> Result<Self, Failure> {
        let failed =
            |error: std::io::Error| Failure::Tool(format!("{} cannot be run: {error}", tool.program.display()));
        let mut command = Command::new(&tool.program);
        without_cargos_variables(&mut command);
        for name in OF_THE_DEVELOPER {
            command.env_remove(name);
        }
        command
            .current_dir(root)
            .args(["lambda", "watch", "--disable-cors", "--invoke-address", "127.0.0.1"])
            .args(["--invoke-port", &options.port.to_string()])
            // No --timeout: it would also cut off functions that only wait for their next call, and end them for good.
            .args(["--concurrency", &options.concurrency.to_string()])
            .args(options.release.then_some("--release"))
            .args(["--config", &runner::cargo_setting().map_err(failed)?])
            .env(runner::ENVIRONMENTS, runner::environments(cloud))
            // The tool speaks up when something is wrong; what it does otherwise is told better by the functions' own lines.
            .env("RUST_LOG", "cargo_lambda=warn")
            .stdin(Stdio::null())
            .process_group(0);
        if let Some(ignored) = ignore_file(root, data) {
            command.env("CARGO_LAMBDA_IGNORE_FILE", ignored);
        }
        let process = command.spawn().map_err(failed)?;
        guard.adopt(&process).await.map_err(failed)?;
        Ok(Self { process })
    }

    /// Waits for it to end by itself, which it should not.
    pub async fn ended(&mut self) -> Failure {
        let status = self.process.wait().await;
        let how = status.map_or_else(|error| error.to_string(), |status| status.to_string());
        Failure::Other(format!("cargo lambda watch ended ({how}); its output is above"))
    }
}

/// Waits until something answers on the port.
pub async fn await_port(port: u16) {
    while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// What the watcher must not take for a change of source: everything in the data folder, if that lies in the workspace.
fn ignore_file(root: &Path, data: &Path) -> Option<PathBuf> {
    let data = data.canonicalize().ok()?;
    let inside = data.strip_prefix(root.canonicalize().ok()?).ok()?;
    let place = data.join("ignore");
    fs::write(&place, format!("/{}/\n*.db-wal\n*.db-shm\n", inside.display())).ok()?;
    Some(place)
}
