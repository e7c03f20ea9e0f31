//! `cargo run -p undercroft-bench --example peers -- --admin-password '...'`: insert, read and list against a running `cargo
//! dev --release -- --release --concurrency 16`, over 16 connections that are kept alive. README.md has the peers' figures.
#![allow(
    clippy::disallowed_methods,
    clippy::double_ended_iterator_last,
    clippy::cloned_ref_to_slice_refs,
    reason = "a bench is a separate program that may block its threads"
)]

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use serde_json::{Value, json};
use undercroft::error::Source;
use undercroft_bench::http1::{Connection, bytes};
use undercroft_bench::report::{family, machine, millis, name, percentile, processor_time, say};
use undercroft_bench::stack::{NOTES, definition, note};

/// Loads a running backend with inserts, reads and lists.
#[derive(Debug, Clone, Parser)]
struct Options {
    /// Address of the API.
    #[arg(long, default_value = "127.0.0.1:9000")]
    api: String,
    /// Address of the dashboard, for the mail with the code.
    #[arg(long, default_value = "127.0.0.1:9001")]
    dashboard: String,
    /// The admin's address.
    #[arg(long, default_value = "admin@example.com")]
    admin: String,
    /// The admin's password, as `cargo dev` printed it.
    #[arg(long)]
    admin_password: String,
    /// Connections, each with one request at a time.
    #[arg(long, default_value_t = 16)]
    connections: usize,
    /// Duration of each kind of request, in seconds.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// The process whose processor time, and its children's, is counted: that of `cargo dev`.
    #[arg(long)]
    process: Option<u32>,
}

/// The results of one connection.
#[derive(Debug, Default)]
struct Seen {
    took: Vec<Duration>,
    errors: Vec<String>,
    ids: Vec<String>,
}

fn main() -> Result<(), Source> {
    let options = Options::parse();
    let (token, user) = set_up(&options)?;
    let insert = request("POST", NOTES, &token, Some(&note(&user)));
    say(format!("{} connections, {} s each; {}", options.connections, options.seconds, machine()));
    // Starts every instance; not counted.
    let ids = load(&options, None, std::slice::from_ref(&insert))?;
    load(&options, Some("insert"), &[insert])?;
    let reads: Vec<_> = ids.iter().map(|id| request("GET", &format!("{NOTES}/{id}"), &token, None)).collect();
    load(&options, Some("read"), &reads)?;
    load(&options, Some("list 30"), &[request("GET", NOTES, &token, None)])?;
    Ok(())
}

fn load(options: &Options, kind: Option<&str>, requests: &[Vec<u8>]) -> Result<Vec<String>, Source> {
    let busy = || busy(options.process);
    let (before, began) = (busy(), Instant::now());
    let until = began + Duration::from_secs(options.seconds);
    let threads = (0..options.connections).map(|number| {
        let (api, requests) = (options.api.clone(), requests.to_vec());
        thread::spawn(move || one_connection(&api, &requests, number, until))
    });
    let threads: Vec<_> = threads.collect();
    let mut all = Seen::default();
    for thread in threads {
        let seen = thread.join().map_err(|_| "a connection panicked")??;
        all.took.extend(seen.took);
        all.errors.extend(seen.errors);
        all.ids.extend(seen.ids);
    }
    let (elapsed, answered) = (began.elapsed(), all.took.len());
    if let Some(kind) = kind {
        let at = |percent| millis(percentile(&all.took, percent));
        let per_second = answered as f64 / elapsed.as_secs_f64();
        let spent = spent(&before, &busy(), answered);
        say(format!(
            "{kind:<10}{per_second:>9.0} a second, p50 {:>7.1} ms, p99 {:>7.1} ms, {} errors{spent}",
            at(50),
            at(99),
            all.errors.len()
        ));
    }
    match all.errors.first() {
        Some(error) => Err(format!("{} requests failed, for example: {error}", all.errors.len()).into()),
        None => Ok(all.ids),
    }
}

/// The processor time that a process and its children had, by the name of their program.
fn busy(process: Option<u32>) -> BTreeMap<String, Duration> {
    let mut busy = BTreeMap::new();
    for member in process.into_iter().flat_map(family) {
        *busy.entry(name(member)).or_default() += processor_time(member);
    }
    busy
}

