//! Mixed requests for each function, one after the other: successful ones, refused ones, with and without warm caches. Memory is
//! measured over these.

mod http;
mod stream;

use std::path::Path;
use std::process::Command;

use serde_json::{Map, Value, json};
use undercroft::clock::Clock;
use undercroft::error::Source;
use undercroft::files::{Format, export_key};
use undercroft::id;
use undercroft::jobs::{EXPORT_JOB, IMPORT_JOB};
use undercroft::store::jobs::{Job, Jobs};

use crate::job::message;
use crate::runtime::Environment;
use crate::stack::{Stack, account, definition, note};

/// The functions.
pub const FUNCTIONS: [&str; 7] = ["auth", "collections", "docs", "records", "jobs", "relay", "worker"];

/// A function that receives mixed requests.
#[derive(Debug)]
pub struct Asked<'a> {
    function: Environment,
    asks: Asks<'a>,
}

#[derive(Debug)]
enum Asks<'a> {
    Http(http::Requests<'a>),
    Stream(stream::Events),
    Queue(Messages<'a>),
}

impl<'a> Asked<'a> {
    /// Starts the function with this name, in an environment as the template has it.
    ///
    /// # Errors
    /// When it does not start, or what it is asked about cannot be made.
    pub fn start(stack: &'a Stack, name: &'static str, bootstrap: &Path) -> Result<Self, Source> {
        let asks = match name {
            "relay" => Asks::Stream(stream::Events::new(stack)?),
            "worker" => Asks::Queue(Messages::new(stack)?),
            _ => Asks::Http(http::Requests::new(stack, name)?),
        };
        let mut function = Environment::spawn(Command::new(bootstrap), &stack.environment(name))?;
        function.rest()?;
        Ok(Self { function, asks })
    }

    /// Sends the next request, and waits for the answer.
    ///
    /// # Errors
    /// When the answer is not among those expected for the request.
    pub fn ask(&mut self) -> Result<(), Source> {
        match &mut self.asks {
            Asks::Http(requests) => requests.ask(&mut self.function),
            Asks::Stream(events) => handed(&mut self.function, &events.next()),
            Asks::Queue(messages) => handed(&mut self.function, &messages.next()?),
        }
    }

    /// The function's process.
    pub fn process(&self) -> u32 {
        self.function.id()
    }
}

/// Sends an event of a stream or a queue, of which no record may fail.
fn handed(function: &mut Environment, event: &Value) -> Result<(), Source> {
    let answer = function.invoke(event)?.body;
    match answer.get("batchItemFailures").and_then(Value::as_array) {
        Some(failed) if failed.is_empty() => Ok(()),
        _ => Err(format!("{answer} to {event}").into()),
    }
}

/// Messages about jobs of every kind that ends without further events.
#[derive(Debug)]
struct Messages<'a> {
    stack: &'a Stack,
    jobs: Jobs,
    file: String,
    asked: u64,
}

impl<'a> Messages<'a> {
    fn new(stack: &'a Stack) -> Result<Self, Source> {
        stack.put_notes(1)?;
        stack.put(&definition("empty", 1))?;
        let (files, file) = (stack.files()?, export_key(&id::new(&Clock::default()), Format::Ndjson));
        let author = account();
        let rows: String = (0..3).map(|_| format!("{}\n", note(&author))).collect();
        let refused = "{\"text\":7}\nno row\n";
        let rows = format!("{rows}{refused}");
        stack.wait(async {
            let upload = files.start_upload(&file, Format::Ndjson.content_type()).await?;
            let part = files.upload_part(&file, &upload, 1, rows.into_bytes()).await?.ok_or("the upload is gone")?;
            files.complete_upload(&file, &upload, &[(1, part)]).await?;
            Ok::<_, Source>(())
        })?;
        Ok(Self { stack, jobs: stack.jobs()?, file, asked: 0 })
    }

    fn next(&mut self) -> Result<Value, Source> {
        self.asked += 1;
        let (kind, payload) = match self.asked % 20 {
            1 => (IMPORT_JOB, json!({ "collection": "notes", "format": "ndjson", "key": self.file })),
            2 => (IMPORT_JOB, json!({ "collection": "notes", "format": "ndjson", "key": "uploads/none.ndjson" })),
            3 => (EXPORT_JOB, json!({ "collection": "empty", "format": "csv" })),
            4 => (EXPORT_JOB, json!({ "collection": "nowhere", "format": "csv" })),
            5 => ("no.such_job", json!({ "some": "thing" })),
            6 => ("email.send", json!({ "to": 7 })),
            _ => ("email.send", json!({ "to": "ada@example.org", "subject": "Hello", "text": "x".repeat(2000) })),
        };
        let clock = Clock::default();
        let payload: Map<String, Value> = payload.as_object().cloned().unwrap_or_default();
        let job = Job::new(id::new(&clock), kind, payload, "load");
        self.stack.wait(self.jobs.enqueue(&job)).map_err(|error| error.to_string())?;
        message(&job)
    }
}
