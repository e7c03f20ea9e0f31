//! The state that handlers of this function share.

use std::sync::Arc;
use undercroft::aws::Aws;
use undercroft::aws::objects::Objects;
use undercroft::clock::Clock;
use undercroft::config::Env;
use undercroft::error::Source;
use undercroft::identity::parameters::Parameters;
use undercroft::identity::seal::Seal;
use undercroft::policy::System;
use undercroft::queue::Queue;
use undercroft::store::Table;
use undercroft::store::definitions::Definitions;
use undercroft::store::jobs::Jobs;
use undercroft::store::lease::Lease;
use undercroft::store::records::Records;

/// The state of this function. Its fields match its role in template.yaml.
#[derive(Debug, Clone)]
pub struct App {
    pub(crate) jobs: Jobs,
    pub(crate) queue: Queue,
    pub(crate) fifo: Queue,
    pub(crate) slice_items: usize,
    /// The dead-letter queues of the standard queue and of the FIFO queue.
    pub(crate) dead_letters: [Queue; 2],
    /// The services that jobs may use.
    pub(crate) tools: crate::jobs::Tools,
}

impl App {
    /// Builds the function from its environment.
    ///
    /// # Errors
    /// When a variable is missing.
    pub fn from_env(env: &Env) -> Result<Self, Source> {
        Self::with_clock(env, Clock::default())
    }

    /// Builds the function from its environment, with this clock.
    ///
    /// # Errors
    /// When a variable is missing.
    pub fn with_clock(env: &Env, clock: Clock) -> Result<Self, Source> {
        let aws = Aws::from_env(env)?;
        let parameters = Parameters::new(aws.clone(), env.parameter_path()?);
        let records = Table::new(aws.dynamodb(), env.required("RECORDS_TABLE")?);
        let sqs = aws.sqs();
        Ok(Self {
            jobs: Jobs::new(Table::new(aws.dynamodb(), env.required("JOBS_TABLE")?), clock.clone()),
            queue: Queue::new(sqs.clone(), env.required("JOBS_QUEUE_URL")?),
            fifo: Queue::new(sqs.clone(), env.required("JOBS_FIFO_QUEUE_URL")?),
            dead_letters: [
                Queue::new(sqs.clone(), env.required("JOBS_DEAD_LETTERS_URL")?),
                Queue::new(sqs, env.required("JOBS_FIFO_DEAD_LETTERS_URL")?),
            ],

            slice_items: crate::jobs::SLICE_ITEMS,
            tools: crate::jobs::Tools {
                files: Objects::new(aws.clone(), env.required("FILES_BUCKET")?),
                aws,
                mail_from: env.required("MAIL_FROM")?.into(),
                seal: Arc::new(Seal::new(parameters, "seal")),
                definitions: Arc::new(Definitions::new(records.clone(), clock.clone(), Lease::from_env(env)?)),
                records: Records::new(records, clock.clone()),
                #[expect(
                    clippy::disallowed_methods,
                    reason = "the worker makes the writes that follow from permitted requests"
                )]
                system: System::authority(),
                clock,
            },
        })
    }

    /// The same function with at most so many items per slice: long jobs continue sooner in another invocation.
    pub fn in_slices_of(self, items: usize) -> Self {
        Self { slice_items: items, ..self }
    }

    /// The queue of a message: only a FIFO message has a group.
    pub(crate) fn queue_of(&self, message: &aws_lambda_events::event::sqs::SqsMessage) -> &Queue {
        if message.attributes.contains_key("MessageGroupId") { &self.fifo } else { &self.queue }
    }

    /// The dead-letter queue of a message, if it came from one.
    pub(crate) fn dead_letters_of(&self, message: &aws_lambda_events::event::sqs::SqsMessage) -> Option<&Queue> {
        let source = message.event_source_arn.as_deref()?;
        self.dead_letters.iter().find(|queue| queue.is_source(source))
    }
}
