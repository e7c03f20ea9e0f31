//! `cargo run -p undercroft-bench --example files [-- ROWS]`: imports so many rows into a collection with an index and
//! exports them: rows a second, and the peak memory of the worker.
#![allow(
    clippy::disallowed_methods,
    clippy::double_ended_iterator_last,
    clippy::cloned_ref_to_slice_refs,
    reason = "a bench is a separate program that may block its threads"
)]

use serde_json::{Value, json};
use undercroft::error::Source;
use undercroft::jobs::{EXPORT_JOB, IMPORT_JOB};
use undercroft_bench::artefact;
use undercroft_bench::job::{self, Ran};
use undercroft_bench::report::{machine, say, thousands};
use undercroft_bench::stack::Stack;

fn main() -> Result<(), Source> {
    let rows = std::env::args().nth(1).map_or(Ok(100_000), |text| text.parse::<u64>())?;
    let worker = artefact::function("worker")?;
    let folder = tempfile::tempdir()?;
    let stack = Stack::start_in(&folder.path().join("data"))?;
    stack.put_notes(8)?;
    let (key, bytes) = job::upload(&stack, rows)?;
    say(format!("{} rows, {} MB; {}", thousands(rows), bytes / 1_000_000, machine()));
    say(format!(
        "{:<8}{:>10}{:>10}{:>10}{:>12}{:>14}{:>18}",
        "", "seconds", "slices", "failures", "rows/s", "peak MiB", "processor us/row"
    ));
    let import = json!({ "collection": "notes", "format": "ndjson", "key": key });
    line("import", "imported", rows, &run(&stack, &worker, IMPORT_JOB, import)?)?;
    let export = json!({ "collection": "notes", "format": "ndjson" });
    line("export", "records", rows, &run(&stack, &worker, EXPORT_JOB, export)?)?;
    say(machine());
    Ok(())
}

fn run(stack: &Stack, worker: &std::path::Path, kind: &str, payload: Value) -> Result<Ran, Source> {
    job::run(stack, worker, kind, payload.as_object().cloned().unwrap_or_default())
}

fn line(name: &str, counted: &str, rows: u64, ran: &Ran) -> Result<(), Source> {
    if ran.result.get(counted).and_then(Value::as_u64) != Some(rows) {
        return Err(format!("{name}: not all of them: {}", ran.result).into());
    }
    let seconds = ran.took.as_secs_f64();
    say(format!(
        "{name:<8}{seconds:>10.1}{:>10}{:>10}{:>12.0}{:>14.1}{:>18.0}",
        ran.slices,
        ran.failures,
        rows as f64 / seconds,
        ran.peak as f64 / 1_048_576.0,
        ran.processor.as_secs_f64() * 1e6 / rows as f64
    ));
    Ok(())
}
