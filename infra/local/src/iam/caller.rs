//! The caller of a request, identified by its access key. Every function has its own access key.

use axum::http::request::Parts;
use axum::http::{HeaderMap, Uri, header};

use crate::signature::CLOUD;

/// Minimum length of an access key in AWS.
const KEY_LENGTH: usize = 20;
/// Prefix of the functions' access keys.
const PREFIX: &str = "UNDERCROFT";

/// The signer of a request. The key is empty for an unsigned request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    key: String,
}

impl Caller {
    /// The caller that a request names in its `Authorization` header or its presigned URL. The signature is not verified here.
    pub fn of(parts: &Parts) -> Self {
        let key = signed_header(&parts.headers).or_else(|| presigned(&parts.uri)).unwrap_or_default();
        Self { key }
    }

    /// The caller with this access key.
    pub fn with(key: &str) -> Self {
        Self { key: key.to_owned() }
    }

    /// The function with this binary.
    pub fn function(binary: &str) -> Self {
        Self { key: access_key(binary) }
    }

    /// The access key.
    pub fn key(&self) -> &str {
        &self.key
    }
}

/// The access key of the function with this binary, in upper-case letters and digits like AWS's keys.
pub fn access_key(binary: &str) -> String {
    let name = binary.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_uppercase());
    let key: String = PREFIX.chars().chain(name).collect();
    format!("{key:0<KEY_LENGTH$}")
}

/// Whether the access key belongs to a function or to the cloud itself.
pub fn is_known(caller: &Caller) -> bool {
    caller.key == CLOUD || caller.key.starts_with(PREFIX)
}

fn signed_header(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    key_of(text.split_once("Credential=")?.1)
}

fn presigned(uri: &Uri) -> Option<String> {
    let mut pairs = uri.query()?.split('&');
    key_of(&pairs.find_map(|pair| pair.strip_prefix("X-Amz-Credential="))?.replace("%2F", "/"))
}

/// `KEY/20260101/us-east-1/dynamodb/aws4_request`
fn key_of(credential: &str) -> Option<String> {
    credential.split_once('/').map(|(key, _)| key.to_owned())
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    #[test]
    fn a_function_is_identified_by_its_key_in_the_header_and_in_a_presigned_url() {
        let key = access_key("auth");
        assert_eq!(key, "UNDERCROFTAUTH000000");
        assert_eq!(access_key("collections"), "UNDERCROFTCOLLECTIONS", "a long name is kept whole");
        let signed = format!("AWS4-HMAC-SHA256 Credential={key}/20260101/us-east-1/sqs/aws4_request, Signature=0");
        let cases = [
            Request::get("/").header("authorization", signed).body(()),
            Request::get(format!("/b/k?X-Amz-Credential={key}%2F20260101%2Fus-east-1%2Fs3%2Faws4_request")).body(()),
        ];
        for request in cases {
            assert_eq!(Caller::of(&request.unwrap().into_parts().0), Caller::function("auth"));
        }
        let nobody = Caller::of(&Request::get("/").body(()).unwrap().into_parts().0);
        assert_eq!(nobody.key(), "");
    }
}
