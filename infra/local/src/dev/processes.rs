//! What runs on this machine: read where the system lists it, so that neither `ps` nor `kill` has to be installed.

use std::collections::BTreeSet;
use std::fs;
use std::process::Stdio;

/// A process, told apart from a later one that gets the same number.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Process {
    /// Its number, until it has ended.
    pub id: u32,
    /// When it was started, in whatever way the system says it.
    pub started: String,
}

/// A process as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    /// Which one it is.
    pub process: Process,
    /// The number of the process that started it.
    pub parent: u32,
    /// Name of its program, without the folder; cut off after 15 characters on Linux.
    pub name: String,
}

/// All processes, without those that have ended and only wait to be noticed.
pub fn running() -> Vec<Running> {
    let Ok(entries) = fs::read_dir("/proc") else { return running_by_ps() };
    let stats = entries.flatten().filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok());
    stats.filter_map(|stat| parse_stat(&stat)).collect()
}

/// Those of `roots` that still run, and everything they started.
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

/// Sends a signal, such as `TERM`, to all of them. One that has ended meanwhile takes nothing from the others.
pub async fn send(signal: &str, processes: impl IntoIterator<Item = u32>) {
    let mut command = tokio::process::Command::new("sh");
    command.args(["-c", "kill -\"$0\" \"$@\"", signal]).args(processes.into_iter().map(|id| id.to_string()));
    let _ = command.stderr(Stdio::null()).status().await;
}

/// `pid (name) state parent ... started ...`, where the name may hold anything, brackets included.
fn parse_stat(stat: &str) -> Option<Running> {
    let (id, rest) = stat.split_once(" (")?;
    let (name, rest) = rest.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let is_over = fields.next()? == "Z";
    let parent = fields.next()?.parse().ok()?;
    // proc(5): the start is field 22, and two of the fields after the name are read already.
    let started = fields.nth(17)?.to_owned();
    let process = Process { id: id.parse().ok()?, started };
    (!is_over).then(|| Running { process, parent, name: name.to_owned() })
}

/// Where there is no /proc (macOS) there is always a ps.
fn running_by_ps() -> Vec<Running> {
    let listed = std::process::Command::new("ps").args(["-A", "-o", "pid=,ppid=,stat=,lstart=,comm="]).output();
    let text = listed.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines().filter_map(parse_row).collect()
}

/// `pid ppid state`, five words for when it was started, and the program, whose path may have blanks.
fn parse_row(row: &str) -> Option<Running> {
    let mut words = row.split_whitespace();
    let (id, parent) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let is_over = words.next()?.starts_with('Z');
    let started: Vec<&str> = words.by_ref().take(5).collect();
    let program: Vec<&str> = words.collect();
    let name = program.join(" ").rsplit('/').next()?.to_owned();
    (!is_over).then(|| Running { process: Process { id, started: started.join(" ") }, parent, name })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(id: u32, parent: u32, name: &str, started: &str) -> Running {
        Running { process: Process { id, started: started.into() }, parent, name: name.into() }
    }

    #[test]
    fn a_process_is_read_whatever_its_name() {
        let after = "12 12 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 5577 9 8";
        assert_eq!(parse_stat(&format!("12 (cargo) S 7 {after}")), Some(one(12, 7, "cargo", "5577")));
        assert_eq!(parse_stat(&format!("12 (odd ) name) R 7 {after}")), Some(one(12, 7, "odd ) name", "5577")));
        assert_eq!(parse_stat(&format!("12 (gone) Z 7 {after}")), None, "it has ended already");
        let row = "  12   7 Ss   Sun Nov 22 17:24:41 2026     /usr/local/my bin/cargo";
        assert_eq!(parse_row(row), Some(one(12, 7, "cargo", "Sun Nov 22 17:24:41 2026")));
        assert_eq!(parse_row("12 7 Z Sun Nov 22 17:24:41 2026 (cargo)"), None);
    }

    #[tokio::test]
    async fn a_descendant_is_found_through_its_parents_and_a_number_given_away_again_is_not() {
        let mut child = std::process::Command::new("sh").args(["-c", "sleep 60 & wait"]).spawn().unwrap();
        let own = running().into_iter().find(|one| one.process.id == child.id()).unwrap().process;
        let root = BTreeSet::from([own.clone()]);
        // The shell needs a moment to start its own child.
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
