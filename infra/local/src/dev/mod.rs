//! `cargo dev`: the whole backend on this machine, from template.yaml to three lines of curl that work.
//!
//! options -> ports and data folder -> tool (cargo-lambda) -> the cloud, while the functions are built -> watch -> warm ->
//! admin -> greeting; then mappings run until Ctrl-C. `guard` sees to it that nothing is left running, whatever happens.

mod admin;
mod build;
mod desk;
mod failure;
mod greeting;
mod guard;
mod invoke;
mod options;
mod ports;
pub mod processes;
mod runner;
mod tool;
mod watch;

use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser as _;
use tokio::signal::unix::{SignalKind, signal};

use crate::clock::Clock;
use crate::cloud::{Data, LocalCloud};
use crate::folder::DataFolder;
use crate::template::Template;
use failure::Failure;
use guard::Guard;
use invoke::OverHttp;
use options::Options;
use watch::Watch;

/// Bad usage, as sysexits.h has it: clap's own 2 means a taken port here.
const USAGE: u8 = 64;

/// Runs the command this process was started as.
pub fn main() -> ExitCode {
    if let Some(code) = runner::become_function() {
        return code;
    }
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
    let mut guard = match Guard::start().await {
        Ok(guard) => guard,
        Err(error) => {
            eprintln!("undercroft: cannot start: {error}");
            return 1;
        }
    };
    let code = tokio::select! {
        failure = run(options, &mut guard) => {
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
async fn run(options: Options, guard: &mut Guard) -> Failure {
    match start(options, guard).await {
        Ok(failure) | Err(failure) => failure,
    }
}

async fn start(options: Options, guard: &mut Guard) -> Result<Failure, Failure> {
    let root = options::workspace_root()?;
    let template = Template::read(&root.join("template.yaml")).map_err(Failure::Template)?;
    let desk = ports::claim(options.desk_port, "--desk-port").await?;
    ports::check_free(options.port, "--port").await?;
    let data = options.data.clone().unwrap_or_else(|| root.join(".undercroft"));
    let folder = if options.fresh { DataFolder::open_fresh(&data) } else { DataFolder::open(&data) }?;
    let admin_file = folder.file("admin.json");
    let tool = tool::find_or_install(&root, guard).await?;

    let cloud_options = crate::cloud::Options {
        template,
        parameters: options.parameters(),
        data: Data::Folder(folder),
        endpoint: options.endpoint.clone(),
        clock: Clock::system(),
        api: options.api(),
        concurrency: options.concurrency,
    };
    // Whichever fails first ends the other: a refused template need not wait for the compiler.
    let starting = async { LocalCloud::start(cloud_options).await.map_err(Failure::from) };
    let (cloud, built) = tokio::try_join!(starting, build::functions(&root, options.release, guard))?;
    let cloud = Arc::new(cloud);
    build::check(&built, cloud.functions())?;

    let mut watch = Watch::start(&tool, &root, &data, &options, &cloud, guard).await?;
    let invoker = OverHttp::new(options.api(), cloud.functions());
    let opening = async {
        watch::await_port(options.port).await;
        invoke::warm(&invoker, &cloud).await?;
        let admin = admin::settle(&cloud, &options.api(), &admin_file).await;
        greeting::print(&options, &cloud, &admin);
        // From here on only the other branches can end this.
        std::future::pending::<Result<Failure, Failure>>().await
    };
    tokio::select! {
        failure = opening => failure,
        failure = watch.ended() => Ok(failure),
        () = desk::serve(desk, Arc::clone(&cloud), options.api()) => Ok(Failure::Other("the desk stopped".into())),
        () = cloud.run(&invoker) => Ok(Failure::Other("the mappings stopped".into())),
    }
}

async fn asked_to_stop() {
    let streams = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()].map(signal);
    let waits = streams.into_iter().flatten().map(|mut stream| Box::pin(async move { stream.recv().await }));
    futures_util::future::select_all(waits).await;
}
