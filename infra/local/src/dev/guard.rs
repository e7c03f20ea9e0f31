//! No orphans: a second process that holds one end of a pipe, and ends everything we started when the other end is gone.
//!
//! It works however this process ends, killed outright included: the operating system closes the pipe.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, Command};

/// First argument of a process that is a guard.
pub const ARGUMENT: &str = "guard-what-was-started";

/// How long processes have to end by themselves, and how often it is looked whether they did.
const PATIENCE: Duration = Duration::from_secs(3);
const GLANCE: Duration = Duration::from_millis(50);

/// This side of the guard.
pub struct Guard {
    process: Child,
    lifeline: ChildStdin,
}

impl Guard {
    /// Starts the guard.
    pub async fn start() -> io::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        // A group of its own: Ctrl-C is for us, who then end things in order.
        command.arg(ARGUMENT).process_group(0).stdin(Stdio::piped()).stdout(Stdio::null());
        let mut process = command.spawn()?;
        let lifeline = process.stdin.take().ok_or_else(|| io::Error::other("no pipe to the guard"))?;
        Ok(Self { process, lifeline })
    }

    /// Puts a process and all it will ever start under guard.
    pub async fn adopt(&mut self, process: &Child) -> io::Result<()> {
        if let Some(id) = process.id() {
            self.lifeline.write_all(format!("{id}\n").as_bytes()).await?;
            self.lifeline.flush().await?;
        }
        Ok(())
    }

    /// Ends everything under guard, and waits until it has ended.
    pub async fn end(mut self) {
        drop(self.lifeline);
        let _ = self.process.wait().await;
    }
}

/// The guard's side: waits for the pipe to close, then ends what it was told of.
pub async fn stand() {
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let mut roots = BTreeSet::new();
    while let Ok(Some(line)) = lines.next_line().await {
        roots.extend(line.trim().parse::<u32>());
    }
    let mut doomed = roots;
    for signal in ["TERM", "KILL"] {
        doomed = with_descendants(&doomed);
        if doomed.is_empty() {
            return;
        }
        send(signal, &doomed).await;
        doomed = wait_for_end(doomed).await;
    }
}

async fn wait_for_end(mut doomed: BTreeSet<u32>) -> BTreeSet<u32> {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !doomed.is_empty() && tokio::time::Instant::now() < deadline {
        tokio::time::sleep(GLANCE).await;
        doomed = with_descendants(&doomed);
    }
    doomed
}

async fn send(signal: &str, processes: &BTreeSet<u32>) {
    let mut command = Command::new("sh");
    command.args(["-c", "kill -\"$0\" \"$@\" 2>/dev/null", signal]).args(processes.iter().map(u32::to_string));
    let _ = command.status().await;
}

/// Those of `roots` that still run, and everything they started.
fn with_descendants(roots: &BTreeSet<u32>) -> BTreeSet<u32> {
    let running = running();
    let mut found: BTreeSet<u32> = running.iter().map(|(id, _)| *id).filter(|id| roots.contains(id)).collect();
    loop {
        let children = running.iter().filter(|(id, parent)| found.contains(parent) && !found.contains(id));
        let children: Vec<_> = children.map(|(id, _)| *id).collect();
        if children.is_empty() {
            return found;
        }
        found.extend(children);
    }
}

/// All processes with their parents, without those that have ended and only wait to be noticed.
fn running() -> Vec<(u32, u32)> {
    let Ok(entries) = fs::read_dir("/proc") else { return running_by_ps() };
    let stats = entries.flatten().filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok());
    stats.filter_map(|stat| parse_stat(&stat)).collect()
}

/// `pid (name) state parent ...`, where the name may hold anything, brackets included.
fn parse_stat(stat: &str) -> Option<(u32, u32)> {
    let (id, rest) = stat.split_once(' ')?;
    let mut fields = rest.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    (state != "Z").then_some((id.parse().ok()?, parent))
}

/// Where there is no /proc (macOS) there is always a ps.
fn running_by_ps() -> Vec<(u32, u32)> {
    let listed = std::process::Command::new("ps").args(["-A", "-o", "pid=,ppid=,stat="]).output();
    let text = listed.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let parse = |line: &str| {
        let mut fields = line.split_whitespace();
        let pair = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        (!fields.next()?.starts_with('Z')).then_some(pair)
    };
    text.lines().filter_map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read_whatever_its_name() {
        assert_eq!(parse_stat("12 (cargo) S 7 12 12 0"), Some((12, 7)));
        assert_eq!(parse_stat("12 (odd ) name) R 7 12"), Some((12, 7)));
        assert_eq!(parse_stat("12 (gone) Z 7 12"), None, "it has ended already");
    }

    #[test]
    fn a_descendant_is_found_through_its_parents() {
        let mut child = std::process::Command::new("sh").args(["-c", "sleep 60 & wait"]).spawn().unwrap();
        let root = BTreeSet::from([child.id()]);
        // The shell needs a moment to start its own child.
        while with_descendants(&root).len() < 2 {
            std::thread::yield_now();
        }
        let tree: Vec<_> = with_descendants(&root).iter().map(u32::to_string).collect();
        std::process::Command::new("kill").args(&tree).status().unwrap();
        child.wait().unwrap();
        assert!(with_descendants(&root).is_empty());
    }
}
