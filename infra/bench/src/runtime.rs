//! One execution environment as Lambda would run it: a function's bootstrap, and the Runtime API on loopback it asks for
//! events. Whoever holds it hands over one event at a time and knows when the function is at rest again.

use std::collections::BTreeMap;
use std::fs::File;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use undercroft::clock::Clock;
use undercroft::error::Source;
use undercroft::id;

use crate::http1::{self, Message};

/// How long a function may take for anything, in seconds. Under an instrument it is slow.
const PATIENCE_SECONDS: u64 = 120;

/// A running function.
#[derive(Debug)]
pub struct Environment {
    child: Child,
    events: Sender<Value>,
    reported: Receiver<Reported>,
}

/// What the function sent to the Runtime API.
#[derive(Debug)]
enum Reported {
    /// It waits for an event.
    Waiting,
    /// It has answered one.
    Answered(Vec<u8>),
    /// It could not.
    Failed(String),
}

/// A function's answer to an event.
#[derive(Debug, Clone)]
pub struct Answer {
    /// HTTP status; 0 for what answers another event.
    pub status: u16,
    /// Its headers, names in small letters.
    pub headers: BTreeMap<String, String>,
    /// The body, `null` if it is not JSON. What answers another event than HTTP's: the whole answer.
    pub body: Value,
}

impl Answer {
    /// The answer, if it has this status.
    ///
    /// # Errors
    /// The body, where it has another.
    pub fn expect(self, status: u16) -> Result<Self, Source> {
        match self.status == status {
            true => Ok(self),
            false => Err(format!("{} instead of {status}: {}", self.status, self.body).into()),
        }
    }

    /// What `Undercroft-Cost` says.
    pub fn cost(&self) -> &str {
        self.headers.get("undercroft-cost").map_or("", String::as_str)
    }
}

impl Environment {
    /// Starts `command` with these variables and no others, and does not wait for it. What it logs is added to the file that
    /// the variable `LOGS` names, if it names one.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn(mut command: Command, variables: &BTreeMap<String, String>) -> Result<Self, Source> {
        let (events, waiting) = channel();
        let (tell, reported) = channel();
        let waiting = Arc::new(Mutex::new(waiting));
        let address = http1::listen(move |stream| {
            http1::converse(stream, |request| reply(&request, &waiting, &tell));
        })?;
        let log =
            std::env::var_os("LOGS").map(|path| File::options().create(true).append(true).open(path)).transpose()?;
        let output = |file: Option<File>| file.map_or_else(Stdio::null, Stdio::from);
        command.env_clear().envs(variables).envs(of_lambda()).env("AWS_LAMBDA_RUNTIME_API", address.to_string());
        let copy = log.as_ref().map(File::try_clone).transpose()?;
        command.stdin(Stdio::null()).stdout(output(copy)).stderr(output(log));
        Ok(Self { child: command.spawn()?, events, reported })
    }

    /// Waits until the function asks for its next event: it has started, or has nothing left to do.
    ///
    /// # Errors
    /// When it ends or fails instead.
    pub fn rest(&mut self) -> Result<(), Source> {
        match self.next()? {
            Reported::Waiting => Ok(()),
            other => Err(format!("the function should be at rest: {other:?}").into()),
        }
    }

    /// Lays an event ready, for a function that is asked before it has started.
    pub fn hand(&self, event: &Value) {
        let _ = self.events.send(event.clone());
    }

    /// Waits for the answer to the event that was handed over.
    ///
    /// # Errors
    /// When the function ends or fails instead.
    pub fn answer(&mut self) -> Result<Answer, Source> {
        loop {
            match self.next()? {
                Reported::Waiting => {}
                Reported::Answered(answer) => return read(&answer),
                Reported::Failed(why) => return Err(why.into()),
            }
        }
    }

    /// Hands an event to a function at rest, and returns its answer once it rests again.
    ///
    /// # Errors
    /// When the function ends or fails instead.
    pub fn invoke(&mut self, event: &Value) -> Result<Answer, Source> {
        self.hand(event);
        let answer = self.answer()?;
        self.rest()?;
        Ok(answer)
    }

    /// The function's process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    fn next(&mut self) -> Result<Reported, Source> {
        self.reported.recv_timeout(Duration::from_secs(PATIENCE_SECONDS)).map_err(|_| match self.child.try_wait() {
            Ok(Some(status)) => format!("the function ended: {status}").into(),
            _ => format!("the function said nothing for {PATIENCE_SECONDS} s").into(),
        })
    }
}

impl Drop for Environment {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Answers one request to the Runtime API. Nothing, once nobody holds the environment any more.
fn reply(request: &Message, waiting: &Mutex<Receiver<Value>>, tell: &Sender<Reported>) -> Option<Vec<u8>> {
    let (_, path) = request.words();
    if path.ends_with("/invocation/next") {
        tell.send(Reported::Waiting).ok()?;
        let event = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv().ok()?;
        return Some(next(&event, &invocation()));
    }
    let reported = match path.ends_with("/response") {
        true => Reported::Answered(request.body.clone()),
        false => Reported::Failed(format!("{path}: {}", String::from_utf8_lossy(&request.body))),
    };
    tell.send(reported).ok()?;
    Some(http1::answer(202, br#"{"status":"OK"}"#))
}

/// An id no other invocation here has: by it a function knows its own writes again.
fn invocation() -> String {
    id::new(&Clock::default())
}

fn next(event: &Value, id: &str) -> Vec<u8> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let deadline = (now + Duration::from_secs(PATIENCE_SECONDS)).as_millis().to_string();
    let headers = [
        ("content-type", "application/json"),
        ("lambda-runtime-aws-request-id", id),
        ("lambda-runtime-deadline-ms", deadline.as_str()),
        ("lambda-runtime-invoked-function-arn", "arn:aws:lambda:eu-west-1:123456789012:function:load"),
        ("lambda-runtime-trace-id", "Root=1-00000000-000000000000000000000000;Sampled=0"),
    ];
    http1::bytes("HTTP/1.1 200 OK", &headers, event.to_string().as_bytes())
}

fn of_lambda() -> [(&'static str, &'static str); 6] {
    [
        ("AWS_LAMBDA_FUNCTION_NAME", "load"),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256"),
        ("AWS_LAMBDA_LOG_GROUP_NAME", "load"),
        ("AWS_LAMBDA_LOG_STREAM_NAME", "load"),
        ("LOG_LEVEL", "info"),
    ]
}

fn read(answer: &[u8]) -> Result<Answer, Source> {
    let answer: Value = serde_json::from_slice(answer)?;
    if answer.get("statusCode").is_none() {
        return Ok(Answer { status: 0, headers: BTreeMap::new(), body: answer });
    }
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
    let headers = answer.get("headers").and_then(Value::as_object).into_iter().flatten();
    Ok(Answer {
        status: answer
            .get("statusCode")
            .and_then(Value::as_u64)
            .and_then(|status| u16::try_from(status).ok())
            .unwrap_or(0),
        headers: headers.map(|(name, value)| (name.to_ascii_lowercase(), text(Some(value)))).collect(),
        body: serde_json::from_str(&text(answer.get("body"))).unwrap_or_default(),
    })
}
