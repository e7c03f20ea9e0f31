//! The mails this function asks for. A mail is a job like any other; the code in it is sealed for the worker, so neither the
//! table nor the stream nor the queue ever holds it in the clear.

use crate::accounts::put;
use aws_sdk_dynamodb::types::TransactWriteItem;
use serde_json::{Map, Value, json};
use undercroft::clock::Clock;
use undercroft::error::Result;
use undercroft::id;
use undercroft::identity::email::Email;
use undercroft::identity::seal::Seal;
use undercroft::store::jobs::Job;

/// Where mails are asked for: the `Jobs` table.
#[derive(Debug)]
pub struct Outbox {
    table: String,
    seal: Seal,
    clock: Clock,
}

impl Outbox {
    /// An outbox in the table named `table`.
    pub fn new(table: String, seal: Seal, clock: Clock) -> Self {
        Self { table, seal, clock }
    }

    /// Asks for the mail with a sign-up's code.
    pub async fn code(&self, to: &Email, code: &str, request_id: &str) -> Result<TransactWriteItem> {
        let text = format!(
            "Your code is\n\n    {code}\n\nIt is good for ten minutes and can be used once. If you signed up more than once, only \
             the newest code works. If you did not sign up, do nothing: without the code there is no account.\n"
        );
        self.ask(to, "Verify your email address", &text, request_id).await
    }

    /// Asks for the mail to somebody who has an account and signs up again.
    pub async fn known(&self, to: &Email, request_id: &str) -> Result<TransactWriteItem> {
        let text = "Somebody, probably you, signed up with this address. You already have an account: sign in with your \
                    password. If it was not you, there is nothing to do.\n";
        self.ask(to, "You already have an account", text, request_id).await
    }

    async fn ask(&self, to: &Email, subject: &str, text: &str, request_id: &str) -> Result<TransactWriteItem> {
        let id = id::new(&self.clock);
        let sealed = self.seal.seal(&format!("mail:{id}"), text.as_bytes()).await?;
        let payload = json!({ "to": to.as_str(), "subject": subject, "sealedText": sealed });
        let payload: Map<String, Value> = payload.as_object().cloned().unwrap_or_default();
        let mut job = Job::new(id, "email.send", payload, request_id, self.clock.millis());
        // A code is good for ten minutes: it is worth trying for as long.
        job.max_attempts = 9;
        put(&self.table, job.to_item(), Some("attribute_not_exists(id)"))
    }
}
