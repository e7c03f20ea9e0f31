//! Files in the bucket, through the functions' own client and roles: bytes are unchanged, and a link works only for its own
//! object until it expires.

use crate::world::World;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request};
use http_body_util::BodyExt;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use std::time::{Duration, SystemTime};
use undercroft::aws::Aws;
use undercroft::aws::objects::{Link, LinkKind, Objects};
use undercroft::config::Env;

const PART: usize = 5 * 1024 * 1024;

/// The bucket as this function reaches it.
pub fn files(world: &World, function: &str) -> Objects {
    let env: Env = world.env(function).into_iter().collect();
    Objects::new(Aws::from_env(&env).unwrap(), env.required("FILES_BUCKET").unwrap())
}

/// The answer to a request with only a link: status, headers and bytes.
pub async fn follow(
    method: Method,
    link: &str,
    headers: &[(&str, &str)],
    body: impl AsRef<[u8]>,
) -> (u16, HeaderMap, Vec<u8>) {
    let mut request = Request::builder().method(method).uri(link);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let client = Client::builder(TokioExecutor::new()).build_http::<Body>();
    let response = client.request(request.body(Body::from(body.as_ref().to_vec())).unwrap()).await.unwrap();
    let (parts, body) = response.into_parts();
    (parts.status.as_u16(), parts.headers, body.collect().await.unwrap().to_bytes().to_vec())
}

#[tokio::test]
async fn a_file_is_written_in_parts_and_read_by_range() {
    let world = World::new().await;
    let files = files(&world, "worker");
    let key = "exports/a b+c/täg~1.ndjson";
    assert_eq!(files.head(key).await.unwrap(), None);
    assert_eq!(files.read(key, 0..10, None).await.unwrap(), None);

    let upload = files.start_upload(key, "application/x-ndjson").await.unwrap();
    let first = files.upload_part(key, &upload, 1, vec![b'a'; PART]).await.unwrap().unwrap();
    let second = files.upload_part(key, &upload, 2, "end").await.unwrap().unwrap();
    let parts = [(1, first), (2, second)];
    assert!(files.complete_upload(key, &upload, &parts).await.unwrap());
    assert!(!files.complete_upload(key, &upload, &parts).await.unwrap(), "it is done already");
    assert_eq!(files.upload_part(key, &upload, 3, "late").await.unwrap(), None);

    let head = files.head(key).await.unwrap().unwrap();
    assert_eq!((head.size, head.content_type.as_str()), (PART as u64 + 3, "application/x-ndjson"));
    let end = PART as u64;
    assert_eq!(files.read(key, end - 1..end + 9, Some(&head.etag)).await.unwrap().unwrap(), b"aend");
    assert_eq!(files.read(key, end + 3..end + 9, None).await.unwrap().unwrap(), b"", "behind the end is nothing");

    files.put("exports/empty", "text/csv", Vec::new()).await.unwrap();
    assert_eq!(files.read("exports/empty", 0..9, None).await.unwrap().unwrap(), b"");

    let tag = files.put(key, "text/plain", b"<Code>not an error</Code>".to_vec()).await.unwrap();
    assert_ne!(tag, head.etag);
    assert!(files.read(key, 0..1, Some(&head.etag)).await.is_err(), "a changed file is not mixed with what was read");
    assert_eq!(files.read(key, 0..99, Some(&tag)).await.unwrap().unwrap(), b"<Code>not an error</Code>");
}

