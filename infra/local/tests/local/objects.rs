//! S3 as the functions use it: whole objects, ranges, multipart uploads, CORS, expiry and restarts.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, Method, Request};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use undercroft_local::{Clock, LocalCloud};

use crate::world::{NOW, cloud, cloud_in};

const TEMPLATE: &str = "
Resources:
  Files:
    Type: AWS::S3::Bucket
    Properties:
      LifecycleConfiguration:
        Rules:
          - { Status: Enabled, Prefix: old/, ExpirationInDays: 7 }
          - { Status: Enabled, AbortIncompleteMultipartUpload: { DaysAfterInitiation: 3 } }
      CorsConfiguration:
        CorsRules:
          - { AllowedOrigins: ['https://app.example'], AllowedMethods: [GET, PUT], AllowedHeaders: [content-type], ExposedHeaders: [ETag], MaxAge: 60 }
";

/// More than a piece, and more than the minimum size of a part.
const LARGE: usize = 5 * 1024 * 1024 + 7;

/// A response.
struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    /// The text of the first element with this name.
    fn element(&self, name: &str) -> String {
        let text = std::str::from_utf8(&self.body).unwrap();
        let rest = text.split_once(&format!("<{name}>")).unwrap_or_else(|| panic!("no {name} in {text}")).1;
        rest.split_once("</").unwrap().0.to_owned()
    }

    #[track_caller]
    fn is(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", String::from_utf8_lossy(&self.body));
        self
    }
}

