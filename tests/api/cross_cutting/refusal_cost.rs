//! The work of a refusal (R75): input above a limit is refused with work proportional to its length. Work is counted in
//! allocations and their bytes on the thread, which is the same on every machine.

use crate::cross_cutting::bad_input::{THINGS, encoded, refused, with_things};
use crate::world::{Answer, Caller, World};
use allocation_counter::{AllocationInfo, measure};
use axum::http::Method;
use serde_json::{Map, Value, json};
use tokio::runtime::{Builder, Runtime};

/// Bytes allocated for each byte of a refused request, in addition to those of any refusal.
const BYTES: u64 = 128;
/// Bytes held at once for each byte of the request.
const AT_ONCE: u64 = 64;
/// Bytes held at once for a request of any length.
const ANYHOW: u64 = 64 * 1024;
/// Allocations for each byte. A list of numbers needs the most, because each number is parsed and refused.
const TIMES: u64 = 6;

struct Asked {
    method: Method,
    path: String,
    body: Vec<u8>,
}

impl Asked {
    fn get(query: &str) -> Self {
        Self { method: Method::GET, path: format!("{THINGS}?{query}"), body: Vec::new() }
    }

    fn send(method: Method, path: &str, body: impl Into<Vec<u8>>) -> Self {
        Self { method, path: path.to_owned(), body: body.into() }
    }

    fn len(&self) -> u64 {
        u64::try_from(self.path.len() + self.body.len()).unwrap()
    }

    async fn ask(&self, caller: &Caller<'_>) -> Answer {
        let knock = caller.request(self.method.clone(), &self.path);
        if self.method == Method::GET {
            return knock.send().await;
        }
        knock.header("content-type", "application/json").raw(self.body.clone()).send().await
    }

    /// The work of a refusal with warm caches.
    fn work(&self, runtime: &Runtime, caller: &Caller<'_>) -> AllocationInfo {
        refused(runtime.block_on(self.ask(caller)));
        measure(|| drop(runtime.block_on(self.ask(caller))))
    }
}

/// Requests that exceed a limit by one, or by far.
fn beyond(record: &str) -> Vec<Asked> {
    let joined = |part: &str, times: usize, by: &str| vec![part; times].join(by);
    let filter = |text: String| Asked::get(&format!("filter={}", encoded(&text)));
    let post = |body: String| Asked::send(Method::POST, THINGS, body);
    let nested = |depth: usize| format!("{{\"inner\":{}1{}}}", "[".repeat(depth), "]".repeat(depth));
    vec![
        filter(format!("text == '{}'", "x".repeat(5_991))),
        filter(joined("flag", 301, "||")),
        filter(joined("flag", 700, "&&")),
        filter(format!("count in [{}]", joined("1", 1_900, ","))),
        filter(format!("{}flag{}", "(".repeat(33), ")".repeat(33))),
        filter("(".repeat(5_900)),
        filter(format!("{}flag", "!".repeat(5_900))),
        filter(format!("text{}", ".x".repeat(1_900))),
        filter(format!("count == {}", "1".repeat(5_900))),
        Asked::get("limit=101"),
        Asked::get(&format!("sort={}", joined("text", 2_000, ","))),
        Asked::get(&format!("fields={}", joined("text", 2_000, ","))),
        Asked::get(&format!("cursor={}", "A".repeat(6_000))),
        Asked::get(&format!("expand={}", joined("owner", 2_000, "."))),
        post(nested(31)),
        post(nested(20_000)),
        post(format!("{{\"count\":{}}}", "1".repeat(20_000))),
        post(format!("{{\"count\":1e{}}}", "9".repeat(2_000))),
        post(format!("{{{}}}", joined("\"text\":\"x\"", 5_000, ","))),
        post(format!("{{\"text\":\"{}\"}}", "x".repeat(1024 * 1024))),
        Asked::send(Method::PATCH, record, format!("{{\"tags\":[{}]}}", joined("1", 400_000, ","))),
        Asked::send(Method::POST, "/v1/batch", format!("{{\"operations\":[{}]}}", joined("{}", 101, ","))),
    ]
}

#[test]
fn a_request_above_a_limit_is_refused_with_work_proportional_to_its_length() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let world = runtime.block_on(World::new());
    let (ada, record) = runtime.block_on(with_things(&world));
    let usual = Asked::get("filter=ghost").work(&runtime, &ada);
    for asked in beyond(&record) {
        let work = asked.work(&runtime, &ada);
        let reported = format!(
            "{} {:.60}, {} bytes: {work:?}; any refusal takes {usual:?}",
            asked.method,
            asked.path,
            asked.len()
        );
        assert!(work.bytes_total <= 2 * usual.bytes_total + BYTES * asked.len(), "{reported}");
        assert!(work.bytes_max <= 2 * usual.bytes_max + AT_ONCE * asked.len() + ANYHOW, "{reported}");
        assert!(work.count_total <= 2 * usual.count_total + TIMES * asked.len(), "{reported}");
    }
}

/// Schemas whose references multiply, or with too many patterns.
fn schemas() -> Vec<Value> {
    let chain = |length: usize, link: &dyn Fn(&str) -> Value| {
        let each = (0..length).map(|number| (format!("a{number}"), link(&format!("#/$defs/a{}", number + 1))));
        let mut defs: Map<String, Value> = each.collect();
        defs.insert(format!("a{length}"), json!({ "type": "string" }));
        json!({ "type": "object", "$defs": defs, "properties": { "x": { "$ref": "#/$defs/a0" } } })
    };
    let twice = |keyword: &'static str| move |next: &str| json!({ keyword: [{ "$ref": next }, { "$ref": next }] });
    let pattern =
        |number| (format!("p{number}"), json!({ "type": "string", "pattern": format!("^[a-z]{{1,400}}{number}$") }));
    vec![
        chain(24, &twice("allOf")),
        chain(24, &twice("anyOf")),
        chain(200, &twice("oneOf")),
        chain(900, &|next| json!({ "$ref": next })),
        json!({ "type": "object", "properties": { "x": {
            "type": "object", "properties": (0..300).map(pattern).collect::<Map<_, _>>() } } }),
        json!({ "type": "object", "properties": { "x": { "type": "string", "pattern": "^(a{1,1000}){1,1000}$" } } }),
        json!({ "type": "object", "properties": { "x": { "type": "array", "items": {
            "enum": (0..5_000).map(|number| json!({ "a": number })).collect::<Vec<_>>() } } } }),
    ]
}

#[test]
fn a_schema_too_complex_to_check_is_refused_with_little_work() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let world = runtime.block_on(World::new());
    let admin = runtime.block_on(world.admin());
    for schema in schemas() {
        let definition = json!({ "name": "large", "schema": schema }).to_string();
        let asked = Asked::send(Method::PUT, "/v1/collections/large", definition);
        let answer = refused(runtime.block_on(asked.ask(&admin)));
        let error = &answer.body["errors"][0];
        assert!(error["pointer"].as_str().unwrap().starts_with("/schema"), "{error}");
        let work = asked.work(&runtime, &admin);
        assert!(work.bytes_max < 8 * 1024 * 1024, "{error}: {work:?}");
        assert!(work.bytes_total <= 1_000_000 + 400 * asked.len(), "{error}, {} bytes: {work:?}", asked.len());
    }
}
