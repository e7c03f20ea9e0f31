//! Execution environments: a function's processes, which are started, watched, and restarted when they exit.

use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use tokio::process::{Child, Command};

use super::functions::{EnvironmentRequest, Lambda, LambdaFunction};

/// A process that ran this long has started properly: the next one is started without a delay.
const STARTED_AFTER: Duration = Duration::from_secs(1);
/// The shortest and the longest delay before a process that failed to start is started again.
const RESTART_DELAYS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Records every started process, so that none is left running.
pub trait ProcessRegistry {
    /// Records a process.
    fn register(&self, process: &Child) -> impl Future<Output = ()>;
}

/// Keeps one execution environment running until its program is replaced.
pub(super) async fn keep_running(lambda: &Lambda, request: EnvironmentRequest, registry: &impl ProcessRegistry) {
    let Some(function) = lambda.function(&request.function) else { return };
    let mut delay = RESTART_DELAYS.0;
    while function.pool.is_current(request.generation) {
        let started = Instant::now();
        let Some(how) = run_process(lambda, function, request.generation, registry).await else { break };
        eprintln!("undercroft: {} ended ({how}) and is started again", request.function);
        if started.elapsed() < STARTED_AFTER {
            tokio::time::sleep(delay).await;
            delay = (delay * 2).min(RESTART_DELAYS.1);
        } else {
            delay = RESTART_DELAYS.0;
        }
    }
    function.pool.unplan_one(request.generation);
}

/// Runs one process until it exits. Returns how it exited; `None` when it was stopped on purpose.
async fn run_process(
    lambda: &Lambda,
    function: &LambdaFunction,
    generation: u64,
    registry: &impl ProcessRegistry,
) -> Option<String> {
    let (number, stop) = function.pool.add(generation);
    let how = match command(lambda, function, number).spawn() {
        Ok(mut child) => {
            registry.register(&child).await;
            let exited = tokio::select! {
                exited = child.wait() => exited,
                () = stop.notified() => {
                    let _ = child.start_kill();
                    child.wait().await
                }
            };
            describe(exited)
        }
        Err(error) => format!("cannot run {}: {error}", function.program.path.display()),
    };
    (!function.pool.remove(number, &how)).then_some(how)
}

fn command(lambda: &Lambda, function: &LambdaFunction, number: u64) -> Command {
    let program = &function.program;
    let mut command = Command::new(&program.path);
    // The developer's own AWS credentials must not reach the functions.
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
        .env("AWS_LAMBDA_RUNTIME_API", lambda.runtime_api_address(&program.name, number))
        .envs(&program.environment)
        .stdin(Stdio::null())
        // Ctrl-C must not reach the functions: `cargo dev` stops them itself.
        .process_group(0)
        .kill_on_drop(true);
    command
}

fn describe(exited: std::io::Result<ExitStatus>) -> String {
    exited.map_or_else(|error| error.to_string(), |status| status.to_string())
}
