//! A part of a processor: what Lambda gives a function of little memory. By Linux's control groups, of either version; where
//! they are not there or not ours to make, there is no slice, and whoever asked says so.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Over which a slice is shared out, in microseconds: as short as Lambda's own.
const PERIOD: u32 = 20_000;

/// A control group. Removed when dropped.
#[derive(Debug)]
pub struct Slice {
    group: PathBuf,
}

impl Slice {
    /// A slice of so many hundredths of one processor.
    ///
    /// # Errors
    /// When this machine or this user has no control groups.
    pub fn of_percent(percent: u32) -> io::Result<Self> {
        let quota = PERIOD * percent / 100;
        let name = format!("undercroft-bench-{}", std::process::id());
        let second = Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
        let above = if second { "/sys/fs/cgroup" } else { "/sys/fs/cgroup/cpu" };
        let slice = Self { group: Path::new(above).join(name) };
        fs::create_dir(&slice.group)?;
        if second {
            fs::write(slice.group.join("cpu.max"), format!("{quota} {PERIOD}"))?;
        } else {
            fs::write(slice.group.join("cpu.cfs_period_us"), PERIOD.to_string())?;
            fs::write(slice.group.join("cpu.cfs_quota_us"), quota.to_string())?;
        }
        Ok(slice)
    }

    /// A command that starts `bootstrap` in this slice: a shell joins it, then becomes the bootstrap.
    pub fn command(&self, bootstrap: &Path) -> Command {
        let mut command = Command::new("/bin/sh");
        let join = r#"echo $$ > "$0" && exec "$1""#;
        command.arg("-c").arg(join).arg(self.group.join("cgroup.procs")).arg(bootstrap);
        command
    }
}

impl Drop for Slice {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.group);
    }
}
