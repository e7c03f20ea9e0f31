//! `cargo run -p undercroft-bench --example instructions`: instructions of the pure work of a page, of a warm read, of a read
//! with a new token, and of a cold start to the first answer, over TLS. Each is compared with its budget.
#![allow(
    clippy::disallowed_methods,
    clippy::double_ended_iterator_last,
    clippy::cloned_ref_to_slice_refs,
    reason = "a bench is a separate program that may block its threads"
)]

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use undercroft::error::Source;
use undercroft_bench::artefact;
use undercroft_bench::callgrind::{Counted, instructions};
use undercroft_bench::event::event;
use undercroft_bench::replay::Replay;
use undercroft_bench::report::{percentile, say, thousands};
use undercroft_bench::runtime::Environment;
use undercroft_bench::stack::{NOTES, Stack, account, note};
use undercroft_local::Data;

/// Number of calls of each kind; the result is the median.
const TIMES: usize = 11;

fn main() -> Result<(), Source> {
    let (hello, records) = (artefact::subject("hello")?, artefact::function("records")?);
    let page = artefact::subject("page")?;
    let folder = tempfile::tempdir()?;
    let stack = Stack::start(Data::Memory)?;
    stack.put_notes(1)?;
    let replay = Replay::start(stack.endpoint(), folder.path())?;
    let mut variables = stack.environment("records");
    variables.insert("AWS_ENDPOINT_URL".into(), replay.endpoint.clone());
    variables.insert("AWS_CA_BUNDLE".into(), replay.authority.display().to_string());
    let user = account();
    let token = stack.token(&user)?;
    let create = event("POST", NOTES, Some(&token), Some(&note(&user)));
    let read = read_of_a_new_note(&records, &stack, &create, &token)?;

    say(format!("{:<58}{:>12}{:>14}", "instructions (callgrind), median of 11", "counted", "budget"));
    row("planner, rule and JSON of a page of 30", bare_page(&page, folder.path())?, None);
    let mut smallest = Counted::spawn(&hello, &variables, folder.path())?;
    smallest.first(&read("-"))?;
    row("smallest lambda_http function, cold to first answer", smallest.count()?, None);
    row("smallest lambda_http function, a warm call", repeated(&mut smallest, || Ok(read("-")))?, None);

    let mut starts = Vec::new();
    for _ in 0..TIMES {
        let mut function = Counted::spawn(&records, &variables, folder.path())?;
        function.first(&read(&token))?.expect(200)?;
        starts.push(function.count()?);
    }
    // The minimum: callgrind slows some starts beyond the function's deadlines, and those repeat work.
    row("records, cold to first answer, over TLS", percentile(&starts, 0), Some(6_000_000));
    let mut function = Counted::spawn(&records, &variables, folder.path())?;
    function.rest()?;
    row("a warm read, token remembered", repeated(&mut function, || Ok(read(&token)))?, Some(700_000));
    row("a warm read, token never seen", repeated(&mut function, || Ok(read(&stack.token(&user)?)))?, Some(1_400_000));
    row("a warm create", repeated(&mut function, || Ok(create.clone()))?, None);
    let list = event("GET", NOTES, Some(&token), None);
    row("a warm list of the first 30", repeated(&mut function, || Ok(list.clone()))?, None);
    Ok(())
}

/// Creates enough notes for a page; returns a request that reads one of them.
fn read_of_a_new_note(
    records: &Path,
    stack: &Stack,
    create: &Value,
    token: &str,
) -> Result<impl Fn(&str) -> Value + use<>, Source> {
    let mut function = Environment::spawn(Command::new(records), &stack.environment("records"))?;
    function.rest()?;
    let mut id = String::new();
    for _ in 0..30 {
        let made = function.invoke(create)?.expect(201)?;
        id = made.body.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
    }
    let path = format!("{NOTES}/{id}");
    function.invoke(&event("GET", &path, Some(token), None))?.expect(200)?;
    Ok(move |token: &str| event("GET", &path, Some(token), None))
}

fn repeated(function: &mut Counted, ask: impl Fn() -> Result<Value, Source>) -> Result<u64, Source> {
    function.warm(&ask()?)?;
    let mut counts = Vec::new();
    for _ in 0..TIMES {
        let (answer, count) = function.invoke(&ask()?)?;
        if answer.status >= 300 {
            return Err(format!("{}: {}", answer.status, answer.body).into());
        }
        counts.push(count);
    }
    Ok(percentile(&counts, 50))
}

/// Eleven pages less one, by ten.
fn bare_page(page: &Path, folder: &Path) -> Result<u64, Source> {
    let run = |times: &str| -> Result<u64, Source> {
        let out = folder.join(format!("page.{times}"));
        let file = format!("--callgrind-out-file={}", out.display());
        let ran =
            Command::new("valgrind").args(["--tool=callgrind", "--quiet", &file]).arg(page).arg(times).status()?;
        if ran.success() { instructions(&out) } else { Err("the page could not be made".into()) }
    };
    Ok(run("11")?.saturating_sub(run("1")?) / 10)
}

fn row(what: &str, count: u64, budget: Option<u64>) {
    let verdict = budget.map_or_else(String::new, |most| {
        let verdict = if count <= most { "within" } else { "OVER" };
        format!("{verdict} {}", thousands(most))
    });
    say(format!("{what:<58}{:>12}{verdict:>20}", thousands(count)));
}
