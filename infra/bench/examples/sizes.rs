//! `cargo run -p undercroft-bench --example sizes`: size, zipped size and idle memory of every function as deployed. Each is
//! built separately, which takes minutes the first time.
#![allow(
    clippy::disallowed_methods,
    clippy::double_ended_iterator_last,
    clippy::cloned_ref_to_slice_refs,
    reason = "a bench is a separate program that may block its threads"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use undercroft::error::Source;
use undercroft_bench::artefact;
use undercroft_bench::report::{resident, say};
use undercroft_bench::runtime::Environment;
use undercroft_bench::stack::Stack;
use undercroft_local::Data;

/// The functions of template.yaml, small ones first, unless others are named.
const FUNCTIONS: [&str; 7] = ["relay", "worker", "jobs", "auth", "collections", "docs", "records"];

fn main() -> Result<(), Source> {
    let asked: Vec<String> = std::env::args().skip(1).collect();
    let names = if asked.is_empty() { FUNCTIONS.map(str::to_owned).to_vec() } else { asked };
    let stack = Stack::start(Data::Memory)?;
    let hello = artefact::subject("hello")?;
    say(format!("{:<14}{:>16}{:>12}{:>18}", "", "bootstrap MB", "zip MB", "at rest MiB"));
    line("hello", &hello, &stack.environment("records"))?;
    for name in names {
        line(&name, &artefact::function(&name)?, &stack.environment(&name))?;
    }
    Ok(())
}

fn line(name: &str, bootstrap: &Path, variables: &BTreeMap<String, String>) -> Result<(), Source> {
    let mut function = Environment::spawn(Command::new(bootstrap), variables)?;
    function.rest()?;
    let held = resident(function.id()) as f64 / f64::from(1 << 20);
    let (whole, zipped) = (fs::metadata(bootstrap)?.len(), zipped(bootstrap)?);
    say(format!("{name:<14}{:>16.2}{:>12.2}{held:>18.1}", megabytes(whole), megabytes(zipped)));
    Ok(())
}

/// Its zipped size, by Python, which this repository requires anyway.
fn zipped(bootstrap: &Path) -> Result<u64, Source> {
    let script = "import sys,zlib; z=zlib.compressobj(9,zlib.DEFLATED,-15); d=open(sys.argv[1],'rb').read(); \
        print(len(z.compress(d))+len(z.flush()))";
    let output = Command::new("python3").args(["-c", script]).arg(bootstrap).output()?;
    Ok(String::from_utf8(output.stdout)?.trim().parse()?)
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
