//! `cargo run -p undercroft-bench --example cold`: cold start to the first answer, with DynamoDB over TLS, compared with the
//! smallest possible function, alternating in one run; then both with 7 % of a processor, Lambda's share for 128 MB.
#![allow(
    clippy::disallowed_methods,
    clippy::double_ended_iterator_last,
    clippy::cloned_ref_to_slice_refs,
    reason = "a bench is a separate program that may block its threads"
)]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use serde_json::Value;
use undercroft::error::Source;
use undercroft_bench::artefact;
use undercroft_bench::event::event;
use undercroft_bench::replay::Replay;
use undercroft_bench::report::{machine, millis, percentile, processor_time, say};
use undercroft_bench::runtime::Environment;
use undercroft_bench::slice::Slice;
use undercroft_bench::stack::{NOTES, Stack, account, note};
use undercroft_local::Data;

/// Number of starts of each function.
const TIMES: usize = 41;

struct Subject<'a> {
    bootstrap: &'a Path,
    variables: &'a BTreeMap<String, String>,
    event: Value,
}

fn main() -> Result<(), Source> {
    let (hello, records) = (artefact::subject("hello")?, artefact::function("records")?);
    let folder = tempfile::tempdir()?;
    let stack = Stack::start(Data::Memory)?;
    stack.put_notes(1)?;
    let replay = Replay::start(stack.endpoint(), folder.path())?;
    let mut variables = stack.environment("records");
    variables.insert("AWS_ENDPOINT_URL".into(), replay.endpoint);
    variables.insert("AWS_CA_BUNDLE".into(), replay.authority.display().to_string());
    let user = account();
    let token = stack.token(&user)?;
    let path = format!("{NOTES}/{}", one_note(&records, &stack, &user, &token)?);
    let event = event("GET", &path, Some(&token), None);
    let smallest = Subject { bootstrap: &hello, variables: &variables, event: event.clone() };
    let ours = Subject { bootstrap: &records, variables: &variables, event };

    say(format!("cold start, {TIMES} spawns each, in turns; {}", machine()));
    compare("a whole processor", &smallest, &ours, None, 3.0)?;
    match Slice::of_percent(7) {
        Ok(slice) => compare("7 % of a processor", &smallest, &ours, Some(&slice), 2.5)?,
        Err(error) => {
            say(format!("7 % of a processor: not measured, because no control group can be created here ({error})"))
        }
    }
    Ok(())
}

fn one_note(records: &Path, stack: &Stack, user: &str, token: &str) -> Result<String, Source> {
    let mut function = Environment::spawn(Command::new(records), &stack.environment("records"))?;
    function.rest()?;
    let made = function.invoke(&event("POST", NOTES, Some(token), Some(&note(user))))?.expect(201)?;
    Ok(made.body.get("id").and_then(Value::as_str).unwrap_or_default().to_owned())
}

fn compare(what: &str, smallest: &Subject, ours: &Subject, slice: Option<&Slice>, most: f64) -> Result<(), Source> {
    // The first start of each is not counted: it fills the caches of the replay and the disk.
    started(smallest, slice)?;
    started(ours, slice)?;
    let (mut theirs, mut own) = (Vec::new(), Vec::new());
    for _ in 0..TIMES {
        theirs.push(started(smallest, slice)?);
        own.push(started(ours, slice)?);
    }
    say(format!("{what:<20}{:>26}{:>26}{:>9}", "smallest lambda_http", "records, a read", "ratio"));
    for (name, column) in [("wall clock", 0), ("its processor time", 1)] {
        let of = |times: &[[f64; 2]], percent| {
            let values: Vec<f64> = times.iter().filter_map(|time| time.get(column)).copied().collect();
            percentile(&values, percent)
        };
        let ratio = of(&own, 50) / of(&theirs, 50);
        let shown = |times: &[[f64; 2]]| format!("p50 {:.1} ms, p90 {:.1} ms", of(times, 50), of(times, 90));
        say(format!("  {name:<18}{:>26}{:>26}{ratio:>9.2}  (budget {most:.1})", shown(&theirs), shown(&own)));
    }
    Ok(())
}

/// Milliseconds from spawn to answer, and of processor time in them.
fn started(subject: &Subject, slice: Option<&Slice>) -> Result<[f64; 2], Source> {
    let command = slice.map_or_else(|| Command::new(subject.bootstrap), |slice| slice.command(subject.bootstrap));
    let began = Instant::now();
    let mut function = Environment::spawn(command, subject.variables)?;
    function.hand(&subject.event);
    let answer = function.answer()?;
    let took = millis(began.elapsed());
    answer.expect(200)?;
    Ok([took, millis(processor_time(function.id()))])
}
