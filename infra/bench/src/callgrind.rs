//! A function under valgrind's callgrind, and the number of instructions since the last count. It counts only the function's own
//! process, so it does not depend on the load of the machine.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;
use undercroft::error::Source;

use crate::runtime::{Answer, Environment};

/// Number of started processes, so that each has its own files.
static STARTED: AtomicU32 = AtomicU32::new(0);

/// A function whose instructions are counted.
#[derive(Debug)]
pub struct Counted {
    environment: Environment,
    out: PathBuf,
    dumps: u32,
}

impl Counted {
    /// Starts `bootstrap` under callgrind, which writes its files into `folder`, or into the one that the variable `KEEP`
    /// names, for `callgrind_annotate`. The first count begins with the process.
    ///
    /// # Errors
    /// When valgrind is not installed.
    pub fn spawn(bootstrap: &Path, variables: &BTreeMap<String, String>, folder: &Path) -> Result<Self, Source> {
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::var_os("KEEP").map_or_else(|| folder.to_owned(), PathBuf::from);
        let out = folder.join(format!("callgrind.{number}"));
        let mut command = Command::new("valgrind");
        command
            .args(["--tool=callgrind", "--quiet", &format!("--callgrind-out-file={}", out.display())])
            .arg(bootstrap);
        let environment = Environment::spawn(command, variables)
            .map_err(|error| format!("valgrind cannot be started ({error}); on Debian: apt-get install valgrind"))?;
        Ok(Self { environment, out, dumps: 0 })
    }

    /// Waits until the function has started and is idle.
    ///
    /// # Errors
    /// When it ends instead.
    pub fn rest(&mut self) -> Result<(), Source> {
        self.environment.rest()
    }

    /// Queues an event for a function that is starting, and waits until it has answered and is idle.
    ///
    /// # Errors
    /// When it ends or fails instead.
    pub fn first(&mut self, event: &Value) -> Result<Answer, Source> {
        self.environment.hand(event);
        let answer = self.environment.answer()?;
        self.environment.rest()?;
        Ok(answer)
    }

    /// Sends an event to an idle function until it succeeds, without counting: the first call of a kind opens connections and
    /// compiles schemas. A write that is too slow because of that answers 503.
    ///
    /// # Errors
    /// When the function keeps refusing.
    pub fn warm(&mut self, event: &Value) -> Result<(), Source> {
        let mut answer = self.environment.invoke(event)?;
        for _ in 0..5 {
            if answer.status < 300 {
                break;
            }
            answer = self.environment.invoke(event)?;
        }
        self.count()?;
        if answer.status < 300 { Ok(()) } else { Err(format!("{}: {}", answer.status, answer.body).into()) }
    }

    /// Sends an event to an idle function, and returns its answer and the instructions until it is idle again.
    ///
    /// # Errors
    /// When the function ends or fails instead.
    pub fn invoke(&mut self, event: &Value) -> Result<(Answer, u64), Source> {
        let answer = self.environment.invoke(event)?;
        Ok((answer, self.count()?))
    }

    /// Instructions since the last count, or since the process began.
    ///
    /// # Errors
    /// When callgrind does not answer.
    pub fn count(&mut self) -> Result<u64, Source> {
        let asked = Command::new("callgrind_control")
            .args(["--dump", &self.environment.id().to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()?;
        if !asked.success() {
            return Err("callgrind_control could not reach the function".into());
        }
        self.dumps += 1;
        instructions(&PathBuf::from(format!("{}.{}", self.out.display(), self.dumps)))
    }
}

/// The total in one of callgrind's files.
///
/// # Errors
/// When it is not such a file.
pub fn instructions(file: &Path) -> Result<u64, Source> {
    let text = fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let total = text.lines().find_map(|line| line.strip_prefix("totals: "));
    Ok(total.ok_or("callgrind wrote no totals")?.trim().parse()?)
}
