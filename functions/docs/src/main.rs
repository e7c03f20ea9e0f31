//! The `docs` function: reads its environment once and serves its routes to Lambda.

use undercroft::config::Env;
use undercroft::error::Source;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Source> {
    let env = Env::of_process();
    undercroft::telemetry::start(&env);
    let app = undercroft_docs::App::from_env(&env)?;
    app.warm().await;
    undercroft::http::serve(undercroft_docs::routes(app, &env)).await
}
