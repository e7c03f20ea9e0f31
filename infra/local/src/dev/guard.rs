//! No orphans: a second process that holds one end of a pipe, and ends everything we started when the other end is gone.
//!
//! It works however this process ends, killed outright included: the operating system closes the pipe.

use std::collections::BTreeSet;
use std::io;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::Mutex;

use super::processes::{Process, running, send, with_descendants};
use crate::lambda::Adopt;

/// First argument of a process that is a guard.
pub const ARGUMENT: &str = "guard-what-was-started";

/// How long processes have to end by themselves, and how often it is looked whether they did.
const PATIENCE: Duration = Duration::from_secs(3);
const GLANCE: Duration = Duration::from_millis(50);

/// This side of the guard.
pub struct Guard {
    process: Child,
    lifeline: Mutex<ChildStdin>,
}

impl Guard {
    /// Starts the guard.
    pub async fn start() -> io::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        // A group of its own: Ctrl-C is for us, who then end things in order.
        command.arg(ARGUMENT).process_group(0).stdin(Stdio::piped()).stdout(Stdio::null());
        let mut process = command.spawn()?;
        let lifeline = process.stdin.take().ok_or_else(|| io::Error::other("no pipe to the guard"))?;
        Ok(Self { process, lifeline: Mutex::new(lifeline) })
    }

    /// Puts a process and all it will ever start under guard.
    pub async fn adopt(&self, process: &Child) -> io::Result<()> {
        if let Some(id) = process.id() {
            let mut lifeline = self.lifeline.lock().await;
            lifeline.write_all(format!("{id}\n").as_bytes()).await?;
            lifeline.flush().await?;
        }
        Ok(())
    }

    /// Ends everything under guard, and waits until it has ended.
    pub async fn end(mut self) {
        drop(self.lifeline);
        let _ = self.process.wait().await;
    }
}

impl Adopt for Guard {
    async fn adopt(&self, process: &Child) {
        if let Err(error) = Self::adopt(self, process).await {
            eprintln!("undercroft: a process is not under guard: {error}");
        }
    }
}

/// The guard's side: waits for the pipe to close, then ends what it was told of and what still runs of it.
pub async fn stand() {
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let mut doomed = BTreeSet::new();
    while let Ok(Some(line)) = lines.next_line().await {
        let Ok(id) = line.trim().parse::<u32>() else { continue };
        // By the time it ends, days from now, its number alone could be another program's.
        doomed.extend(running().into_iter().map(|one| one.process).find(|process| process.id == id));
    }
    for signal in ["TERM", "KILL"] {
        doomed = with_descendants(&doomed);
        if doomed.is_empty() {
            return;
        }
        send(signal, doomed.iter().map(|process| process.id)).await;
        doomed = wait_for_end(doomed).await;
    }
}

async fn wait_for_end(mut doomed: BTreeSet<Process>) -> BTreeSet<Process> {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !doomed.is_empty() && tokio::time::Instant::now() < deadline {
        tokio::time::sleep(GLANCE).await;
        doomed = with_descendants(&doomed);
    }
    doomed
}
