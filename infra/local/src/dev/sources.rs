//! Watches the sources: when a source file of a function changes, the function is rebuilt, and the new program replaces the
//! running one. The compiler lists the source files next to each binary (`.d`).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::build::{self, Built};
use super::watchdog::Watchdog;
use crate::lambda::Lambda;

/// How often the files are checked. A change is reported when nothing has changed since the last check.
const CHECK_EVERY: Duration = Duration::from_millis(500);

/// Modification time of each file; `None` for a missing file.
type Times = BTreeMap<PathBuf, Option<SystemTime>>;

/// The source files of the built functions.
#[derive(Debug)]
pub struct Sources {
    binaries: BTreeMap<String, PathBuf>,
    built: BTreeMap<String, Option<SystemTime>>,
    seen: Times,
}

impl Sources {
    /// The sources of what was just built.
    pub fn new(root: &Path, built: &Built) -> Self {
        let binaries = built.binaries.clone();
        Self { seen: times(&files(root, &binaries)), built: written(&binaries), binaries }
    }

    /// Rebuilds and replaces changed functions, for as long as it is polled.
    pub async fn follow(&mut self, root: &Path, release: bool, watchdog: &Watchdog, lambda: &Lambda) {
        loop {
            self.change().await;
            eprintln!("undercroft: source files have changed; building");
            match build::functions(root, release, watchdog).await {
                Ok(built) if built.is_complete => self.replace(root, built, lambda).await,
                Ok(_) => {
                    eprintln!(
                        "undercroft: the functions do not compile (see the errors above); the previous build keeps running"
                    )
                }
                Err(failure) => eprintln!("undercroft: {failure}"),
            }
        }
    }

    /// Waits until a source file has changed and no further change follows.
    async fn change(&mut self) {
        let mut before = self.seen.clone();
        loop {
            tokio::time::sleep(CHECK_EVERY).await;
            if self.is_complete_change(&mut before) {
                return;
            }
        }
    }

    /// Whether a file has changed, but none since the previous check.
    fn is_complete_change(&mut self, before: &mut Times) -> bool {
        let now = times(self.seen.keys());
        let is_complete = now != self.seen && now == *before;
        if is_complete {
            self.seen.clone_from(&now);
        }
        *before = now;
        is_complete
    }

    async fn replace(&mut self, root: &Path, built: Built, lambda: &Lambda) {
        let written = written(&built.binaries);
        for (name, time) in &written {
            if self.built.get(name) == Some(time) {
                continue;
            }
            match lambda.start(name).await {
                true => eprintln!("undercroft: {name} was replaced by the new build"),
                false => eprintln!(
                    "undercroft: {name} does not start (see its output above); the previous build keeps running"
                ),
            }
        }
        // Files that changed during the build are noticed at the next check: only the times of new files are read now.
        for (file, time) in times(&files(root, &built.binaries)) {
            self.seen.entry(file).or_insert(time);
        }
        (self.binaries, self.built) = (built.binaries, written);
    }
}

fn written(binaries: &BTreeMap<String, PathBuf>) -> BTreeMap<String, Option<SystemTime>> {
    binaries.iter().map(|(name, path)| (name.clone(), time(path))).collect()
}

fn times<'a>(files: impl IntoIterator<Item = &'a PathBuf>) -> Times {
    files.into_iter().map(|file| (file.clone(), time(file))).collect()
}

fn time(file: &Path) -> Option<SystemTime> {
    fs::metadata(file).and_then(|metadata| metadata.modified()).ok()
}

/// The source files of these binaries, their Cargo.toml files, and those of the workspace.
fn files(root: &Path, binaries: &BTreeMap<String, PathBuf>) -> BTreeSet<PathBuf> {
    let lists = binaries.values().filter_map(|path| fs::read_to_string(path.with_extension("d")).ok());
    let sources: BTreeSet<PathBuf> = lists.flat_map(|list| listed(&list)).collect();
    let manifest = |source: &PathBuf| {
        source.ancestors().skip(1).map(|folder| folder.join("Cargo.toml")).find(|manifest| manifest.is_file())
    };
    let manifests: BTreeSet<PathBuf> = sources.iter().filter_map(manifest).collect();
    let of_workspace = ["Cargo.toml", "Cargo.lock"].map(|name| root.join(name));
    sources.into_iter().chain(manifests).chain(of_workspace).collect()
}

/// The files in a `.d` file: `binary: source source ...`, with escaped spaces in paths.
fn listed(list: &str) -> Vec<PathBuf> {
    let of_line = |line: &str| {
        let sources = line.split_once(": ").map_or("", |(_, sources)| sources).replace("\\ ", "\0");
        sources.split_whitespace().map(|source| PathBuf::from(source.replace('\0', " "))).collect::<Vec<_>>()
    };
    list.lines().flat_map(of_line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn source_files_are_read_from_the_compilers_list_with_their_manifests() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let source = root.join("functions/my auth/src/main.rs");
        fs::create_dir_all(source.parent().unwrap()).unwrap();
        fs::write(&source, "").unwrap();
        fs::write(root.join("functions/my auth/Cargo.toml"), "").unwrap();
        let binary = root.join("auth");
        let escaped = source.display().to_string().replace(' ', "\\ ");
        fs::write(root.join("auth.d"), format!("{}: {escaped} /elsewhere/lib.rs\n", binary.display())).unwrap();
        let found = files(root, &BTreeMap::from([("auth".into(), binary)]));
        let expected = ["Cargo.lock", "Cargo.toml", "functions/my auth/Cargo.toml", "functions/my auth/src/main.rs"];
        let expected = expected.map(|name| root.join(name)).into_iter().chain(["/elsewhere/lib.rs".into()]);
        assert_eq!(found, expected.collect());
    }

    #[test]
    fn a_change_is_reported_once_and_when_it_is_complete() {
        let folder = tempfile::tempdir().unwrap();
        let lock = folder.path().join("Cargo.lock");
        let mut sources = Sources::new(folder.path(), &Built::default());
        let mut before = sources.seen.clone();
        let mut check = |expected: [bool; 3], why: &str| {
            assert_eq!([(); 3].map(|()| sources.is_complete_change(&mut before)), expected, "{why}");
        };
        check([false; 3], "nothing has changed");
        fs::write(&lock, "").unwrap();
        check([false, true, false], "it is reported once, and not while the file may still be written");
        fs::remove_file(&lock).unwrap();
        check([false, true, false], "a deleted file has changed");
    }
}
