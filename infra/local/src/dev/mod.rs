//! `cargo dev`: the whole backend on this machine.
//!
//! `options` -> `ports` and the data folder -> the cloud, while `build` compiles the functions -> the functions' processes ->
//! `admin` -> `startup_message`; then the event sources run, and `sources` rebuilds changed functions, until Ctrl-C. `watchdog`
//! stops all processes when the command ends.

mod admin;
mod build;
mod dashboard;
mod failure;
mod options;
mod ports;
pub mod processes;
mod sources;
mod startup_message;
mod watchdog;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser as _;
use futures_util::future::join_all;
use tokio::signal::unix::{SignalKind, signal};

use crate::clock::Clock;
use crate::cloud::{Data, LocalCloud};
use crate::data_folder::DataFolder;
use crate::lambda::{self, Lambda, Program, gateway};
use crate::template::{Function, Template};
use failure::Failure;
use options::CommandOptions;
use sources::Sources;
use watchdog::Watchdog;

/// How long a function has to request its first event.
const START_TIMEOUT: Duration = Duration::from_secs(120);
/// Exit code of wrong usage, as in sysexits.h. Clap's exit code 2 means a port in use here.
const USAGE: u8 = 64;

/// Runs `cargo dev`, or the watchdog process.
pub fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let Ok(runtime) = runtime else { return ExitCode::FAILURE };
    if std::env::args().nth(1).as_deref() == Some(watchdog::ARGUMENT) {
        runtime.block_on(watchdog::run());
        return ExitCode::SUCCESS;
    }
    let options = match CommandOptions::try_parse() {
        Ok(options) => options,
        Err(error) => {
            let code = if error.use_stderr() { USAGE } else { 0 };
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    let code = runtime.block_on(run_until_stopped(options));
    // Open connections must not keep the process running.
    runtime.shutdown_background();
    ExitCode::from(code)
}

async fn run_until_stopped(options: CommandOptions) -> u8 {
    let watchdog = match Watchdog::start().await {
        Ok(watchdog) => watchdog,
        Err(error) => {
            eprintln!("undercroft: cannot start: {error}");
            return 1;
        }
    };
    let code = tokio::select! {
        failure = run(options, &watchdog) => {
            eprintln!("\nundercroft: {failure}");
            failure.exit_code()
        }
        () = stop_signal() => {
            eprintln!("\nundercroft: stopping; all data is stored");
            0
        }
    };
    watchdog.stop().await;
    code
}

/// Runs until something fails.
async fn run(options: CommandOptions, watchdog: &Watchdog) -> Failure {
    match start(options, watchdog).await {
        Ok(failure) | Err(failure) => failure,
    }
}

async fn start(options: CommandOptions, watchdog: &Watchdog) -> Result<Failure, Failure> {
    let root = options::workspace_root()?;
    let template = Template::read(&root.join("template.yaml")).map_err(Failure::Template)?;
    let dashboard = ports::open(options.dashboard_port, "--dashboard-port").await?;
    let api = ports::open(options.port, "--port").await?;
    let data = options.data.clone().unwrap_or_else(|| root.join(".undercroft"));
    let folder = if options.fresh { DataFolder::open_fresh(&data) } else { DataFolder::open(&data) }?;
    let admin_file = folder.file("admin.json");

    let cloud_options = crate::cloud::Options {
        template,
        parameters: options.parameters(),
        data: Data::Folder(folder),
        endpoint: options.endpoint.clone(),
        clock: Clock::system(),
        api: options.api(),
        concurrency: options.concurrency,
    };
    eprintln!("undercroft: building the functions (minutes the first time, seconds later)");
    // If one fails, the other is cancelled: an invalid template is reported without waiting for the compiler.
    let starting = async { LocalCloud::start(cloud_options).await.map_err(Failure::from) };
    let (cloud, built) = tokio::try_join!(starting, build::functions(&root, options.release, watchdog))?;
    let cloud = Arc::new(cloud);
    build::check(&built, cloud.functions())?;

    let mut sources = Sources::new(&root, &built);
    let lambda = Lambda::new(programs(&cloud, &built), options.concurrency).await;
    let lambda = Arc::new(lambda.map_err(|error| Failure::Other(format!("cannot open a loopback port: {error}")))?);
    let startup = async {
        start_all(&lambda, &cloud).await?;
        let admin = admin::ensure(&cloud, &options.api(), &admin_file).await;
        startup_message::print(&options, &cloud, &admin);
        // This does not end: only the other branches of the select do.
        sources.follow(&root, options.release, watchdog, &lambda).await;
        Ok(Failure::Other("the sources are no longer watched".into()))
    };
    let (routes, origins) = (cloud.routes(), origins(&cloud));
    tokio::select! {
        failure = startup => failure,
        () = lambda::run(Arc::clone(&lambda), watchdog) => Ok(Failure::Other("the Runtime API stopped".into())),
        () = gateway::serve(api, Arc::clone(&lambda), &routes, &origins) => Ok(Failure::Other("the API stopped".into())),
        () = dashboard::serve(dashboard, Arc::clone(&cloud), options.api()) => Ok(Failure::Other("the dashboard stopped".into())),
        () = cloud.run(&lambda) => Ok(Failure::Other("the event sources stopped".into())),
    }
}

/// The built functions, each with its own environment variables.
fn programs(cloud: &LocalCloud, built: &build::Built) -> Vec<Program> {
    let program = |function: &Function| {
        let name = function.binary.clone();
        let path = built.binaries.get(&name)?.clone();
        Some(Program { environment: cloud.environment(&name), name, path, timeout: function.timeout })
    };
    cloud.functions().iter().filter_map(program).collect()
}

/// Starts one process of every function, so that the first request is fast.
async fn start_all(lambda: &Lambda, cloud: &LocalCloud) -> Result<(), Failure> {
    eprintln!("undercroft: starting the functions");
    let names: Vec<&str> = cloud.functions().iter().map(|function| function.binary.as_str()).collect();
    let started = join_all(names.iter().map(|name| tokio::time::timeout(START_TIMEOUT, lambda.start(name)))).await;
    match names.iter().zip(started).find(|(_, started)| *started != Ok(true)) {
        Some((name, _)) => Err(Failure::Function((*name).to_owned())),
        None => Ok(()),
    }
}

/// The allowed origins of all functions, separated by commas.
fn origins(cloud: &LocalCloud) -> String {
    let listed = cloud.functions().iter().filter_map(|function| function.environment.get("ALLOWED_ORIGINS"));
    listed.map(String::as_str).collect::<Vec<_>>().join(",")
}

async fn stop_signal() {
    let streams = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()].map(signal);
    let waits = streams.into_iter().flatten().map(|mut stream| Box::pin(async move { stream.recv().await }));
    futures_util::future::select_all(waits).await;
}
