//! `cargo run -p undercroft-load --example memory [-- REQUESTS [FUNCTION...]]`: the memory of every function after so many mixed
//! requests (10,000), and that of the worker importing and exporting ten times as many rows. Fails where a function holds more than
//! a twentieth more at the end than after a tenth of it.
#![allow(
    clippy::disallowed_methods,
    clippy::double_ended_iterator_last,
    clippy::cloned_ref_to_slice_refs,
    reason = "a bench is a program of its own: it has threads and waits"
)]

use std::path::Path;

use undercroft::error::Source;
use undercroft_load::artefact;
use undercroft_load::mixed::{Asked, FUNCTIONS};
use undercroft_load::report::{resident, say, thousands};
use undercroft_load::stack::Stack;

/// Where memory is looked at, as hundredths of all requests.
const POINTS: [u64; 7] = [1, 10, 20, 40, 60, 80, 100];
/// By how many hundredths the last may be more than the one after a tenth.
const MOST_GROWTH: u64 = 5;

fn main() -> Result<(), Source> {
    let mut arguments = std::env::args().skip(1);
    let requests = arguments.next().map_or(Ok(10_000), |text| text.parse::<u64>())?;
    let chosen: Vec<String> = arguments.collect();
    let folder = tempfile::tempdir()?;
    let columns: String = POINTS.iter().map(|point| format!("{:>9}", thousands(requests * point / 100))).collect();
    say(format!("{:<14}{columns}   of a tenth", "KiB after"));
    let mut grown = Vec::new();
    for name in FUNCTIONS.into_iter().filter(|name| chosen.is_empty() || chosen.iter().any(|one| one == name)) {
        let curve = curve(name, &folder.path().join(name), requests)?;
        let points: String = curve.iter().map(|bytes| format!("{:>9}", thousands(bytes / 1024))).collect();
        let (tenth, last) = (curve.get(1).copied().unwrap_or(1), curve.last().copied().unwrap_or_default());
        say(format!("{name:<14}{points}   {:.3}", last as f64 / tenth as f64));
        if last * 100 > tenth * (100 + MOST_GROWTH) {
            grown.push(name);
        }
    }
    match grown.is_empty() {
        true => Ok(()),
        false => {
            Err(format!("more than {MOST_GROWTH} % more after {requests} requests than after a tenth: {grown:?}")
                .into())
        }
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
