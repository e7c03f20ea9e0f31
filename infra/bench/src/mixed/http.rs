//! Requests to the functions behind the API.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use undercroft::error::Source;
use undercroft::identity::token::ACCESS_TOKEN_SECONDS;

use crate::event::event;
use crate::runtime::{Answer, Environment};
use crate::stack::{NOTES, PASSWORD, Stack, account, definition, note};

/// Number of callers: more than a function caches tokens for.
const CALLERS: usize = 1_500;
/// The address of the account that signs in.
const ADDRESS: &str = "ada@example.org";
/// How many collections there are.
const COLLECTIONS: usize = 40;
/// How many a document describes: with all of them, ten thousand documents take as long as everything else.
const DOCUMENTED: usize = 10;

/// Requests, one after the other.
#[derive(Debug)]
pub struct Requests<'a> {
    stack: &'a Stack,
    name: &'static str,
    callers: Vec<(String, String)>,
    admin: String,
    signed_at: Instant,
    /// Access token and refresh token of the last session.
    session: (String, String),
    job: String,
    asked: usize,
}

fn put_collections(stack: &Stack, many: usize) -> Result<(), Source> {
    (0..many).try_for_each(|number| stack.put(&definition(&format!("c{number}"), 1)))
}

/// A request and its expected statuses.
type Request = (Value, &'static [u16]);

impl<'a> Requests<'a> {
    pub fn new(stack: &'a Stack, name: &'static str) -> Result<Self, Source> {
        match name {
            "auth" => {
                stack.unpublish_key()?;
                stack.put_account(ADDRESS)?;
            }
            "records" => stack.put_notes(1)?,
            "collections" => put_collections(stack, COLLECTIONS)?,
            "docs" => put_collections(stack, DOCUMENTED)?,
            _ => {}
        }
        let caller = |id: String| Ok((id.clone(), stack.token(&id)?));
        let callers = (0..CALLERS).map(|_| caller(account())).collect::<Result<_, Source>>()?;
        let admin = stack.admin()?;
        let (signed_at, session, job) = (Instant::now(), Default::default(), String::new());
        Ok(Self { stack, name, callers, admin, signed_at, session, job, asked: 0 })
    }

    /// Signs new tokens well before the present ones expire: on a busy machine the requests take longer than that.
    fn renew_tokens(&mut self) -> Result<(), Source> {
        if self.signed_at.elapsed() > Duration::from_secs(ACCESS_TOKEN_SECONDS / 2) {
            for (id, token) in &mut self.callers {
                *token = self.stack.token(id)?;
            }
            (self.admin, self.signed_at) = (self.stack.admin()?, Instant::now());
        }
        Ok(())
    }

    pub fn ask(&mut self, function: &mut Environment) -> Result<(), Source> {
        self.renew_tokens()?;
        let (event, statuses) = match self.name {
            "auth" => self.to_auth(),
            "collections" => self.to_collections(),
            "docs" => self.to_docs(),
            "records" => self.to_records(),
            _ => self.to_jobs(),
        };
        self.asked += 1;
        let answer = function.invoke(&event)?;
        if !statuses.contains(&answer.status) {
            let asked = (event.get("rawPath"), event.get("body"));
            return Err(format!("{} to request {}, {asked:?}: {}", answer.status, self.asked, answer.body).into());
        }
        self.remember(&answer);
        Ok(())
    }

    fn remember(&mut self, answer: &Answer) {
        let text = |name: &str| answer.body.get(name).and_then(Value::as_str).map(str::to_owned);
        if let (Some(access), Some(refresh)) = (text("accessToken"), text("refreshToken")) {
            self.session = (access, refresh);
        }
        if let (202, "jobs", Some(id)) = (answer.status, self.name, text("id")) {
            self.job = id;
        }
    }

    /// Of every 63, four hash a password.
    fn to_auth(&self) -> Request {
        let post = |path: &str, body: Value| event("POST", path, None, Some(&body));
        let (access, refresh) = &self.session;
        match self.asked % 63 {
            0 => (post("/v1/auth/signin", json!({ "email": ADDRESS, "password": PASSWORD })), &[200]),
            1 => (post("/v1/auth/signin", json!({ "email": ADDRESS, "password": "something else" })), &[401]),
            2 => {
                let email = format!("{}@example.org", account());
                (post("/v1/auth/signup", json!({ "email": email, "password": PASSWORD })), &[202])
            }
            3 => (
                post("/v1/auth/verify", json!({ "email": ADDRESS, "code": "wrong", "password": PASSWORD })),
                &[400, 401],
            ),
            4 | 11..=29 => (post("/v1/auth/refresh", json!({ "refreshToken": refresh })), &[200]),
            5 | 30..=45 => (event("GET", "/v1/auth/me", Some(access), None), &[200]),
            6 => (event("GET", "/v1/auth/sessions", Some(access), None), &[200]),
            7 => (post("/v1/auth/signin", json!({ "email": 7 })), &[400]),
            8 => (post("/v1/auth/refresh", json!({ "refreshToken": "forged" })), &[400, 401]),
            9 => (post("/v1/auth/reset", json!({})), &[501]),
            62 => (event("POST", "/v1/auth/signout", Some(access), Some(&json!({}))), &[204]),
            _ => (event("GET", "/.well-known/jwks.json", None, None), &[200]),
        }
    }

    fn to_collections(&self) -> Request {
        let name = format!("c{}", self.asked / 10 % COLLECTIONS);
        let path = format!("/v1/collections/{name}");
        let body = definition(&name, 1);
        let admin = Some(self.admin.as_str());
        match self.asked % 10 {
            0 => (event("PUT", &path, admin, Some(&body)), &[200]),
            1 | 2 => (event("GET", &path, admin, None), &[200]),
            3 => (event("GET", "/v1/collections", admin, None), &[200]),
            4 => (event("PUT", &format!("{path}?dryRun=true"), admin, Some(&body)), &[200]),
            5 | 6 => (event("GET", "/v1/collections/users", admin, None), &[200]),
            7 => (event("PUT", &path, admin, Some(&json!({ "schema": 7 }))), &[400]),
            8 => (event("PUT", &path, Some(&self.caller().1), Some(&body)), &[403]),
            // The name of a deleted collection is taken until the worker has purged it.
            _ => (event("DELETE", "/v1/collections/nowhere", admin, None), &[404]),
        }
    }

    fn to_docs(&self) -> Request {
        let admin = Some(self.admin.as_str());
        match self.asked % 5 {
            0 => (event("GET", "/openapi.json", admin, None), &[200]),
            1 => (event("GET", "/docs", admin, None), &[200]),
            2 => (event("GET", "/docs", None, None), &[200]),
            3 => (event("GET", "/openapi.json?collections=nowhere", None, None), &[404]),
            _ => (event("GET", "/openapi.json", None, None), &[200]),
        }
    }

    fn to_records(&self) -> Request {
        let (id, token) = self.caller();
        let token = Some(token.as_str());
        let path = format!("{NOTES}/{}", self.record());
        let with = |mut event: Value, name: &str, value: &str| {
            if let Some(headers) = event.pointer_mut("/headers").and_then(Value::as_object_mut) {
                headers.insert(name.to_owned(), value.into());
            }
            event
        };
        match self.asked % 12 {
            0 => (with(event("PUT", &path, token, Some(&note(id))), "if-none-match", "*"), &[201]),
            1 => (event("GET", &path, token, None), &[200]),
            2 => (event("PATCH", &path, token, Some(&json!({ "text": "changed" }))), &[200]),
            3 => (event("GET", NOTES, token, None), &[200]),
            4 => (event("GET", &format!("{NOTES}/{}", account()), token, None), &[404]),
            5 => (event("POST", NOTES, token, Some(&json!({ "text": 7 }))), &[400]),
            6 => {
                let make = json!({ "method": "POST", "path": NOTES, "body": note(id) });
                (event("POST", "/v1/batch", token, Some(&json!({ "operations": [make, make] }))), &[200])
            }
            7 => (with(event("POST", NOTES, token, Some(&note(id))), "idempotency-key", "\"one\""), &[201]),
            8 => (event("GET", &format!("{NOTES}?filter=text%20%3D%3D%20%22x%22"), token, None), &[422]),
            9 => (event("GET", &path, Some("forged.forged.forged"), None), &[401]),
            10 => (event("GET", &format!("{NOTES}?explain=true"), token, None), &[200]),
            _ => (event("DELETE", &path, token, None), &[204]),
        }
    }

    fn to_jobs(&self) -> Request {
        let admin = Some(self.admin.as_str());
        let path = format!("/v1/jobs/{}", self.job);
        match self.asked % 10 {
            0 => (
                event(
                    "POST",
                    "/v1/jobs",
                    admin,
                    Some(&json!({ "type": "no.such_job", "payload": { "n": self.asked } })),
                ),
                &[202],
            ),
            1 | 2 => (event("GET", &path, admin, None), &[200]),
            3 => (event("GET", "/v1/jobs", admin, None), &[200]),
            4 => (event("POST", &format!("{path}/cancel"), admin, Some(&json!({}))), &[200]),
            5 => (event("POST", &format!("{path}/redrive"), admin, Some(&json!({}))), &[200, 202, 409]),
            6 => (event("POST", "/v1/jobs/uploads", admin, Some(&json!({ "format": "csv", "bytes": 10 }))), &[201]),
            7 => (event("POST", "/v1/jobs", admin, Some(&json!({ "type": 7 }))), &[400]),
            8 => (event("GET", "/v1/jobs", Some(&self.caller().1), None), &[403]),
            _ => (event("GET", "/v1/jobs/017f22e2-79b0-7cc3-98c4-dc0c0c07398f", admin, None), &[404]),
        }
    }

    /// The current caller. The same caller makes all requests of a round.
    fn caller(&self) -> &(String, String) {
        let turn = self.asked / 12 % self.callers.len().max(1);
        self.callers.get(turn).unwrap_or_else(|| unreachable!("there are callers"))
    }

    /// The record of this round.
    fn record(&self) -> String {
        let round = self.asked / 12;
        format!("0199f5a0-0000-7000-8000-{round:012x}")
    }
}
