//! `cargo run -p undercroft-bench --example memory [-- REQUESTS [FUNCTION...]]`: the memory of every function after so many
//! mixed requests (10,000), and the most that the worker held while it imported and exported ten times as many rows (`rows`,
//! as if it were a function). Fails where it is more than a twentieth more at the end: than after a tenth of the requests,
//! and than after half of the rows, when all buffers have been filled.
#![allow(
    clippy::disallowed_methods,
    clippy::double_ended_iterator_last,
    clippy::cloned_ref_to_slice_refs,
    reason = "a bench is a separate program that may block its threads"
)]

use std::path::Path;

use serde_json::{Value, json};
use undercroft::error::Source;
use undercroft::jobs::{EXPORT_JOB, IMPORT_JOB};
use undercroft_bench::artefact;
use undercroft_bench::job;
use undercroft_bench::mixed::{Asked, FUNCTIONS};
use undercroft_bench::report::{resident, say, thousands};
use undercroft_bench::stack::Stack;

/// Where memory is measured, in percent of all requests.
const POINTS: [u64; 7] = [1, 10, 20, 40, 60, 80, 100];
/// Maximum growth in percent.
const MOST_GROWTH: u64 = 5;

fn main() -> Result<(), Source> {
    let mut arguments = std::env::args().skip(1);
    let requests = arguments.next().map_or(Ok(10_000), |text| text.parse::<u64>())?;
    let chosen: Vec<String> = arguments.collect();
    let folder = tempfile::tempdir()?;
    let columns: String = POINTS.iter().map(|point| format!("{:>9}", thousands(requests * point / 100))).collect();
    say(format!("{:<14}{columns}   growth", "KiB after"));
    let mut grown: Vec<&str> = Vec::new();
    let is_chosen = |name: &&str| chosen.is_empty() || chosen.iter().any(|one| one == name);
    for name in FUNCTIONS.into_iter().filter(is_chosen) {
        grown.extend(line(name, &curve(name, &folder.path().join(name), requests)?, 1).then_some(name));
    }
    if is_chosen(&"rows") {
        let rows = requests * 10;
        let columns: String = (1..=10).map(|tenth| format!("{:>9}", thousands(rows * tenth / 10))).collect();
        say(format!("{:<14}{columns}   growth", "most KiB, rows"));
        for (name, peaks) in files(&folder.path().join("rows"), rows)? {
            grown.extend(line(name, &peaks, 4).then_some(name));
        }
    }
    match grown.is_empty() {
        true => Ok(()),
        false => Err(format!("more than {MOST_GROWTH} % more at the end: {grown:?}").into()),
    }
}

/// The memory of a function at each point.
fn curve(name: &'static str, folder: &Path, requests: u64) -> Result<Vec<u64>, Source> {
    let stack = Stack::start_in(folder)?;
    let mut asked = Asked::start(&stack, name, &artefact::function(name)?)?;
    let (mut curve, mut made) = (Vec::new(), 0);
    for point in POINTS {
        while made < requests * point / 100 {
            asked.ask().map_err(|error| format!("{name}, after {made} requests: {error}"))?;
            made += 1;
        }
        curve.push(resident(asked.process()));
    }
    Ok(curve)
}

/// The peak memory of a worker after each tenth of an import, and of another after each tenth of an export.
fn files(folder: &Path, rows: u64) -> Result<[(&'static str, Vec<u64>); 2], Source> {
    let (stack, worker) = (Stack::start_in(folder)?, artefact::function("worker")?);
    stack.put_notes(8)?;
    let (key, _) = job::upload(&stack, rows)?;
    let run = |kind: &str, payload: Value| -> Result<Vec<u64>, Source> {
        let peaks = job::run(&stack, &worker, kind, payload.as_object().cloned().unwrap_or_default())?.peaks;
        let nth = |tenth: usize| peaks.get((peaks.len() * tenth / 10).saturating_sub(1)).copied().unwrap_or_default();
        Ok((1..=10).map(nth).collect())
    };
    let import = run(IMPORT_JOB, json!({ "collection": "notes", "format": "ndjson", "key": key }))?;
    let export = run(EXPORT_JOB, json!({ "collection": "notes", "format": "ndjson" }))?;
    Ok([("import", import), ("export", export)])
}

/// Prints a curve and compares its last point with the one at `from`. Returns whether it grew too much.
fn line(name: &str, curve: &[u64], from: usize) -> bool {
    let points: String = curve.iter().map(|bytes| format!("{:>9}", thousands(bytes / 1024))).collect();
    let (from, last) = (curve.get(from).copied().unwrap_or(1), curve.last().copied().unwrap_or_default());
    say(format!("{name:<14}{points}   {:.3}", last as f64 / from as f64));
    last * 100 > from * (100 + MOST_GROWTH)
}
