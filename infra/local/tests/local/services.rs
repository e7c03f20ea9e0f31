//! SSM parameters and SES mail.

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};
use undercroft_local::LocalCloud;

use crate::world::{NOW, cloud};

#[tokio::test]
async fn a_parameter_is_only_overwritten_with_overwrite() {
    let cloud = cloud("Resources: {}").await;
    let put = async |body: Value| cloud.call("AmazonSSM.PutParameter", &body).await;
    let key = json!({ "Name": "/k", "Value": "first", "Type": "SecureString", "Overwrite": false });
    assert_eq!(put(key.clone()).await.unwrap()["Version"], 1);
    assert!(put(key).await.unwrap_err().is("ParameterAlreadyExists"));
    assert_eq!(put(json!({ "Name": "/k", "Value": "second", "Overwrite": true })).await.unwrap()["Version"], 2);

    let get = async |body: Value| cloud.call("AmazonSSM.GetParameter", &body).await;
    let read = get(json!({ "Name": "/k", "WithDecryption": true })).await.unwrap();
    assert_eq!(read["Parameter"]["Value"], "second");
    assert_eq!(read["Parameter"]["Type"], "SecureString");
    let sealed = get(json!({ "Name": "/k" })).await.unwrap();
    assert!(!sealed.to_string().contains("second"), "it is encrypted without WithDecryption");
    assert!(get(json!({ "Name": "/nothing" })).await.unwrap_err().is("ParameterNotFound"));
}

#[tokio::test]
async fn mail_is_stored_newest_first_and_rejected_for_the_reserved_domain() {
    let cloud = cloud("Resources: {}").await;
    assert_eq!(send(&cloud, "ada@example.com", "one").await.0, 200);
    assert_eq!(send(&cloud, "bob@example.com", "two").await.0, 200);
    let (status, error) = send(&cloud, "nobody@example.invalid", "three").await;
    assert_eq!((status, error.as_str()), (400, "MessageRejected"));
    let mails = cloud.mails().unwrap();
    let read: Vec<_> = mails.iter().map(|mail| (mail.to.as_str(), mail.subject.as_str())).collect();
    assert_eq!(read, [("bob@example.com", "two"), ("ada@example.com", "one")]);
    assert_eq!(mails[0].at, NOW * 1000);
    assert_eq!(mails[0].request_id.as_deref(), Some("r-1"));
}

async fn send(cloud: &LocalCloud, to: &str, subject: &str) -> (u16, String) {
    let mail = json!({
        "FromEmailAddress": "undercroft@example.com",
        "Destination": { "ToAddresses": [to] },
        "Content": { "Simple": { "Subject": { "Data": subject }, "Body": { "Text": { "Data": "text" } } } },
        "EmailTags": [{ "Name": "requestId", "Value": "r-1" }],
    });
    let request = Request::post(format!("{}/v2/email/outbound-emails", cloud.endpoint()));
    let request = request.header("content-type", "application/json").body(mail.to_string().into()).unwrap();
    exchange(cloud.signer().sign("ses", request).map(Body::from)).await
}

/// Status, and the error's name if any.
async fn exchange(request: Request<Body>) -> (u16, String) {
    let client = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new()).build_http();
    let response = client.request(request).await.unwrap();
    let error = response.headers().get("x-amzn-errortype").map(|name| name.to_str().unwrap().to_owned());
    (response.status().as_u16(), error.unwrap_or_default())
}
