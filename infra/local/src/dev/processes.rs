//! The processes on this machine, read from /proc (or from `ps` on macOS).

use std::collections::BTreeSet;
use std::fs;
use std::process::Stdio;

/// A process, identified by its id and its start time because ids are reused.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Process {
    /// Process id.
    pub id: u32,
    /// Start time, in the system's format.
    pub started: String,
}

/// A running process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    /// Its identity.
    pub process: Process,
    /// Id of its parent process.
    pub parent: u32,
    /// Name of its program without the folder; truncated to 15 characters on Linux.
    pub name: String,
}

/// All processes except zombies.
pub fn running() -> Vec<Running> {
    let Ok(entries) = fs::read_dir("/proc") else { return running_by_ps() };
    let stats = entries.flatten().filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok());
    stats.filter_map(|stat| parse_stat(&stat)).collect()
}

/// The running processes among `roots`, and their descendants.
pub fn with_descendants(roots: &BTreeSet<Process>) -> BTreeSet<Process> {
    let running = running();
    let mut found: BTreeSet<Process> =
        running.iter().map(|one| one.process.clone()).filter(|process| roots.contains(process)).collect();
    loop {
        let parents: BTreeSet<u32> = found.iter().map(|process| process.id).collect();
        let children = running.iter().filter(|one| parents.contains(&one.parent) && !found.contains(&one.process));
        let children: Vec<_> = children.map(|one| one.process.clone()).collect();
        if children.is_empty() {
            return found;
        }
        found.extend(children);
    }
}

/// Sends a signal, such as `TERM`, to all these processes. Those that no longer run are skipped.
pub async fn send(signal: &str, processes: impl IntoIterator<Item = u32>) {
    let mut command = tokio::process::Command::new("sh");
    command.args(["-c", "kill -\"$0\" \"$@\"", signal]).args(processes.into_iter().map(|id| id.to_string()));
    let _ = command.stderr(Stdio::null()).status().await;
}

/// `pid (name) state parent ... started ...`; the name may contain any characters.
fn parse_stat(stat: &str) -> Option<Running> {
    let (id, rest) = stat.split_once(" (")?;
    let (name, rest) = rest.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let is_zombie = fields.next()? == "Z";
    let parent = fields.next()?.parse().ok()?;
    // proc(5): the start time is field 22; two of the fields after the name are read already.
    let started = fields.nth(17)?.to_owned();
    let process = Process { id: id.parse().ok()?, started };
    (!is_zombie).then(|| Running { process, parent, name: name.to_owned() })
}

/// The processes listed by `ps`, for systems without /proc.
fn running_by_ps() -> Vec<Running> {
    let listed = std::process::Command::new("ps").args(["-A", "-o", "pid=,ppid=,stat=,lstart=,comm="]).output();
    let text = listed.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines().filter_map(parse_row).collect()
}

/// `pid ppid state`, five words of the start time, and the program, whose path may contain spaces.
fn parse_row(row: &str) -> Option<Running> {
    let mut words = row.split_whitespace();
    let (id, parent) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let is_zombie = words.next()?.starts_with('Z');
    let started: Vec<&str> = words.by_ref().take(5).collect();
    let program: Vec<&str> = words.collect();
    let name = program.join(" ").rsplit('/').next()?.to_owned();
    (!is_zombie).then(|| Running { process: Process { id, started: started.join(" ") }, parent, name })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(id: u32, parent: u32, name: &str, started: &str) -> Running {
        Running { process: Process { id, started: started.into() }, parent, name: name.into() }
    }

    #[test]
    fn a_process_with_any_name_is_parsed() {
        let after = "12 12 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 5577 9 8";
        assert_eq!(parse_stat(&format!("12 (cargo) S 7 {after}")), Some(one(12, 7, "cargo", "5577")));
        assert_eq!(parse_stat(&format!("12 (odd ) name) R 7 {after}")), Some(one(12, 7, "odd ) name", "5577")));
        assert_eq!(parse_stat(&format!("12 (gone) Z 7 {after}")), None, "it is a zombie");
        let row = "  12   7 Ss   Sun Nov 22 17:24:41 2026     /usr/local/my bin/cargo";
        assert_eq!(parse_row(row), Some(one(12, 7, "cargo", "Sun Nov 22 17:24:41 2026")));
        assert_eq!(parse_row("12 7 Z Sun Nov 22 17:24:41 2026 (cargo)"), None);
    }

    #[tokio::test]
    async fn descendants_are_found_and_a_reused_process_id_is_not() {
        let mut child = std::process::Command::new("sh").args(["-c", "sleep 60 & wait"]).spawn().unwrap();
        let own = running().into_iter().find(|one| one.process.id == child.id()).unwrap().process;
        let root = BTreeSet::from([own.clone()]);
        // The shell has not started its child yet.
        while with_descendants(&root).len() < 2 {
            std::thread::yield_now();
        }
        let another = Process { started: "another time".into(), ..own };
        assert!(with_descendants(&BTreeSet::from([another])).is_empty());
        send("TERM", with_descendants(&root).iter().map(|process| process.id)).await;
        child.wait().unwrap();
        assert!(with_descendants(&root).is_empty());
    }
}
