//! Creates the admin account through the API: sign up, read the mail, verify.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use axum::http::{Request, StatusCode};
use http_body_util::Full;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::cloud::LocalCloud;
use crate::http_client::HttpClient;

/// Letters and digits that cannot be confused; 32 of them, so that a random byte maps evenly.
const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
const MAIL_TIMEOUT: Duration = Duration::from_secs(60);

/// The admin's credentials.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Admin {
    /// E-mail address.
    pub email: String,
    /// Password, stored in a file that only the owner can read.
    pub password: String,
}

/// Returns the admin, and creates the account if it does not exist.
pub async fn ensure(cloud: &LocalCloud, api: &str, file: &Path) -> Result<Admin, String> {
    let email = cloud
        .environment("auth")
        .remove("ADMIN_EMAIL")
        .ok_or("template.yaml sets no ADMIN_EMAIL for the function auth")?;
    let saved = fs::read(file).ok().and_then(|text| serde_json::from_slice::<Admin>(&text).ok());
    let admin = match saved.filter(|admin| admin.email == email) {
        Some(saved) => saved,
        None => {
            let admin = Admin { email, password: random_password()? };
            // Saved before it is used, so that an interrupted start does not leave an account with an unknown password.
            save(&admin, file).map_err(|error| error.to_string())?;
            admin
        }
    };
    let api_client = ApiClient { client: HttpClient::default(), api };
    let credentials = json!({ "email": admin.email, "password": admin.password });
    if api_client.post("/v1/auth/signin", &credentials).await?.0.is_success() {
        return Ok(admin);
    }
    let before = cloud.mails().map_err(|error| error.message)?.len();
    let (status, answer) = api_client.post("/v1/auth/signup", &credentials).await?;
    if !status.is_success() {
        return Err(format!("sign-up of {} failed with status {status}: {answer}", admin.email));
    }
    let signed_up: Value = serde_json::from_str(&answer).map_err(|error| error.to_string())?;
    let code = await_code(cloud, &admin.email, before).await?;
    let verify = json!({ "email": admin.email, "code": code, "signupToken": signed_up.get("signupToken") });
    let (status, answer) = api_client.post("/v1/auth/verify", &verify).await?;
    if !status.is_success() {
        return Err(format!("verification of {} failed with status {status}: {answer}", admin.email));
    }
    Ok(admin)
}

struct ApiClient<'a> {
    client: HttpClient,
    api: &'a str,
}

impl ApiClient<'_> {
    async fn post(&self, path: &str, body: &Value) -> Result<(StatusCode, String), String> {
        let request = Request::post(format!("{}{path}", self.api)).header("content-type", "application/json");
        let request = request.body(Full::from(body.to_string())).map_err(|error| error.to_string())?;
        let (status, answer) = self.client.exchange(request).await.map_err(|error| error.to_string())?;
        Ok((status, String::from_utf8_lossy(&answer).into_owned()))
    }
}

/// Waits for the verification mail, and returns its code.
async fn await_code(cloud: &LocalCloud, email: &str, before: usize) -> Result<String, String> {
    let deadline = tokio::time::Instant::now() + MAIL_TIMEOUT;
    while tokio::time::Instant::now() < deadline {
        let mails = cloud.mails().map_err(|error| error.message)?;
        let new = mails.len().saturating_sub(before);
        let code = mails.iter().take(new).filter(|mail| mail.to == email).find_map(|mail| code_in(&mail.text));
        if let Some(code) = code {
            return Ok(code);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Err(format!("no mail with a code was sent to {email} within {} s", MAIL_TIMEOUT.as_secs()))
}

/// The code in a mail: the longest word of capital letters and digits in groups of five.
fn code_in(text: &str) -> Option<String> {
    let is_group =
        |group: &str| group.len() == 5 && group.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit());
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
    let codes = words.filter(|word| word.contains('-') && word.split('-').all(is_group));
    codes.max_by_key(|word| word.len()).map(str::to_owned)
}

fn random_password() -> Result<String, String> {
    let mut random = [0; 24];
    getrandom::fill(&mut random).map_err(|error| error.to_string())?;
    let letters = random.iter().filter_map(|byte| LETTERS.get(usize::from(byte % 32)));
    Ok(letters.map(|letter| char::from(*letter)).collect())
}

fn save(admin: &Admin, file: &Path) -> io::Result<()> {
    let mut out = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(file)?;
    out.write_all(serde_json::to_string_pretty(admin)?.as_bytes())?;
    out.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_is_found_anywhere_in_the_mail() {
        let mail =
            "Hello ADA-LOVELACE,\n\nyour code is 0A1B2-C3D4E-5F6G7-H8J9K-MNPQR-STVWX.\nIt is good for 10-MINUTES.";
        assert_eq!(code_in(mail).as_deref(), Some("0A1B2-C3D4E-5F6G7-H8J9K-MNPQR-STVWX"));
        assert_eq!(code_in("no code here, TODAY-OR later"), None);
    }

    #[test]
    fn passwords_are_long_and_safe_to_paste_into_a_shell() {
        let (one, other) = (random_password().unwrap(), random_password().unwrap());
        assert_ne!(one, other);
        assert!(one.len() >= 20 && one.chars().all(|c| c.is_ascii_alphanumeric()));
    }
}
