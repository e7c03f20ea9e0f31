//! Bodies and headers that are no UTF-8, and headers sent twice: through `cargo dev` they reach a function as API Gateway passes
//! them on, and are answered with a problem document.

use super::dev::Dev;
use serde_json::Value;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const RECORDS: &str = "/v1/collections/tasks/records";

/// `{"title":"x"}`, compressed with gzip.
const COMPRESSED: [u8; 33] = [
    0x1f, 0x8b, 0x08, 0, 0, 0, 0, 0, 0x02, 0x03, 0xab, 0x56, 0x2a, 0xc9, 0x2c, 0xc9, 0x49, 0x55, 0xb2, 0x52, 0xaa,
    0x50, 0xaa, 0x05, 0, 0x80, 0x9b, 0xe5, 0x4e, 0x0d, 0, 0, 0,
];

/// What it is, its headers and body, and the status and code of the answer.
type Case<'a> = (&'a str, &'a [&'a [u8]], &'a [u8], u16, &'a str);

/// The status and the body of the answer to these bytes.
async fn sent(dev: &Dev, method: &str, path: &str, headers: &[&[u8]], body: &[u8]) -> (u16, Value) {
    let mut request =
        format!("{method} {path} HTTP/1.1\r\nhost: localhost:{}\r\nconnection: close\r\n", dev.port).into_bytes();
    for header in headers {
        request.extend_from_slice(header);
        request.extend_from_slice(b"\r\n");
    }
    request.extend(format!("content-length: {}\r\n\r\n", body.len()).into_bytes());
    request.extend_from_slice(body);
    let exchange = async {
        let mut stream = TcpStream::connect(("127.0.0.1", dev.port)).await.unwrap();
        stream.write_all(&request).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        String::from_utf8(answer).unwrap()
    };
    let answer = tokio::time::timeout(Duration::from_secs(30), exchange).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap_or_else(|_| panic!("{head}\n{body}")))
}

/// Sends what a browser or a script may send, and holds each answer.
pub async fn are_answered(dev: &Dev, token: &str) {
    let bearer = format!("authorization: Bearer {token}").into_bytes();
    let json: &[u8] = b"content-type: application/json";
    let utf_16: Vec<u8> = r#"{"title":"x"}"#.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let create: [Case; 6] = [
        ("gzip", &[json, b"content-encoding: gzip"], &COMPRESSED, 415, "unsupported_encoding"),
        ("gzip without its header", &[json], &COMPRESSED, 400, "malformed_json"),
        ("Latin-1", &[json], b"{\"title\":\"caf\xe9\"}", 400, "malformed_json"),
        (
            "Latin-1 by its name",
            &[b"content-type: application/json; charset=iso-8859-1"],
            b"{\"title\":\"caf\xe9\"}",
            415,
            "unsupported_media_type",
        ),
        ("UTF-16", &[json], &utf_16, 400, "malformed_json"),
        ("a key in Latin-1", &[json, b"idempotency-key: caf\xe9"], b"{\"title\":\"x\"}", 400, "idempotency_key"),
    ];
    for (what, headers, body, status, code) in create {
        let headers = [&[bearer.as_slice()], headers].concat();
        let (answered, problem) = sent(dev, "POST", RECORDS, &headers, body).await;
        assert_eq!((answered, &problem["code"]), (status, &Value::from(code)), "{what}: {problem}");
    }
    let (status, listed) = sent(dev, "GET", RECORDS, &[&bearer, b"x-note: caf\xe9"], b"").await;
    assert_eq!(status, 200, "a header that nobody reads: {listed}");
    let (status, problem) = sent(dev, "GET", RECORDS, &[&bearer, b"authorization: Bearer another"], b"").await;
    assert!((400..=401).contains(&status), "two answers to who is calling: {problem}");
}
