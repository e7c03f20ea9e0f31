//! The `worker` function: reads its environment once and handles events until Lambda ends it.

#![recursion_limit = "256"]

use lambda_runtime::{LambdaEvent, service_fn};
use undercroft::config::Env;
use undercroft::error::Source;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Source> {
    let env = Env::of_process();
    undercroft::telemetry::start(&env);
    let app = undercroft_worker::App::from_env(&env)?;
    let handle =
        |event: LambdaEvent<_>| async { Ok::<_, Source>(undercroft_worker::handle(&app, event.payload).await) };
    lambda_runtime::run(service_fn(handle)).await
}
