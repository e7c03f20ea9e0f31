//! Sources, watched: when one of those a function was built from changes, it is built anew, and the new program replaces the
//! running one. Which they are the compiler has written down beside each binary.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::build::{self, Built};
use super::guard::Guard;
use crate::lambda::Lambda;

/// How often it is looked. What changes between two looks is still being written, or is more than one file.
const LOOK: Duration = Duration::from_millis(500);

/// When each file was last written; one that is not there has no such time.
type Times = BTreeMap<PathBuf, Option<SystemTime>>;

/// What the functions were built from, as it was then.
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

    /// Builds and replaces what changes, for as long as it is polled.
    pub async fn follow(&mut self, root: &Path, release: bool, guard: &Guard, lambda: &Lambda) {
        loop {
            self.change().await;
            eprintln!("undercroft: sources have changed; building");
            match build::functions(root, release, guard).await {
                Ok(built) if built.is_complete => self.replace(root, built, lambda).await,
                Ok(_) => {
                    eprintln!("undercroft: that does not compile (the errors are above); what ran goes on running")
                }
                Err(failure) => eprintln!("undercroft: {failure}"),
            }
        }
    }

    /// Waits until a source has changed and no other does any more.
    async fn change(&mut self) {
        let mut before = self.seen.clone();
        loop {
            tokio::time::sleep(LOOK).await;
            if self.is_over(&mut before) {
                return;
            }
        }
    }

    /// Whether something has changed, and nothing since the look before.
    fn is_over(&mut self, before: &mut Times) -> bool {
        let now = times(self.seen.keys());
        let is_over = now != self.seen && now == *before;
        if is_over {
            self.seen.clone_from(&now);
        }
        *before = now;
        is_over
    }

    async fn replace(&mut self, root: &Path, built: Built, lambda: &Lambda) {
        let written = written(&built.binaries);
        for (name, time) in &written {
            if self.built.get(name) == Some(time) {
                continue;
            }
            match lambda.start(name).await {
                true => eprintln!("undercroft: {name} runs anew"),
                false => eprintln!("undercroft: {name} does not start (its output is above); what ran goes on running"),
            }
        }
        // What changed while it was built is noticed at the next look: only new files are taken as they are now.
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

/// The sources of these binaries, their manifests, and the workspace's.
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

/// The files in what the compiler wrote down: `binary: source source ...`, blanks in a path escaped.
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
    fn sources_are_those_the_compiler_has_written_down_and_their_manifests() {
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
    fn a_change_is_told_when_it_is_over_and_once() {
        let folder = tempfile::tempdir().unwrap();
        let lock = folder.path().join("Cargo.lock");
        let mut sources = Sources::new(folder.path(), &Built::default());
        let mut before = sources.seen.clone();
        let mut looks = |expected: [bool; 3], why: &str| {
            assert_eq!([(); 3].map(|()| sources.is_over(&mut before)), expected, "{why}");
        };
        looks([false; 3], "nothing has changed");
        fs::write(&lock, "").unwrap();
        looks([false, true, false], "it is told once, and not while it may still be written");
        fs::remove_file(&lock).unwrap();
        looks([false, true, false], "what is gone has changed");
    }
}
