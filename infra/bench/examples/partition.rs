//! `cargo run -p undercroft-bench --example partition [-- WRITES_A_SECOND [SECONDS]]`: 64 writers on one collection, with 1
//! shard and with 8, through a proxy that gives each partition key only so many writes a second, as DynamoDB does.
#![allow(
    clippy::disallowed_methods,
    clippy::double_ended_iterator_last,
    clippy::cloned_ref_to_slice_refs,
    reason = "a bench is a separate program that may block its threads"
)]

use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use undercroft::error::Source;
use undercroft_bench::artefact;
use undercroft_bench::event::event;
use undercroft_bench::report::{machine, say};
use undercroft_bench::runtime::Environment;
use undercroft_bench::stack::{NOTES, Stack, account, note};
use undercroft_bench::throttle::Throttle;

/// Number of execution environments, each with one caller that writes continuously.
const WRITERS: usize = 64;
/// DynamoDB's limit. If the emulator does not reach eight times that, a smaller limit shows the ratio.
const WRITES_A_SECOND: f64 = 1_000.0;
/// Duration of the writes.
const SECONDS: f64 = 15.0;

fn main() -> Result<(), Source> {
    let number = |position, default| std::env::args().nth(position).map_or(Ok(default), |text| text.parse::<f64>());
    let (rate, seconds) = (number(1, WRITES_A_SECOND)?, number(2, SECONDS)?);
    let records = artefact::function("records")?;
    say(format!("{WRITERS} writers for {seconds} s, {rate} writes a second a partition; {}", machine()));
    say(format!(
        "{:<10}{:>14}{:>18}{:>14}{:>16}{:>20}",
        "shards", "writes/s", "of one's limit", "refused", "got 503", "busiest partition"
    ));
    for shards in [1, 8] {
        run(&records, shards, rate, seconds)?;
    }
    say("without a limit:");
    run(&records, 8, f64::INFINITY, seconds)
}

fn run(records: &Path, shards: u8, rate: f64, seconds: f64) -> Result<(), Source> {
    let folder = tempfile::tempdir()?;
    let stack = Stack::start_in(&folder.path().join("data"))?;
    stack.put_notes(shards)?;
    let throttle = Throttle::start(stack.endpoint(), partition_keys(&stack)?, rate)?;
    let mut variables = stack.environment("records");
    variables.insert("AWS_ENDPOINT_URL".into(), format!("http://{}", throttle.address));
    let mut writers = Vec::new();
    for _ in 0..WRITERS {
        // Each writer is another author, because the index on the author is partitioned too.
        let user = account();
        let create = event("POST", NOTES, Some(&stack.token(&user)?), Some(&note(&user)));
        let mut function = Environment::spawn(Command::new(records), &variables)?;
        function.rest()?;
        writers.push((function, create));
    }
    let until = Instant::now() + Duration::from_secs_f64(seconds);
    let threads = writers.into_iter().map(|(mut function, create)| {
        thread::spawn(move || -> Result<[u64; 2], Source> {
            let (mut made, mut reported) = (0, 0);
            while Instant::now() < until {
                match function.invoke(&create)?.status {
                    201 => made += 1,
                    503 => reported += 1,
                    other => return Err(format!("a write was answered {other}").into()),
                }
            }
            Ok([made, reported])
        })
    });
    let threads: Vec<_> = threads.collect();
    let (mut made, mut reported) = (0, 0);
    for thread in threads {
        let [one, other] = thread.join().map_err(|_| "a writer panicked")??;
        made += one;
        reported += other;
    }
    let per_second = made as f64 / seconds;
    let busiest =
        throttle.taken().into_iter().find(|(key, _)| key.starts_with("pk=c#")).unwrap_or_default().1 / seconds;
    say(format!(
        "{shards:<10}{per_second:>14.1}{:>18}{:>14}{reported:>16}{busiest:>18.1}/s",
        if rate.is_finite() { format!("{:.2}x", per_second / rate) } else { "-".to_owned() },
        throttle.refused()
    ));
    Ok(())
}

/// The attributes that the table and its indexes are partitioned by.
fn partition_keys(stack: &Stack) -> Result<Vec<String>, Source> {
    let described =
        stack.call("DynamoDB_20120810.DescribeTable", &serde_json::json!({ "TableName": stack.records_table()? }))?;
    let table = described.get("Table").ok_or("the table is not described")?;
    let indexes = table.get("GlobalSecondaryIndexes").and_then(|indexes| indexes.as_array()).into_iter().flatten();
    let schemas = std::iter::once(table).chain(indexes).filter_map(|holder| holder.get("KeySchema")?.as_array());
    let hash = schemas.flatten().filter(|key| key.get("KeyType").is_some_and(|kind| kind == "HASH"));
    Ok(hash.filter_map(|key| key.get("AttributeName")?.as_str().map(str::to_owned)).collect())
}
