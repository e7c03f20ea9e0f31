//! `email.send`: one mail to one address, through SES.
//!
//! SES has no idempotency key. A mail is sent at least once: if the worker dies between SES's answer and writing it down,
//! it is sent again.

use super::failure::Failure;
use super::outcome::Outcome;
use super::tools::Tools;
use serde_json::json;
use undercroft::aws::Service;
use undercroft::jobs::EmailPayload;

/// What SES says of a mail that it will never take as it is. Its other refusals are of senders, quotas and rates, which pass or
/// are mended while the job waits.
const MALFORMED: &str = "BadRequestException";

/// Sends it. The result names SES's message id.
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
            // What SES says may name the recipient. An admin who looks at the job may know; the log has no business to.
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