async fn ask(cloud: &LocalCloud, method: Method, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Answer {
    send(cloud.signer().sign("s3", request(cloud, method, path, headers, body))).await
}

async fn ask_unsigned(
    cloud: &LocalCloud,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: Vec<u8>,
) -> Answer {
    send(request(cloud, method, path, headers, body)).await
}

fn request(cloud: &LocalCloud, method: Method, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Request<Bytes> {
    let request = Request::builder().method(method).uri(format!("{}/undercroft-local-files{path}", cloud.endpoint()));
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    request.body(body.into()).unwrap()
}

async fn send(request: Request<Bytes>) -> Answer {
    let client = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new()).build_http();
    let response = client.request(request.map(Body::from)).await.unwrap();
    let (parts, body) = response.into_parts();
    Answer {
        status: parts.status.as_u16(),
        headers: parts.headers,
        body: body.collect().await.unwrap().to_bytes().to_vec(),
    }
}

/// Pseudo-random bytes.
fn bytes(length: usize, seed: u32) -> Vec<u8> {
    let mut state = seed;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    std::iter::repeat_with(next).take(length).collect()
}

#[tokio::test]
async fn an_object_is_read_whole_and_by_range() {
    let cloud = cloud(TEMPLATE).await;
    let large = bytes(LARGE, 1);
    let put = ask(&cloud, Method::PUT, "/a%20b/c", &[("content-type", "text/csv")], large.clone()).await.is(200);
    let got = ask(&cloud, Method::GET, "/a%20b/c", &[], vec![]).await.is(200);
    assert!(got.body == large);
    assert_eq!((got.header("content-type"), got.header("etag")), ("text/csv", put.header("etag")));
    let head = ask(&cloud, Method::HEAD, "/a%20b/c", &[], vec![]).await.is(200);
    assert_eq!((head.header("content-length"), head.body.len()), (LARGE.to_string().as_str(), 0));

    let edge = 1024 * 1024;
    for (range, expected) in [
        (format!("bytes={}-{}", edge - 2, edge + 1), &large[edge - 2..edge + 2]),
        (format!("bytes={}-", LARGE - 3), &large[LARGE - 3..]),
        ("bytes=-2".into(), &large[LARGE - 2..]),
        ("bytes=0-2097152".into(), &large[..=2_097_152]),
    ] {
        let part = ask(&cloud, Method::GET, "/a%20b/c", &[("range", &range)], vec![]).await.is(206);
        assert!(part.body == expected, "{range}");
        assert!(part.header("content-range").ends_with(&format!("/{LARGE}")), "{range}");
    }
    let outside = ask(&cloud, Method::GET, "/a%20b/c", &[("range", "bytes=99999999-")], vec![]).await.is(416);
    assert_eq!(outside.element("Code"), "InvalidRange");

    ask(&cloud, Method::PUT, "/empty", &[("content-length", "0")], vec![]).await.is(200);
    assert!(ask(&cloud, Method::GET, "/empty", &[], vec![]).await.is(200).body.is_empty());
    ask(&cloud, Method::DELETE, "/empty", &[], vec![]).await.is(204);
    ask(&cloud, Method::DELETE, "/empty", &[], vec![]).await.is(204);
    assert_eq!(ask(&cloud, Method::GET, "/empty", &[], vec![]).await.is(404).element("Code"), "NoSuchKey");
}

#[tokio::test]
async fn conditions_and_digests_are_checked() {
    let cloud = cloud(TEMPLATE).await;
    let first = ask(&cloud, Method::PUT, "/k", &[("if-none-match", "*")], b"one".to_vec()).await.is(200);
    assert_eq!(first.header("etag"), "\"f97c5d29941bfb1b2fdab0874906ab82\"", "the MD5 of `one`");
    let tag = first.header("etag");
    let refused = [
        (vec![("if-none-match", "*")], 412, "PreconditionFailed"),
        (vec![("if-match", "\"other\"")], 412, "PreconditionFailed"),
        (vec![("content-md5", "AAAAAAAAAAAAAAAAAAAAAA==")], 400, "BadDigest"),
        (vec![("content-md5", "short")], 400, "InvalidDigest"),
        (vec![("x-amz-content-sha256", "00")], 400, "XAmzContentSHA256Mismatch"),
        (vec![("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER")], 501, "NotImplemented"),
    ];
    for (headers, status, code) in refused {
        let answer = ask(&cloud, Method::PUT, "/k", &headers, b"two".to_vec()).await.is(status);
        assert_eq!(answer.element("Code"), code, "{headers:?}");
        assert_eq!(ask(&cloud, Method::GET, "/k", &[], vec![]).await.body, b"one", "a rejected write changes nothing");
    }
    ask(&cloud, Method::PUT, "/k", &[("if-match", tag)], b"two".to_vec()).await.is(200);
    ask(&cloud, Method::GET, "/k", &[("if-match", tag)], vec![]).await.is(412);
    let new = ask(&cloud, Method::GET, "/k", &[("if-none-match", tag)], vec![]).await.is(200);
    ask(&cloud, Method::GET, "/k", &[("if-none-match", new.header("etag"))], vec![]).await.is(304);
}

async fn start(cloud: &LocalCloud, key: &str) -> String {
    let started = ask(cloud, Method::POST, &format!("/{key}?uploads"), &[("content-type", "text/plain")], vec![]).await;
    started.is(200).element("UploadId")
}

async fn part(cloud: &LocalCloud, key: &str, upload: &str, number: u32, body: Vec<u8>) -> String {
    let path = format!("/{key}?partNumber={number}&uploadId={upload}");
    ask(cloud, Method::PUT, &path, &[], body).await.is(200).header("etag").to_owned()
}

async fn complete(cloud: &LocalCloud, key: &str, upload: &str, parts: &[(u32, &str)]) -> Answer {
    let part =
        |(number, tag): &(u32, &str)| format!("<Part><PartNumber>{number}</PartNumber><ETag>{tag}</ETag></Part>");
    let list: String = parts.iter().map(part).collect();
    let list = format!("<CompleteMultipartUpload>{list}</CompleteMultipartUpload>").into_bytes();
    ask(cloud, Method::POST, &format!("/{key}?uploadId={upload}"), &[], list).await
}

#[tokio::test]
async fn parts_become_one_object_or_nothing() {
    let cloud = cloud(TEMPLATE).await;
    let upload = start(&cloud, "big").await;
    let (one, two) = (bytes(LARGE, 2), bytes(100, 3));
    let last = part(&cloud, "big", &upload, 2, two.clone()).await;
    part(&cloud, "big", &upload, 1, bytes(LARGE, 9)).await;
    let first = part(&cloud, "big", &upload, 1, one.clone()).await;
    ask(&cloud, Method::GET, "/big", &[], vec![]).await.is(404);

    let wrong = [
        (vec![(2, last.as_str()), (1, first.as_str())], "InvalidPartOrder"),
        (vec![(1, "\"0\""), (2, &last)], "InvalidPart"),
        (vec![(1, &first), (3, &last)], "InvalidPart"),
        (vec![], "MalformedXML"),
    ];
    for (parts, code) in wrong {
        assert_eq!(complete(&cloud, "big", &upload, &parts).await.is(400).element("Code"), code);
    }
    let done = complete(&cloud, "big", &upload, &[(1, &first), (2, &last)]).await.is(200);
    assert!(done.element("ETag").ends_with("-2&quot;"), "two parts");
    let got = ask(&cloud, Method::GET, "/big", &[], vec![]).await.is(200);
    assert!(got.body == [one.clone(), two.clone()].concat());
    assert_eq!(got.header("content-type"), "text/plain");
    let across = format!("bytes={}-{}", LARGE - 1, LARGE);
    let across = ask(&cloud, Method::GET, "/big", &[("range", &across)], vec![]).await.is(206);
    assert_eq!(across.body, [one[LARGE - 1], two[0]], "a range spans two parts");
    assert_eq!(complete(&cloud, "big", &upload, &[(1, &first)]).await.is(404).element("Code"), "NoSuchUpload");

    let small = start(&cloud, "small").await;
    let tags = [part(&cloud, "small", &small, 1, vec![1]).await, part(&cloud, "small", &small, 2, vec![2]).await];
    let refused = complete(&cloud, "small", &small, &[(1, &tags[0]), (2, &tags[1])]).await.is(400);
    assert_eq!(refused.element("Code"), "EntityTooSmall");
    ask(&cloud, Method::DELETE, &format!("/small?uploadId={small}"), &[], vec![]).await.is(204);
    ask(&cloud, Method::PUT, &format!("/small?partNumber=1&uploadId={small}"), &[], vec![1]).await.is(404);
    ask(&cloud, Method::GET, "/small", &[], vec![]).await.is(404);
}

#[tokio::test]
async fn a_listing_is_by_prefix_in_order_and_in_pages() {
    let cloud = cloud(TEMPLATE).await;
    for key in ["b", "a/2", "a/1", "a/3"] {
        ask(&cloud, Method::PUT, &format!("/{key}"), &[], key.into()).await.is(200);
    }
    let page = ask(&cloud, Method::GET, "?list-type=2&prefix=a%2F&max-keys=2", &[], vec![]).await.is(200);
    let text = String::from_utf8(page.body.clone()).unwrap();
    assert!(text.find("<Key>a/1</Key>") < text.find("<Key>a/2</Key>") && !text.contains("a/3"), "{text}");
    let next = page.element("NextContinuationToken").replace('=', "%3D");
    let rest =
        ask(&cloud, Method::GET, &format!("?list-type=2&prefix=a%2F&continuation-token={next}"), &[], vec![]).await;
    let text = String::from_utf8(rest.body).unwrap();
    assert!(text.contains("a/3") && !text.contains("a/2") && text.contains("<IsTruncated>false"), "{text}");
    let newest: Vec<_> = cloud.objects(2).unwrap().into_iter().map(|object| object.key).collect();
    assert_eq!(newest.len(), 2);
}

#[tokio::test]
async fn unsupported_operations_and_unsigned_requests_are_rejected() {
    let cloud = cloud(TEMPLATE).await;
    for path in ["/k?acl", "/k?tagging", "?list-type=1", "?list-type=2&delimiter=x", "?versioning"] {
        assert_eq!(
            ask(&cloud, Method::GET, path, &[], vec![]).await.is(501).element("Code"),
            "NotImplemented",
            "{path}"
        );
    }
    ask(&cloud, Method::PUT, "/k", &[], b"x".to_vec()).await.is(200);
    let unsigned = ask_unsigned(&cloud, Method::GET, "/k", &[], vec![]).await.is(403);
    assert_eq!(unsigned.element("Code"), "AccessDenied");
    let long = format!("/{}", "k".repeat(1025));
    assert_eq!(ask(&cloud, Method::PUT, &long, &[], vec![]).await.is(400).element("Code"), "KeyTooLongError");
}

#[tokio::test]
async fn only_a_page_of_an_allowed_origin_may_send_requests() {
    let cloud = cloud(TEMPLATE).await;
    let question = |origin, method, headers| {
        vec![("origin", origin), ("access-control-request-method", method), ("access-control-request-headers", headers)]
    };
    let asked = question("https://app.example", "PUT", "content-type");
    let allowed = ask_unsigned(&cloud, Method::OPTIONS, "/k", &asked, vec![]).await.is(200);
    assert_eq!(allowed.header("access-control-allow-origin"), "https://app.example");
    assert_eq!(allowed.header("access-control-max-age"), "60");
    for asked in [
        question("https://evil.example", "PUT", "content-type"),
        question("https://app.example", "DELETE", ""),
        question("https://app.example", "GET", "authorization"),
    ] {
        let refused = ask_unsigned(&cloud, Method::OPTIONS, "/k", &asked, vec![]).await.is(403);
        assert_eq!(refused.header("access-control-allow-origin"), "", "{asked:?}");
    }
    let signed_by_a_page = ask(&cloud, Method::GET, "/k", &[("origin", "https://app.example")], vec![]).await;
    assert_eq!(signed_by_a_page.is(403).element("Code"), "AccessDenied", "pages may only use presigned URLs");
}

#[tokio::test]
async fn objects_expire_by_the_rule_and_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::standing_at(NOW);
    let cloud = cloud_in(folder.path(), TEMPLATE, clock.clone()).await;
    for key in ["old/a", "new/a"] {
        ask(&cloud, Method::PUT, &format!("/{key}"), &[], bytes(LARGE, 4)).await.is(200);
    }
    cloud.shutdown().await;
    let cloud = cloud_in(folder.path(), TEMPLATE, clock).await;
    cloud.advance(Duration::from_secs(7 * 86_400 - 1));
    assert_eq!(cloud.expire().unwrap(), 0);
    assert!(ask(&cloud, Method::GET, "/old/a", &[], vec![]).await.is(200).body == bytes(LARGE, 4));
    cloud.advance(Duration::from_secs(1));
    assert_eq!(cloud.expire().unwrap(), 1);
    ask(&cloud, Method::GET, "/old/a", &[], vec![]).await.is(404);
    ask(&cloud, Method::GET, "/new/a", &[], vec![]).await.is(200);
}

#[tokio::test]
async fn an_incomplete_upload_is_deleted_by_the_rule() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::standing_at(NOW);
    let cloud = cloud_in(folder.path(), TEMPLATE, clock.clone()).await;
    let upload = start(&cloud, "half").await;
    let first = part(&cloud, "half", &upload, 1, bytes(LARGE, 4)).await;
    cloud.advance(Duration::from_secs(2 * 86_400));
    let late = start(&cloud, "late").await;
    cloud.advance(Duration::from_secs(86_400 - 1));
    cloud.expire().unwrap();
    let end = part(&cloud, "half", &upload, 2, vec![1]).await;
    cloud.advance(Duration::from_secs(1));
    cloud.expire().unwrap();
    let parts = [(1, first.as_str()), (2, end.as_str())];
    assert_eq!(complete(&cloud, "half", &upload, &parts).await.is(404).element("Code"), "NoSuchUpload");
    part(&cloud, "late", &late, 1, vec![1]).await;
}