#[tokio::test]
async fn a_link_works_only_for_its_own_object_until_it_expires() {
    let world = World::new().await;
    files(&world, "worker").put("exports/1.csv", "text/csv", b"a,b".to_vec()).await.unwrap();
    let jobs = files(&world, "jobs");
    let link =
        |key, kind| jobs.link(&Link { kind, key, good_for: Duration::from_secs(600) }, world_now(&world)).unwrap();
    let download = LinkKind::Download { saved_as: "tasks.csv" };
    let export = link("exports/1.csv", download);
    let (status, headers, body) = follow(Method::GET, &export, &[], "").await;
    assert_eq!((status, body.as_slice()), (200, b"a,b".as_slice()));
    assert_eq!(headers["content-disposition"], "attachment; filename=\"tasks.csv\"");

    let tampered = [
        export.replace("1.csv", "2.csv"),
        export.replace("X-Amz-Expires=600", "X-Amz-Expires=6000"),
        export.replace("tasks.csv", "evil.exe"),
        export.replace("X-Amz-Signature=", "X-Amz-Signature=0"),
    ];
    for link in tampered {
        assert_ne!(link, export);
        let (status, _, body) = follow(Method::GET, &link, &[], "").await;
        let text = String::from_utf8(body).unwrap();
        assert!(status == 403 && text.contains("SignatureDoesNotMatch"), "{link}: {text}");
    }
    assert_eq!(follow(Method::PUT, &export, &[], "x").await.0, 403, "a link to read does not write");

    let upload = link("uploads/1.csv", LinkKind::Upload { length: 3, content_type: "text/csv" });
    let csv = [("content-type", "text/csv")];
    assert_eq!(follow(Method::PUT, &upload, &csv, "too long").await.0, 403);
    let public = [("content-type", "text/csv"), ("x-amz-acl", "public-read")];
    let (status, _, body) = follow(Method::PUT, &upload, &public, "a,b").await;
    let text = String::from_utf8(body).unwrap();
    assert!(status == 403 && text.contains("not signed: x-amz-acl"), "{text}");
    assert_eq!(follow(Method::PUT, &upload, &[("content-type", "text/html")], "c,d").await.0, 403);
    assert_eq!(follow(Method::PUT, &upload, &csv, "c,d").await.0, 200);
    assert_eq!(files(&world, "worker").read("uploads/1.csv", 0..9, None).await.unwrap().unwrap(), b"c,d");

    // A link can do no more than its signer.
    let outside = link("uploads/1.csv", download);
    assert_eq!(follow(Method::GET, &outside, &[], "").await.0, 403, "jobs may not read uploads");
    let absent = link("exports/none.csv", download);
    assert_eq!(follow(Method::GET, &absent, &[], "").await.0, 403, "who may not list does not learn what is there");

    world.advance(Duration::from_secs(599));
    assert_eq!(follow(Method::GET, &export, &[], "").await.0, 200);
    world.advance(Duration::from_secs(2));
    let (status, _, body) = follow(Method::GET, &export, &[], "").await;
    assert!(status == 403 && String::from_utf8(body).unwrap().contains("expired"));
}

#[tokio::test]
async fn a_page_of_an_allowed_origin_follows_links_and_no_other_page_reads_the_answer() {
    let world = World::new().await;
    files(&world, "worker").put("exports/1.csv", "text/csv", b"a,b".to_vec()).await.unwrap();
    let link = Link {
        kind: LinkKind::Download { saved_as: "t.csv" },
        key: "exports/1.csv",
        good_for: Duration::from_secs(60),
    };
    let link = files(&world, "jobs").link(&link, world_now(&world)).unwrap();
    let (status, headers, _) = follow(Method::GET, &link, &[("origin", "http://localhost:5173")], "").await;
    assert_eq!((status, headers["access-control-allow-origin"].to_str().unwrap()), (200, "http://localhost:5173"));
    let (_, headers, _) = follow(Method::GET, &link, &[("origin", "https://evil.example")], "").await;
    assert!(!headers.contains_key("access-control-allow-origin"));
}

#[tokio::test]
async fn no_link_is_signed_for_longer_than_a_week_or_for_no_time() {
    let world = World::new().await;
    for seconds in [0, 604_801] {
        let kind = LinkKind::Download { saved_as: "x" };
        let link = Link { kind, key: "exports/x", good_for: Duration::from_secs(seconds) };
        assert!(files(&world, "jobs").link(&link, world_now(&world)).is_err(), "{seconds} s");
    }
}

fn world_now(world: &World) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(world.now())
}
