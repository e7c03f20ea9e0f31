//! `cargo dev`: the whole backend on this machine, from template.yaml to three lines of curl that work.
//!
//! options -> ports and data folder -> the cloud, while the functions are built -> the functions started -> admin -> greeting;
//! then mappings run and sources are watched until Ctrl-C. `guard` sees to it that nothing is left running, whatever happens.

mod admin;
mod build;
mod desk;
mod failure;
mod greeting;
mod guard;
mod options;
mod ports;
pub mod processes;
mod sources;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser as _;
use futures_util::future::join_all;
use tokio::signal::unix::{SignalKind, signal};

use crate::clock::Clock;
use crate::cloud::{Data, LocalCloud};
use crate::folder::DataFolder;
use crate::lambda::{Lambda, Program, gateway};
use crate::template::{Function, Template};
use failure::Failure;
use guard::Guard;
use options::Options;
use sources::Sources;

/// A function that has asked for nothing by then does not start.
const START: Duration = Duration::from_secs(120);
/// Bad usage, as sysexits.h has it: clap's own 2 means a taken port here.
const USAGE: u8 = 64;

/// Runs the command this process was started as.
pub fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let Ok(runtime) = runtime else { return ExitCode::FAILURE };
    if std::env::args().nth(1).as_deref() == Some(guard::ARGUMENT) {
        runtime.block_on(guard::stand());
        return ExitCode::SUCCESS;
    }
    let options = match Options::try_parse() {
        Ok(options) => options,
        Err(error) => {
            let code = if error.use_stderr() { USAGE } else { 0 };
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    let code = runtime.block_on(run_until_stopped(options));
    // Connections nobody will finish must not hold the process.
    runtime.shutdown_background();
    ExitCode::from(code)
}

async fn run_until_stopped(options: Options) -> u8 {
    let guard = match Guard::start().await {
        Ok(guard) => guard,
        Err(error) => {
            eprintln!("undercroft: cannot start: {error}");
            return 1;
        }
    };
    let code = tokio::select! {
        failure = run(options, &guard) => {
            eprintln!("\nundercroft: {failure}");
            failure.exit_code()
        }
        () = asked_to_stop() => {
            eprintln!("\nundercroft: stopping; everything acknowledged is kept");
            0
        }
    };
    guard.end().await;
    code
}

/// Runs for as long as nothing fails.
async fn run(options: Options, guard: &Guard) -> Failure {
    match start(options, guard).await {
        Ok(failure) | Err(failure) => failure,
    }
}

async fn start(options: Options, guard: &Guard) -> Result<Failure, Failure> {
    let root = options::workspace_root()?;
    let template = Template::read(&root.join("template.yaml")).map_err(Failure::Template)?;
    let desk = ports::claim(options.desk_port, "--desk-port").await?;
    let api = ports::claim(options.port, "--port").await?;
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
    eprintln!("undercroft: building the functions (minutes the first time, seconds from then on)");
    // Whichever fails first ends the other: a refused template need not wait for the compiler.
    let starting = async { LocalCloud::start(cloud_options).await.map_err(Failure::from) };
    let (cloud, built) = tokio::try_join!(starting, build::functions(&root, options.release, guard))?;
    let cloud = Arc::new(cloud);
    build::check(&built, cloud.functions())?;

    let mut sources = Sources::new(&root, &built);
    let lambda = Lambda::new(programs(&cloud, &built), options.concurrency).await;
    let lambda = Arc::new(lambda.map_err(|error| Failure::Other(format!("no loopback port can be had: {error}")))?);
    let opening = async {
        start_all(&lambda, &cloud).await?;
        let admin = admin::settle(&cloud, &options.api(), &admin_file).await;
        greeting::print(&options, &cloud, &admin);
        // From here on only the other branches can end this.
        sources.follow(&root, options.release, guard, &lambda).await;
        Ok(Failure::Other("the sources are watched no longer".into()))
    };
    let (routes, origins) = (cloud.routes(), origins(&cloud));
    tokio::select! {
        failure = opening => failure,
        () = Arc::clone(&lambda).run(guard) => Ok(Failure::Other("the Runtime API stopped".into())),
        () = gateway::serve(api, Arc::clone(&lambda), &routes, &origins) => Ok(Failure::Other("the API stopped".into())),
        () = desk::serve(desk, Arc::clone(&cloud), options.api()) => Ok(Failure::Other("the desk stopped".into())),
        () = cloud.run(&lambda) => Ok(Failure::Other("the mappings stopped".into())),
    }
}

/// The template's functions as they were built, each in its own environment and no other's.
fn programs(cloud: &LocalCloud, built: &build::Built) -> Vec<Program> {
    let program = |function: &Function| {
        let name = function.binary.clone();
        let path = built.binaries.get(&name)?.clone();
        Some(Program { environment: cloud.environment(&name), name, path, timeout: function.timeout })
    };
    cloud.functions().iter().filter_map(program).collect()
}

/// Starts one instance of every function, so that the first request is quick.
async fn start_all(lambda: &Lambda, cloud: &LocalCloud) -> Result<(), Failure> {
    eprintln!("undercroft: starting the functions");
    let names: Vec<&str> = cloud.functions().iter().map(|function| function.binary.as_str()).collect();
    let started = join_all(names.iter().map(|name| tokio::time::timeout(START, lambda.start(name)))).await;
    match names.iter().zip(started).find(|(_, started)| *started != Ok(true)) {
        Some((name, _)) => Err(Failure::Function((*name).to_owned())),
        None => Ok(()),
    }
}

/// Origins whose pages the functions answer, between commas.
fn origins(cloud: &LocalCloud) -> String {
    let listed = cloud.functions().iter().filter_map(|function| function.environment.get("ALLOWED_ORIGINS"));
    listed.map(String::as_str).collect::<Vec<_>>().join(",")
}

async fn asked_to_stop() {
    let streams = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()].map(signal);
    let waits = streams.into_iter().flatten().map(|mut stream| Box::pin(async move { stream.recv().await }));
    futures_util::future::select_all(waits).await;
}
