//! Secrets as canaries (R43, R115): secrets that a test sends or receives must not be in a log line, a URL or an error. Every
//! world checks this.

use super::{Answer, PASSWORD};
use axum::http::HeaderMap;
use serde_json::Value;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io::{self, Write};
use std::sync::{Mutex, Once};
use undercroft::telemetry;

/// Members of bodies that hold a secret.
const SECRET: [&str; 6] = ["password", "accessToken", "refreshToken", "signupToken", "code", "token"];
/// Secrets that a world looks for. One with more has seen enough.
const MOST: usize = 100;

thread_local! {
    /// What functions have logged on this thread. A test has one of its own, and functions run on it.
    static LOGGED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Bodies with more bytes are tests of limits, in which the work of reading them once more would count.
const LARGEST: usize = 64 * 1024;

/// The secrets of a world, and where its log began.
#[derive(Debug)]
pub struct Canaries {
    secrets: Mutex<BTreeSet<String>>,
    from: usize,
}

impl Canaries {
    /// Begins to listen. Functions log here as they log for Lambda, at the most that template.yaml allows.
    pub fn watch() -> Self {
        static STARTED: Once = Once::new();
        STARTED.call_once(|| telemetry::start_to("info", || Listening));
        let secrets = Mutex::new(BTreeSet::from([PASSWORD.to_owned()]));
        Self { secrets, from: LOGGED.with_borrow(Vec::len) }
    }

    /// Takes note of the secrets in a request.
    pub fn sent(&self, headers: &HeaderMap, body: &[u8]) {
        let bearer = headers.get("authorization").and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        bearer.into_iter().for_each(|token| self.keep(token));
        if body.len() <= LARGEST {
            self.keep_members(&serde_json::from_slice(body).unwrap_or_default());
        }
    }

    /// Takes note of the secrets in an answer. None may stand in its headers; a refusal must not repeat any, and neither it
    /// nor the path that was asked may be an address with one in it.
    #[track_caller]
    pub fn answered(&self, path: &str, answer: &Answer) {
        if answer.status < 400 {
            self.keep_members(&answer.body);
        }
        let mut shown = format!("{:?}", answer.headers);
        if answer.status >= 400 {
            shown.push_str(&answer.text);
        }
        for address in answer.text.split('"').filter(|text| text.starts_with("http") || text.starts_with("/v1")) {
            shown.push_str(address);
        }
        for secret in self.secrets.lock().unwrap().iter() {
            assert!(!shown.contains(secret.as_str()), "{path}: {secret} shows in {shown}");
        }
    }

    /// Holds what was logged against all secrets, and against addresses, which are nobody's business but the mail's.
    pub fn hold(&self, codes: impl Iterator<Item = String>) {
        codes.for_each(|code| self.keep(&code));
        let logged = self.logged();
        for secret in self.secrets.lock().unwrap().iter().map(String::as_str).chain(["@example."]) {
            let line = logged.lines().find(|line| line.contains(secret));
            assert!(line.is_none(), "{secret} is logged: {}", line.unwrap_or_default());
        }
    }

    /// What was logged since this world began.
    pub fn logged(&self) -> String {
        LOGGED.with_borrow(|logged| String::from_utf8_lossy(&logged[self.from..]).into_owned())
    }

    fn keep_members(&self, body: &Value) {
        match body {
            Value::Object(members) => members.iter().for_each(|(name, value)| match value {
                Value::String(text) if SECRET.contains(&name.as_str()) => self.keep(text),
                value => self.keep_members(value),
            }),
            Value::Array(items) => items.iter().for_each(|item| self.keep_members(item)),
            _ => {}
        }
    }

    /// A short text is no secret: a test sends it to see it refused.
    fn keep(&self, secret: &str) {
        let mut secrets = self.secrets.lock().unwrap();
        if secret.len() >= 20 && secrets.len() < MOST {
            secrets.insert(secret.to_owned());
        }
    }
}

/// Where functions log to.
struct Listening;

impl Write for Listening {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        LOGGED.with_borrow_mut(|logged| logged.extend_from_slice(line));
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
#[should_panic(expected = "is logged")]
fn a_logged_secret_is_detected() {
    let canaries = Canaries::watch();
    canaries.sent(&HeaderMap::new(), br#"{"refreshToken":"a token of twenty letters"}"#);
    Listening.write_all(b"{\"message\":\"a token of twenty letters\"}\n").unwrap();
    canaries.hold(std::iter::empty());
}
