//! The data folder: the files that survive a restart. Only one cloud at a time can use it, and only with the same file version.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use crate::start_error::StartError;

/// Version of the files. It changes when other versions of this program cannot read them.
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

/// An open data folder. It is locked until this is dropped; the operating system releases the lock when the process ends.
#[derive(Debug)]
pub struct DataFolder {
    path: PathBuf,
    lock: File,
}

impl Drop for DataFolder {
    /// Unlocks explicitly: closing the file is not enough while a forked child process still has it open.
    fn drop(&mut self) {
        let _ = self.lock.unlock();
    }
}

impl DataFolder {
    /// Opens the folder at `path`, and creates it if it is missing.
    ///
    /// # Errors
    /// Another cloud uses it, its files have another version, or it cannot be written.
    pub fn open(path: &Path) -> Result<Self, StartError> {
        let folder = Self::lock(path)?;
        folder.check_version()?;
        Ok(folder)
    }

    /// Opens the folder at `path` and deletes the data of an earlier cloud in it. Other files are kept.
    ///
    /// # Errors
    /// Another cloud uses it, or it cannot be written.
    pub fn open_fresh(path: &Path) -> Result<Self, StartError> {
        let folder = Self::lock(path)?;
        for name in FILES {
            match fs::remove_file(folder.file(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(unusable(path, &error)),
                _ => {}
            }
        }
        folder.check_version()?;
        Ok(folder)
    }

    /// Path of a file in this folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    fn lock(path: &Path) -> Result<Self, StartError> {
        let unusable = |error: io::Error| unusable(path, &error);
        create_private(path).map_err(unusable)?;
        // Git and file watchers must ignore the folder.
        fs::write(path.join(".gitignore"), "*\n").map_err(unusable)?;
        let lock = File::create(path.join("lock")).map_err(unusable)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), lock }),
            Err(TryLockError::WouldBlock) => Err(StartError::DataInUse { folder: path.to_owned() }),
            Err(TryLockError::Error(error)) => Err(unusable(error)),
        }
    }

    fn check_version(&self) -> Result<(), StartError> {
        let path = self.file("version");
        let found = fs::read_to_string(&path).map(|text| text.trim().to_owned());
        let is_new = !FILES.iter().any(|name| self.file(name).exists());
        match found {
            Ok(version) if version == VERSION => Ok(()),
            Err(_) if is_new => fs::write(&path, VERSION).map_err(|error| unusable(&self.path, &error)),
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
    fn a_folder_in_use_is_rejected_until_it_is_released() {
        let place = tempfile::tempdir().unwrap();
        let first = DataFolder::open(place.path()).unwrap();
        assert!(matches!(DataFolder::open(place.path()), Err(StartError::DataInUse { .. })));
        drop(first);
        assert!(DataFolder::open(place.path()).is_ok());
    }

    #[test]
    fn a_folder_is_released_even_while_a_forked_process_has_its_lock_open() {
        let place = tempfile::tempdir().unwrap();
        let first = DataFolder::open(place.path()).unwrap();
        // A forked process has every open file open until `exec` closes it.
        let _inherited = first.lock.try_clone().unwrap();
        drop(first);
        assert!(DataFolder::open(place.path()).is_ok());
    }

    #[test]
    fn files_of_another_version_are_rejected_and_a_fresh_start_deletes_only_our_files() {
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