/// Processor time of a request by process, largest first; less than a hundredth of a millisecond is left out.
fn spent(before: &BTreeMap<String, Duration>, after: &BTreeMap<String, Duration>, requests: usize) -> String {
    let each = |name: &String, after: &Duration| {
        millis(after.saturating_sub(before.get(name).copied().unwrap_or_default())) / requests.max(1) as f64
    };
    let mut parts: Vec<(f64, &String)> = after.iter().map(|(name, after)| (each(name, after), name)).collect();
    parts.retain(|(spent, _)| *spent >= 0.01);
    parts.sort_by(|left, right| right.0.total_cmp(&left.0));
    let reported: Vec<String> = parts.iter().map(|(spent, name)| format!("{name} {spent:.2} ms")).collect();
    if reported.is_empty() { String::new() } else { format!("; of the processor: {}", reported.join(", ")) }
}

fn one_connection(api: &str, requests: &[Vec<u8>], first: usize, until: Instant) -> Result<Seen, Source> {
    let mut connection = Connection::open(api)?;
    let mut seen = Seen::default();
    for request in requests.iter().cycle().skip(first * 7) {
        let began = Instant::now();
        if began >= until {
            break;
        }
        let answer = connection.call(request)?;
        seen.took.push(began.elapsed());
        match answer.status() {
            200 => {}
            201 => seen.ids.extend(answer.header("location").and_then(|at| at.rsplit('/').next()).map(str::to_owned)),
            other => seen.errors.push(format!("{other}: {}", String::from_utf8_lossy(&answer.body))),
        }
    }
    Ok(seen)
}

/// Puts the collection as admin and creates a user; returns their token and id.
fn set_up(options: &Options) -> Result<(String, String), Source> {
    let mut api = Connection::open(&options.api)?;
    let mut ask = |method: &str, path: &str, token: &str, body: &Value| -> Result<Value, Source> {
        let answer = api.call(&request(method, path, token, Some(body)))?;
        let said = serde_json::from_slice::<Value>(&answer.body).unwrap_or_default();
        if answer.status() < 300 {
            Ok(said)
        } else {
            Err(format!("{method} {path}: {} {said}", answer.status()).into())
        }
    };
    let password = json!({ "email": options.admin, "password": options.admin_password });
    let admin = ask("POST", "/v1/auth/signin", "", &password)?;
    ask("PUT", "/v1/collections/notes", text(&admin, "/accessToken"), &definition("notes", 1))?;
    let email = format!("load-{}@example.org", std::process::id());
    let credentials = json!({ "email": email, "password": "correct horse battery staple" });
    let signed_up = ask("POST", "/v1/auth/signup", "", &credentials)?;
    let token = text(&signed_up, "/signupToken");
    let verify = json!({ "email": email, "code": code(options, &email)?, "signupToken": token });
    let session = ask("POST", "/v1/auth/verify", "", &verify)?;
    Ok((text(&session, "/accessToken").to_owned(), text(&session, "/user/id").to_owned()))
}

/// The code in the mail to this address; waits until relay and worker have sent it.
#[expect(clippy::disallowed_methods, reason = "this thread is not part of a function and may block")]
fn code(options: &Options, email: &str) -> Result<String, Source> {
    for _ in 0..300 {
        let mails = Connection::open(&options.dashboard)?.call(&request("GET", "/mail", "", None))?;
        let mails = serde_json::from_slice::<Value>(&mails.body).unwrap_or_default();
        let ours = mails.as_array().into_iter().flatten().find(|mail| mail.to_string().contains(email));
        let words = ours.map_or("", |mail| text(mail, "/text")).split_whitespace();
        if let Some(code) = words.into_iter().find(|word| word.len() == 35 && word.matches('-').count() == 5) {
            return Ok(code.to_owned());
        }
        thread::sleep(Duration::from_millis(100));
    }
    Err("no mail with a code came within 30 s".into())
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn request(method: &str, path: &str, token: &str, body: Option<&Value>) -> Vec<u8> {
    let bearer = format!("Bearer {token}");
    let headers = [("host", "localhost"), ("content-type", "application/json"), ("authorization", bearer.as_str())];
    let kept = headers.into_iter().filter(|(name, _)| *name != "authorization" || !token.is_empty());
    let body = body.map(Value::to_string).unwrap_or_default();
    bytes(&format!("{method} {path} HTTP/1.1"), &kept.collect::<Vec<_>>(), body.as_bytes())
}
