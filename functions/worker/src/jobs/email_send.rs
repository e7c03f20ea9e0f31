//! `email.send`: one mail to one address, through SES.
//!
//! SES has no idempotency key, so a mail is sent at least once: if the worker dies after SES's answer and before it stores the
//! outcome, the mail is sent again.

use super::failure::Failure;
use super::outcome::Outcome;
use super::tools::Tools;
use serde_json::json;
use undercroft::aws::Service;
use undercroft::jobs::EmailPayload;

/// SES errors of a mail that will always be refused. Other errors concern senders, quotas and rates, and may be resolved
/// while the job waits.
const MALFORMED: &str = "BadRequestException";

/// Sends the mail. The result has SES's message id.
pub async fn run(tools: &Tools, job_id: &str, mail: EmailPayload) -> Result<Outcome, Failure> {
    let text = match (mail.text, mail.sealed_text) {
        (Some(text), None) => Some(text),
        (None, Some(sealed)) => Some(open(tools, job_id, &sealed).await?),
        (None, None) => None,
        (Some(_), Some(_)) => return Err(Failure::last("The payload has both text and sealedText. Send one of them.")),
    };
    let part = |data: String| json!({ "Data": data, "Charset": "UTF-8" });
    let mut body = serde_json::Map::new();
    body.extend(text.map(|text| ("Text".to_owned(), part(text))));
    body.extend(mail.html.map(|html| ("Html".to_owned(), part(html))));
    let message = json!({
        "FromEmailAddress": &*tools.mail_from,
        "Destination": { "ToAddresses": [mail.to] },
        "Content": { "Simple": { "Subject": part(mail.subject), "Body": body } },
        "EmailTags": [{ "Name": "job", "Value": job_id }],
    });
    let answer = tools
        .aws
        .post(Service::Ses, "/v2/email/outbound-emails", None, &message)
        .await
        .map_err(|_| Failure::new("SES did not answer."))?;
    match answer.status {
        200 => Ok(Outcome::Done(Some(json!({ "messageId": answer.body.get("MessageId") })))),
        status => {
            // SES's message may contain the recipient. Admins may see it in the job, but it must not be in the log.
            let refused = format!("SES refused with {status} {}", answer.error_type());
            let reason = format!("{refused}: {}", answer.error_message());
            let failure = if answer.error_type() == MALFORMED { Failure::last(reason) } else { Failure::new(reason) };
            Err(failure.logged_as(refused))
        }
    }
}

async fn open(tools: &Tools, job_id: &str, sealed: &str) -> Result<String, Failure> {
    let opened = tools
        .seal
        .open(&format!("mail:{job_id}"), sealed)
        .await
        .map_err(|_| Failure::new("The sealing key is not available."))?;
    opened
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or_else(|| Failure::last("The sealed text cannot be opened."))
}
