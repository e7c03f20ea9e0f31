//! Enqueues the mails of sign-ups. A mail is a job; its text is encrypted for the worker, so table, stream and queue never hold
//! the code in plain text.

use crate::accounts::put;
use crate::signups::{PLACE_SECONDS, SignUpSlot};
use aws_sdk_dynamodb::types::TransactWriteItem;
use serde_json::{Map, Value, json};
use undercroft::clock::Clock;
use undercroft::error::Result;
use undercroft::id;
use undercroft::identity::email::Email;
use undercroft::identity::seal::Seal;
use undercroft::jobs::EMAIL_JOB;
use undercroft::store::item::number;
use undercroft::store::jobs::{Job, Status};

/// Enqueues mails in the `Jobs` table.
#[derive(Debug)]
pub struct Outbox {
    table: String,
    seal: Seal,
    clock: Clock,
}

impl Outbox {
    /// An outbox that writes to the table `table`.
    pub fn new(table: String, seal: Seal, clock: Clock) -> Self {
        Self { table, seal, clock }
    }

    /// Builds the job for the mail with the code of a sign-up.
    pub async fn code(&self, to: &Email, code: &str, place: SignUpSlot, request_id: &str) -> Result<TransactWriteItem> {
        let text = format!(
            "Your code is\n\n    {code}\n\nIt is good once, for ten minutes, where you signed up. Anywhere else it asks you for \
             a new password. Give it to nobody. If you did not sign up, do nothing: without the code there is no account.\n"
        );
        self.ask(to, &text, place, request_id).await
    }

    /// Builds the job for the mail to an address that already has an account.
    pub async fn known(&self, to: &Email, place: SignUpSlot, request_id: &str) -> Result<TransactWriteItem> {
        let text = "Somebody, probably you, signed up with this address. You already have an account: sign in with your \
                    password. If it was not you, there is nothing to do.\n";
        self.ask(to, text, place, request_id).await
    }

    /// Builds a mail job. If there are too many sign-ups, the job is withheld: admins can read it, but it does not run. Both
    /// kinds need the same writes of less than a kilobyte, so the cost does not reveal which one it is.
    async fn ask(&self, to: &Email, text: &str, place: SignUpSlot, request_id: &str) -> Result<TransactWriteItem> {
        let id = id::new(&self.clock);
        let sealed = self.seal.seal(&format!("mail:{id}"), text.as_bytes()).await?;
        let payload = json!({ "to": to.as_str(), "subject": "Your sign-up", "sealedText": sealed });
        let payload: Map<String, Value> = payload.as_object().cloned().unwrap_or_default();
        let mut job = Job::new(id, EMAIL_JOB, payload, request_id);
        // Retries stop when the code expires, after ten minutes.
        job.max_attempts = 9;
        if !place.is_mailed() {
            job.status = Status::Cancelled;
            job.last_error = Some("Withheld: too many sign-ups for this address.".to_owned());
        }
        let mut item = job.to_item();
        if !place.is_mailed() {
            item.insert("ttl".to_owned(), number(self.clock.seconds() + PLACE_SECONDS));
        }
        put(&self.table, item, Some("attribute_not_exists(id)"))
    }
}
