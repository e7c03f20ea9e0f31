//! The data folder: everything that survives a restart, for one cloud at a time and one version of its files.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use crate::error::StartError;

/// Moves when the files change in a way an older or newer program would misread.
const VERSION: &str = "1";

const FILES: &[&str] = &[
    "admin.json",
    "objects.db",
    "objects.db-shm",
    "objects.db-wal",
    "services.db",
    "services.db-shm",
    "services.db-wal",
    "tables.db",
    "tables.db-shm",
    "tables.db-wal",
    "version",
];

/// An open data folder. It is held, by a lock the operating system lets go with the process, until this is dropped.
#[derive(Debug)]
pub struct DataFolder {
    path: PathBuf,
    lock: File,
}

impl Drop for DataFolder {
    /// Closing the file is not enough: a process that is being started at this moment has it open, too, until it runs.
    fn drop(&mut self) {
        let _ = self.lock.unlock();
    }
}

impl DataFolder {
    /// Opens the folder at `path`, creating it where needed.
    ///
    /// # Errors
    /// Another cloud holds it, its files are of another version, or it cannot be written.
    pub fn open(path: &Path) -> Result<Self, StartError> {
        let folder = Self::hold(path)?;
        folder.check_version()?;
        Ok(folder)
    }

    /// Opens the folder at `path` with nothing in it: what an earlier cloud left there is deleted, and nothing else.
    ///
    /// # Errors
    /// Another cloud holds it, or it cannot be written.
    pub fn open_fresh(path: &Path) -> Result<Self, StartError> {
        let folder = Self::hold(path)?;
        for name in FILES {
            match fs::remove_file(folder.file(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(unusable(path, &error)),
                _ => {}
            }
        }
        folder.check_version()?;
        Ok(folder)
    }

    /// Where a file of this folder lies.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    fn hold(path: &Path) -> Result<Self, StartError> {
        let unusable = |error: io::Error| unusable(path, &error);
        create_private(path).map_err(unusable)?;
        // Neither git nor a file watcher has any business in here.
        fs::write(path.join(".gitignore"), "*\n").map_err(unusable)?;
        let lock = File::create(path.join("lock")).map_err(unusable)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), lock }),
            Err(TryLockError::WouldBlock) => Err(StartError::DataInUse { folder: path.to_owned() }),
            Err(TryLockError::Error(error)) => Err(unusable(error)),
        }
    }

    fn check_version(&self) -> Result<(), StartError> {
        let place = self.file("version");
        let found = fs::read_to_string(&place).map(|text| text.trim().to_owned());
        let is_new = !FILES.iter().any(|name| self.file(name).exists());
        match found {
            Ok(version) if version == VERSION => Ok(()),
            Err(_) if is_new => fs::write(&place, VERSION).map_err(|error| unusable(&self.path, &error)),
            found => Err(StartError::DataVersion {
                folder: self.path.clone(),
                found: found.unwrap_or_else(|_| "none".into()),
                wanted: VERSION,
            }),
        }
    }
}

fn unusable(path: &Path, error: &io::Error) -> StartError {
    StartError::Data { folder: path.to_owned(), why: error.to_string() }
}

#[cfg(unix)]
fn create_private(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

#[cfg(not(unix))]
fn create_private(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_in_use_is_refused_until_its_holder_lets_go() {
        let place = tempfile::tempdir().unwrap();
        let first = DataFolder::open(place.path()).unwrap();
        assert!(matches!(DataFolder::open(place.path()), Err(StartError::DataInUse { .. })));
        drop(first);
        assert!(DataFolder::open(place.path()).is_ok());
    }

    #[test]
    fn a_folder_is_let_go_even_while_a_process_that_is_being_started_has_its_lock_open() {
        let place = tempfile::tempdir().unwrap();
        let first = DataFolder::open(place.path()).unwrap();
        // What `fork` does to every open file, until `exec` closes it.
        let _inherited = first.lock.try_clone().unwrap();
        drop(first);
        assert!(DataFolder::open(place.path()).is_ok());
    }

    #[test]
    fn files_of_another_version_are_refused_and_a_fresh_start_removes_only_what_is_ours() {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join("version"), "0").unwrap();
        fs::write(place.path().join("tables.db"), "old").unwrap();
        fs::write(place.path().join("notes.txt"), "mine").unwrap();
        assert!(matches!(DataFolder::open(place.path()), Err(StartError::DataVersion { .. })));
        DataFolder::open_fresh(place.path()).unwrap();
        assert!(!place.path().join("tables.db").exists());
        assert!(place.path().join("notes.txt").exists());
        assert!(DataFolder::open(place.path()).is_ok());
    }
}
