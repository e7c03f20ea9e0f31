//! `cargo run -p undercroft-bench --example flat [-- MOST [shared]]`: the same page, create and patch with 10^3, 10^4, 10^5 and 10^6
//! records in the collection: units, round trips, items read, instructions of the function. The ratio to the first should be
//! 1.00. With `shared` the list is that of the notes shared with the caller: an index over the elements of an array.
#![allow(
    clippy::disallowed_methods,
    clippy::double_ended_iterator_last,
    clippy::cloned_ref_to_slice_refs,
    reason = "a bench is a separate program that may block its threads"
)]

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use undercroft::clock::Clock;
use undercroft::error::Source;
use undercroft_bench::artefact;
use undercroft_bench::callgrind::Counted;
use undercroft_bench::event::event;
use undercroft_bench::report::{say, thousands};
use undercroft_bench::runtime::{Answer, Environment};
use undercroft_bench::seed::copies;
use undercroft_bench::stack::{NOTES, Stack, account, note};

/// Number of calls of each kind; the result is the median of the instructions.
const TIMES: usize = 5;
/// The newest time of the seeded records: the copies of each step are older than all existing ones, one a millisecond.
const STEPS: [usize; 4] = [1_000, 10_000, 100_000, 1_000_000];
/// The measured pages, counted from 1.
const PAGES: [usize; 3] = [1, 100, 1_000];

/// The state shared by all sizes.
struct Bench<'a> {
    stack: &'a Stack,
    records: &'a Path,
    folder: &'a Path,
    user: &'a str,
    /// The result of each line at the first measured size.
    first: Vec<(String, String, u64)>,
}

fn main() -> Result<(), Source> {
    let most = std::env::args().nth(1).map_or(Ok(1_000_000), |text| text.parse::<usize>())?;
    let records = artefact::function("records")?;
    let folder = tempfile::tempdir()?;
    let stack = Stack::start_in(&folder.path().join("data"))?;
    match std::env::args().nth(2).as_deref() {
        None => stack.put_notes(1)?,
        Some("shared") => stack.put_shared_notes()?,
        Some(other) => return Err(format!("`{other}` is unknown: write shared, or nothing").into()),
    }
    let user = account();
    let pattern = pattern(&records, &stack, &user)?;
    let mut bench = Bench { stack: &stack, records: &records, folder: folder.path(), user: &user, first: Vec::new() };
    let (mut filled, mut from) = (1, Clock::default().millis());
    say(format!("{:<10}{:<18}{:<46}{:>14}{:>8}", "records", "call", "Undercroft-Cost", "instructions", "ratio"));
    for size in STEPS.into_iter().filter(|size| *size <= most) {
        from -= size as u64 * 2;
        copies(&stack, &folder.path().join("data"), &pattern, size - filled, from)?;
        filled = size;
        bench.measure(size)?;
    }
    Ok(())
}

/// The stored item of a note that the function wrote.
fn pattern(records: &Path, stack: &Stack, user: &str) -> Result<Value, Source> {
    let mut function = Environment::spawn(Command::new(records), &stack.environment("records"))?;
    function.rest()?;
    let token = stack.token(user)?;
    let made = function.invoke(&event("POST", NOTES, Some(&token), Some(&note(user))))?.expect(201)?;
    let names = json!({ ":pk": { "S": "c#notes#1#0" }, ":sk": { "S": made.body.get("id") } });
    let query = json!({ "TableName": stack.records_table()?, "KeyConditionExpression": "pk = :pk AND sk = :sk",
        "ExpressionAttributeValues": names });
    let found = stack.call("DynamoDB_20120810.Query", &query)?;
    found.pointer("/Items/0").cloned().ok_or_else(|| "the note is not where records are".into())
}

impl Bench<'_> {
    fn measure(&mut self, size: usize) -> Result<(), Source> {
        let variables = self.stack.environment("records");
        let mut function = Counted::spawn(self.records, &variables, self.folder)?;
        function.rest()?;
        let token = self.stack.token(self.user)?;
        for (page, path) in self.pages(size, &token)? {
            self.line(size, &format!("list, page {page}"), &mut function, &event("GET", &path, Some(&token), None))?;
        }
        let create = event("POST", NOTES, Some(&token), Some(&note(self.user)));
        let made = self.line(size, "create", &mut function, &create)?;
        let path = format!("{NOTES}/{}", made.body.get("id").and_then(Value::as_str).unwrap_or_default());
        let patch = event("PATCH", &path, Some(&token), Some(&json!({ "text": "x".repeat(180) })));
        self.line(size, "patch", &mut function, &patch)?;
        self.line(size, "read", &mut function, &event("GET", &path, Some(&token), None))?;
        Ok(())
    }

    /// The paths of the measured pages, as far as they exist. It reads all pages before them.
    fn pages(&self, size: usize, token: &str) -> Result<Vec<(usize, String)>, Source> {
        let mut function = Environment::spawn(Command::new(self.records), &self.stack.environment("records"))?;
        function.rest()?;
        let (mut path, mut pages) = (NOTES.to_owned(), Vec::new());
        for page in 1..=PAGES.into_iter().filter(|page| page * 30 < size).max().unwrap_or(1) {
            if PAGES.contains(&page) {
                pages.push((page, path.clone()));
            }
            let answer = function.invoke(&event("GET", &path, Some(token), None))?.expect(200)?;
            let cursor = answer.body.get("nextCursor").and_then(Value::as_str).ok_or("the pages end too soon")?;
            path = format!("{NOTES}?cursor={cursor}");
        }
        Ok(pages)
    }

    fn line(&mut self, size: usize, call: &str, function: &mut Counted, event: &Value) -> Result<Answer, Source> {
        function.warm(event)?;
        let mut seen = (0..TIMES).map(|_| function.invoke(event)).collect::<Result<Vec<_>, _>>()?;
        // Some calls read the definition again, as every function does every few seconds. The median call does not.
        seen.sort_by_key(|(_, count)| *count);
        let (answer, count) = seen.swap_remove(TIMES / 2);
        if answer.status >= 300 {
            return Err(format!("{call}: {} {}", answer.status, answer.body).into());
        }
        let kind = call.split(',').next().unwrap_or(call).to_owned();
        if !self.first.iter().any(|(known, ..)| *known == kind) {
            self.first.push((kind.clone(), answer.cost().to_owned(), count));
        }
        let first = self.first.iter().find(|(known, ..)| *known == kind);
        let (same, ratio) =
            first.map_or((false, 0.0), |(_, cost, first)| (cost == answer.cost(), count as f64 / *first as f64));
        let cost = format!("{}{}", answer.cost(), if same { "" } else { "  DIFFERS" });
        say(format!("{:<10}{call:<18}{cost:<46}{:>14}{ratio:>8.3}", thousands(size as u64), thousands(count)));
        Ok(answer)
    }
}
