//! Runs the jobs of SQS messages, and reports only the failed messages.

mod app;
mod backoff;
mod jobs;
mod run;
mod undelivered;

pub use app::App;

use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsEvent};
use undercroft::queue::{self};

/// Handles a batch, each message independently.
pub async fn handle(app: &App, event: SqsEvent) -> SqsBatchResponse {
    let slice = jobs::Slice::new(app.tools.clock.clone(), app.slice_items);
    let one = async |message| match app.dead_letters_of(message) {
        Some(queue) => undelivered::message(app, queue, message).await,
        None => run::message(app, message, &slice).await,
    };
    queue::each(&event, one).await
}
