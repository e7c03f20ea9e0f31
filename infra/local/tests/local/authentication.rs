//! Authentication: unsigned requests, forged and replayed signatures, requests of web pages, and foreign hosts.

use axum::body::Body;
use axum::http::{Request, header};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use undercroft_local::LocalCloud;

use crate::world::{cloud, put};

const TEMPLATE: &str = "
Resources:
  Things:
    Type: AWS::DynamoDB::Table
    Properties:
      KeySchema: [{ AttributeName: id, KeyType: HASH }]
      AttributeDefinitions: [{ AttributeName: id, AttributeType: S }]
  Files:
    Type: AWS::S3::Bucket
    Properties:
      CorsConfiguration: { CorsRules: [{ AllowedOrigins: ['https://app.example'], AllowedMethods: [GET, PUT] }] }
  F:
    Type: AWS::Serverless::Function
    Metadata: { BuildProperties: { Binary: f } }
    Properties: {}
";

/// One call of every service.
const CALLS: [(&str, &str, &str); 5] = [
    ("dynamodb", "DynamoDB_20120810.GetItem", r#"{"TableName":"undercroft-local-Things","Key":{"id":{"S":"kept"}}}"#),
    ("dynamodb", "DynamoDBStreams_20120810.ListStreams", "{}"),
    ("sqs", "AmazonSQS.ListQueues", "{}"),
    ("ssm", "AmazonSSM.GetParameter", r#"{"Name":"/k"}"#),
    (
        "ses",
        "",
        r#"{"FromEmailAddress":"a@example.com","Destination":{"ToAddresses":["b@example.com"]},"Content":{"Simple":{"Subject":{"Data":"s"},"Body":{"Text":{"Data":"t"}}}}}"#,
    ),
];

fn call(cloud: &LocalCloud, service: &str, target: &str, body: &str) -> Request<Bytes> {
    let path = if service == "ses" { "/v2/email/outbound-emails" } else { "/" };
    let request =
        Request::post(format!("{}{path}", cloud.endpoint())).header("content-type", "application/x-amz-json-1.0");
    let request = if target.is_empty() { request } else { request.header("x-amz-target", target) };
    request.body(Bytes::from(body.to_owned())).unwrap()
}

/// Status and body; no response may have CORS headers.
async fn send(request: Request<Bytes>) -> (u16, String) {
    let client = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new()).build_http();
    let response = client.request(request.map(Body::from)).await.unwrap();
    let status = response.status().as_u16();
    assert!(!response.headers().contains_key("access-control-allow-origin"), "{:?}", response.headers());
    (status, String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap())
}

async fn refused(request: Request<Bytes>, status: u16, code: &str) {
    let described = format!("{request:?}");
    let (got, body) = send(request).await;
    assert_eq!(got, status, "{described}: {body}");
    assert!(body.contains(code) && !body.contains("kept"), "{described}: {body}");
}

async fn things(cloud: &LocalCloud) -> Value {
    cloud.call("DynamoDB_20120810.Scan", &json!({ "TableName": "undercroft-local-Things" })).await.unwrap()
}

#[tokio::test]
async fn every_service_rejects_requests_without_a_valid_signature() {
    let cloud = cloud(TEMPLATE).await;
    put(&cloud, "kept", 1).await;
    let another = crate::world::cloud(TEMPLATE).await;
    for (service, target, body) in CALLS {
        let status = if service == "ses" { 403 } else { 400 };
        let plain = || call(&cloud, service, target, body);
        let signed = || cloud.signer().sign(service, plain());
        let (answered, said) = send(signed()).await;
        assert!(answered == 200 || said.contains("ParameterNotFound"), "{target}: {said}");

        refused(plain(), status, "MissingAuthenticationTokenException").await;
        let mut basic = plain();
        basic.headers_mut().insert(header::AUTHORIZATION, "Basic bG9jYWw6bG9jYWw=".parse().unwrap());
        refused(basic, status, "MissingAuthenticationTokenException").await;
        // The access key of another cloud, and that of a function.
        refused(another.signer().sign(service, plain()), status, "InvalidSignatureException").await;
        let authorization = |request: &Request<Bytes>| request.headers()["authorization"].to_str().unwrap().to_owned();
        let forged = |from: &str, to: &str| {
            let mut request = signed();
            let text = authorization(&request);
            assert!(text.contains(from), "{text}");
            request.headers_mut().insert(header::AUTHORIZATION, text.replace(from, to).parse().unwrap());
            request
        };
        refused(forged("Credential=local/", "Credential=UNDERCROFTF000000000/"), status, "InvalidSignatureException")
            .await;
        refused(forged("Credential=local/", "Credential=AKIAIOSFODNN7EXAMPLE/"), status, "UnrecognizedClientException")
            .await;
        refused(forged("Signature=", "Signature=00"), status, "InvalidSignatureException").await;
        refused(forged("Signature=", "Sig="), status, "IncompleteSignatureException").await;
        refused(forged("SignedHeaders=", "SignedHeaders=x-not-there;"), status, "IncompleteSignatureException").await;
        refused(forged(&format!("/{service}/"), "/iam/"), status, "InvalidSignatureException").await;

        // The body, the headers and the time are signed.
        let mut other = signed();
        *other.body_mut() = Bytes::from(format!("{body} "));
        refused(other, status, "InvalidSignatureException").await;
        let mut later = signed();
        later.headers_mut().insert("x-amz-date", "20250101T000000Z".parse().unwrap());
        refused(later, status, "InvalidSignatureException").await;
        let mut more = signed();
        more.headers_mut().insert("x-amz-more", "1".parse().unwrap());
        refused(more, status, "InvalidSignatureException").await;
    }
    let mut redirected = cloud.signer().sign("dynamodb", call(&cloud, "dynamodb", CALLS[0].1, CALLS[0].2));
    redirected.headers_mut().insert("x-amz-target", "DynamoDB_20120810.DeleteItem".parse().unwrap());
    refused(redirected, 400, "InvalidSignatureException").await;
    assert_eq!(things(&cloud).await["Count"], 1);
}

#[tokio::test]
async fn s3_rejects_requests_without_a_valid_signature() {
    let (one, another) = (cloud(TEMPLATE).await, cloud(TEMPLATE).await);
    let object = |method: &str, body: &'static str| {
        let uri = format!("{}/undercroft-local-files/o", one.endpoint());
        Request::builder().method(method).uri(uri).body(Bytes::from(body)).unwrap()
    };
    assert_eq!(send(one.signer().sign("s3", object("PUT", "kept"))).await.0, 200);
    for method in ["GET", "PUT", "DELETE"] {
        refused(object(method, ""), 403, "AccessDenied").await;
        refused(another.signer().sign("s3", object(method, "")), 403, "SignatureDoesNotMatch").await;
        let mut claimed = object(method, "");
        let claim =
            "AWS4-HMAC-SHA256 Credential=local/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0";
        claimed.headers_mut().insert("authorization", claim.parse().unwrap());
        refused(claimed, 400, "AuthorizationHeaderMalformed").await;
    }
    let mut other = one.signer().sign("s3", object("PUT", "signed"));
    *other.body_mut() = Bytes::from("forged");
    refused(other, 400, "XAmzContentSHA256Mismatch").await;
    assert_eq!(send(one.signer().sign("s3", object("GET", ""))).await, (200, "kept".into()));
}

