//! Does what must happen: messages from SQS in, jobs run, exactly the failed messages reported.

mod app;
mod backoff;
mod jobs;
mod run;
mod undelivered;

pub use app::App;

use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsEvent};
use undercroft::queue::{self};

/// Runs a batch, each message by itself.
pub async fn handle(app: &App, event: SqsEvent) -> SqsBatchResponse {
    let slice = jobs::Slice::new(app.tools.clock.clone(), app.slice_items);
    let one = async |message| match app.dead_letters_of(message) {
        Some(queue) => undelivered::message(app, queue, message).await,
        None => run::message(app, message, &slice).await,
    };
    queue::each(&event, one).await
}
