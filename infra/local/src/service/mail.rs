//! SES: mail is kept where it can be read, newest first, and goes nowhere else.

use std::sync::Arc;

use rusqlite::Row;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::fault::Fault;
use super::state::State;
use crate::clock::Clock;

/// Table of this service.
pub const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS mails (
        position INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL, recipients TEXT NOT NULL, sender TEXT NOT NULL,
        subject TEXT NOT NULL, text TEXT NOT NULL, html TEXT, sent INTEGER NOT NULL, request TEXT);
";

/// A mail that was accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Mail {
    /// SES's id of the message.
    pub id: String,
    /// Recipients, separated by commas: to, then copies.
    pub to: String,
    /// Sender.
    pub from: String,
    /// Subject.
    pub subject: String,
    /// The plain text.
    pub text: String,
    /// The HTML, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub html: Option<String>,
    /// When it was accepted, in milliseconds since the Unix epoch.
    pub at: u64,
    /// The request that caused it, from the e-mail tag `requestId`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

/// The service.
#[derive(Debug)]
pub struct Mails {
    state: Arc<State>,
    clock: Clock,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SendEmail {
    from_email_address: String,
    destination: Destination,
    content: Content,
    #[serde(default)]
    email_tags: Vec<Tag>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Destination {
    #[serde(default)]
    to_addresses: Vec<String>,
    #[serde(default)]
    cc_addresses: Vec<String>,
    #[serde(default)]
    bcc_addresses: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Content {
    simple: Option<Simple>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Simple {
    subject: Data,
    body: Body,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Body {
    text: Option<Data>,
    html: Option<Data>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Data {
    data: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Tag {
    name: String,
    value: String,
}

impl Mails {
    /// The service over `state`.
    pub fn new(state: Arc<State>, clock: Clock) -> Self {
        Self { state, clock }
    }

    /// Answers SES v2's `SendEmail`.
    ///
    /// # Errors
    /// `MessageRejected` for a recipient under the reserved domain `.invalid`, which no mail can ever reach;
    /// `BadRequestException` for content that is not simple text or HTML.
    pub fn send(&self, body: &[u8]) -> Result<Value, Fault> {
        let request: SendEmail =
            serde_json::from_slice(body).map_err(|error| Fault::new("BadRequestException", error.to_string()))?;
        let recipients = request.destination.all();
        if recipients.is_empty() {
            return Err(Fault::new("BadRequestException", "the mail has no recipient"));
        }
        if let Some(unreachable) = recipients.iter().find(|address| address.trim_end_matches('>').ends_with(".invalid"))
        {
            return Err(Fault::new("MessageRejected", format!("no mail reaches {unreachable}")));
        }
        let simple = request.content.simple;
        let simple = simple.ok_or_else(|| Fault::new("BadRequestException", "only simple content can be sent here"))?;
        let mail = Mail {
            id: Uuid::new_v4().to_string(),
            to: recipients.join(", "),
            from: request.from_email_address,
            subject: simple.subject.data,
            text: simple.body.text.map(|text| text.data).unwrap_or_default(),
            html: simple.body.html.map(|html| html.data),
            at: self.clock.now(),
            request_id: request.email_tags.into_iter().find(|tag| tag.name == "requestId").map(|tag| tag.value),
        };
        self.keep(&mail)?;
        Ok(json!({ "MessageId": mail.id }))
    }

    /// All mail, newest first.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn all(&self) -> Result<Vec<Mail>, Fault> {
        self.state.transact(|db| {
            let mut statement = db.prepare("SELECT * FROM mails ORDER BY position DESC")?;
            Ok(statement.query_map([], Mail::read)?.collect::<Result<_, _>>()?)
        })
    }

    /// Throws all mail away.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub fn clear(&self) -> Result<(), Fault> {
        self.state.transact(|db| {
            db.execute("DELETE FROM mails", [])?;
            Ok(())
        })
    }

    fn keep(&self, mail: &Mail) -> Result<(), Fault> {
        self.state.transact(|db| {
            db.execute(
                "INSERT INTO mails (id, recipients, sender, subject, text, html, sent, request)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                (&mail.id, &mail.to, &mail.from, &mail.subject, &mail.text, &mail.html, mail.at, &mail.request_id),
            )?;
            Ok(())
        })
    }
}

impl Mail {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get("id")?,
            to: row.get("recipients")?,
            from: row.get("sender")?,
            subject: row.get("subject")?,
            text: row.get("text")?,
            html: row.get("html")?,
            at: row.get("sent")?,
            request_id: row.get("request")?,
        })
    }
}

impl Destination {
    fn all(self) -> Vec<String> {
        let lists = [self.to_addresses, self.cc_addresses, self.bcc_addresses];
        lists.into_iter().flatten().collect()
    }
}