#[tokio::test]
async fn web_pages_and_foreign_hosts_are_rejected_even_with_a_signature() {
    let cloud = cloud(TEMPLATE).await;
    put(&cloud, "kept", 1).await;
    let (service, target, body) = CALLS[0];
    let signed = || cloud.signer().sign(service, call(&cloud, service, target, body));
    for (name, value) in [
        ("origin", "https://evil.example"),
        ("origin", "null"),
        ("origin", "http://localhost:3000"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-mode", "no-cors"),
    ] {
        let mut request = signed();
        request.headers_mut().insert(name, value.parse().unwrap());
        refused(request, 403, "not for browsers").await;
    }
    for host in ["evil.example", "localhost.evil.example:80", "0.0.0.0"] {
        let mut request = signed();
        request.headers_mut().insert("host", host.parse().unwrap());
        refused(request, 403, "answers to localhost").await;
        let bucket = format!("{}/undercroft-local-files/o", cloud.endpoint());
        let request = Request::get(bucket).header("host", host).body(Bytes::new()).unwrap();
        refused(request, 403, "answers to localhost").await;
    }
    let preflight = Request::options(cloud.endpoint())
        .header("origin", "https://evil.example")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "authorization,x-amz-target");
    refused(preflight.body(Bytes::new()).unwrap(), 403, "not for browsers").await;
}
