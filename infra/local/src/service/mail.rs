//! SES: mail is stored for reading and never delivered.

use std::sync::Arc;

use rusqlite::Row;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::aws_error::AwsError;
use crate::clock::Clock;
use crate::database::Database;

/// Table of this service.
pub const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS mails (
        position INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL, recipients TEXT NOT NULL, sender TEXT NOT NULL,
        subject TEXT NOT NULL, text TEXT NOT NULL, html TEXT, sent INTEGER NOT NULL, request TEXT);
";

/// An accepted mail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Mail {
    /// SES's id of the message.
    pub id: String,
    /// Recipients, separated by commas: To, Cc, Bcc.
    pub to: String,
    /// Sender.
    pub from: String,
    /// Subject.
    pub subject: String,
    /// The plain text.
    pub text: String,
    /// The HTML, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub html: Option<String>,
    /// When it was accepted, in milliseconds since the Unix epoch.
    pub at: u64,
    /// Id of the API request that caused it, from the e-mail tag `requestId`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

/// The service.
#[derive(Debug)]
pub struct Mails {
    database: Arc<Database>,
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
    subject: TextPart,
    body: Body,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Body {
    text: Option<TextPart>,
    html: Option<TextPart>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct TextPart {
    data: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Tag {
    name: String,
    value: String,
}

impl Mails {
    /// The service over `database`.
    pub fn new(database: Arc<Database>, clock: Clock) -> Self {
        Self { database, clock }
    }

    /// SES v2's `SendEmail`.
    ///
    /// # Errors
    /// `MessageRejected` for a recipient in the reserved domain `.invalid`; `BadRequestException` for other content than simple
    /// text or HTML.
    pub fn send(&self, body: &[u8]) -> Result<Value, AwsError> {
        let request: SendEmail =
            serde_json::from_slice(body).map_err(|error| AwsError::new("BadRequestException", error.to_string()))?;
        let recipients = request.destination.all();
        if recipients.is_empty() {
            return Err(AwsError::new("BadRequestException", "the mail has no recipient"));
        }
        if let Some(unreachable) = recipients.iter().find(|address| address.trim_end_matches('>').ends_with(".invalid"))
        {
            return Err(AwsError::new("MessageRejected", format!("mail cannot be delivered to {unreachable}")));
        }
        let simple = request.content.simple;
        let simple =
            simple.ok_or_else(|| AwsError::new("BadRequestException", "the local SES supports only simple content"))?;
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
        self.store(&mail)?;
        Ok(json!({ "MessageId": mail.id }))
    }

    /// All mail, newest first.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn all(&self) -> Result<Vec<Mail>, AwsError> {
        self.database.transact(|db| {
            let mut statement = db.prepare("SELECT * FROM mails ORDER BY position DESC")?;
            Ok(statement.query_map([], Mail::read)?.collect::<Result<_, _>>()?)
        })
    }

    /// Deletes all mail.
    ///
    /// # Errors
    /// The database cannot be written.
    pub fn clear(&self) -> Result<(), AwsError> {
        self.database.transact(|db| {
            db.execute("DELETE FROM mails", [])?;
            Ok(())
        })
    }

    fn store(&self, mail: &Mail) -> Result<(), AwsError> {
        self.database.transact(|db| {
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
