//! A watchdog process that stops all started processes when `cargo dev` ends, even if it is killed: the operating system then
//! closes the pipe from which the watchdog reads.

use std::collections::BTreeSet;
use std::io;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::Mutex;

use super::processes::{Process, running, send, with_descendants};
use crate::lambda::ProcessRegistry;

/// First argument of the watchdog process.
pub const ARGUMENT: &str = "process-watchdog";

/// How long processes have to exit after SIGTERM.
const GRACE: Duration = Duration::from_secs(3);
/// How often it is checked whether they have exited.
const CHECK_EVERY: Duration = Duration::from_millis(50);

/// The connection to the watchdog process.
pub struct Watchdog {
    process: Child,
    pipe: Mutex<ChildStdin>,
}

impl Watchdog {
    /// Starts the watchdog process.
    pub async fn start() -> io::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        // In a process group of its own, so that Ctrl-C does not stop it.
        command.arg(ARGUMENT).process_group(0).stdin(Stdio::piped()).stdout(Stdio::null());
        let mut process = command.spawn()?;
        let pipe = process.stdin.take().ok_or_else(|| io::Error::other("no pipe to the watchdog"))?;
        Ok(Self { process, pipe: Mutex::new(pipe) })
    }

    /// Registers a process. It and its descendants are stopped when `cargo dev` ends.
    pub async fn register(&self, process: &Child) -> io::Result<()> {
        if let Some(id) = process.id() {
            let mut pipe = self.pipe.lock().await;
            pipe.write_all(format!("{id}\n").as_bytes()).await?;
            pipe.flush().await?;
        }
        Ok(())
    }

    /// Stops all registered processes, and waits until they have exited.
    pub async fn stop(mut self) {
        drop(self.pipe);
        let _ = self.process.wait().await;
    }
}

impl ProcessRegistry for Watchdog {
    async fn register(&self, process: &Child) {
        if let Err(error) = Self::register(self, process).await {
            eprintln!("undercroft: a process may be left running, the watchdog cannot be reached: {error}");
        }
    }
}

/// The watchdog process: waits until the pipe is closed, then stops the registered processes and their descendants.
pub async fn run() {
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let mut orphans = BTreeSet::new();
    while let Ok(Some(line)) = lines.next_line().await {
        let Ok(id) = line.trim().parse::<u32>() else { continue };
        // The start time is stored as well: later the same process id could belong to another program.
        orphans.extend(running().into_iter().map(|one| one.process).find(|process| process.id == id));
    }
    for signal in ["TERM", "KILL"] {
        orphans = with_descendants(&orphans);
        if orphans.is_empty() {
            return;
        }
        send(signal, orphans.iter().map(|process| process.id)).await;
        orphans = wait_for_exit(orphans).await;
    }
}

async fn wait_for_exit(mut orphans: BTreeSet<Process>) -> BTreeSet<Process> {
    let deadline = tokio::time::Instant::now() + GRACE;
    while !orphans.is_empty() && tokio::time::Instant::now() < deadline {
        tokio::time::sleep(CHECK_EVERY).await;
        orphans = with_descendants(&orphans);
    }
    orphans
}
