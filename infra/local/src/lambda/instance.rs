//! A function's process: started, watched, and replaced when it ends.

use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use tokio::process::{Child, Command};

use super::{Function, Lambda};

/// A process that lived this long was started well: the next one is started at once.
const WELL: Duration = Duration::from_secs(1);
/// The first and the longest pause before a process is started again that does not even start.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Told of every process that is started, so that none is left running.
pub trait Adopt {
    /// Takes note of a process.
    fn adopt(&self, process: &Child) -> impl Future<Output = ()>;
}

/// A place for one instance: as long as it is kept, a process is in it.
#[derive(Debug)]
pub struct Keeper {
    pub function: String,
    pub generation: u64,
}

impl Lambda {
    /// Keeps an instance running until it is retired.
    pub(super) async fn keep(&self, keeper: Keeper, adopt: &impl Adopt) {
        let Some(function) = self.functions.get(&keeper.function) else { return };
        let mut pause = PAUSES.0;
        while function.pool.is_current(keeper.generation) {
            let began = Instant::now();
            let Some(how) = self.run_one(function, keeper.generation, adopt).await else { break };
            eprintln!("undercroft: {} ended ({how}) and is started again", keeper.function);
            if began.elapsed() < WELL {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PAUSES.1);
            } else {
                pause = PAUSES.0;
            }
        }
        function.pool.expect_one_less(keeper.generation);
    }

    /// Runs one process to its end. Returns how it ended, or nothing when it was meant to.
    async fn run_one(&self, function: &Function, generation: u64, adopt: &impl Adopt) -> Option<String> {
        let (number, stop) = function.pool.add(generation);
        let how = match self.command(function, number).spawn() {
            Ok(mut child) => {
                adopt.adopt(&child).await;
                let ended = tokio::select! {
                    ended = child.wait() => ended,
                    () = stop.notified() => {
                        let _ = child.start_kill();
                        child.wait().await
                    }
                };
                told(ended)
            }
            Err(error) => format!("{} cannot be run: {error}", function.program.path.display()),
        };
        (!function.pool.gone(number, &how)).then_some(how)
    }

    fn command(&self, function: &Function, number: u64) -> Command {
        let program = &function.program;
        let mut command = Command::new(&program.path);
        // A developer's own AWS session must not leak into functions that believe they are in another account.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("AWS_") {
                command.env_remove(name);
            }
        }
        command
            .env("AWS_LAMBDA_FUNCTION_NAME", &program.name)
            .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "1024")
            .env("AWS_LAMBDA_LOG_GROUP_NAME", format!("/aws/lambda/{}", program.name))
            .env("AWS_LAMBDA_LOG_STREAM_NAME", number.to_string())
            .env("AWS_LAMBDA_RUNTIME_API", self.runtime_address(&program.name, number))
            .envs(&program.environment)
            .stdin(Stdio::null())
            // Ctrl-C is for us, who then end things in order.
            .process_group(0)
            .kill_on_drop(true);
        command
    }
}

fn told(ended: std::io::Result<ExitStatus>) -> String {
    ended.map_or_else(|error| error.to_string(), |status| status.to_string())
}
