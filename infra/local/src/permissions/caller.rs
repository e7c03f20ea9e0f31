//! Who calls: the access key a request was signed with. Every function has one of its own, which names it.

use axum::http::request::Parts;
use axum::http::{HeaderMap, Uri, header};

use crate::signature::CLOUD;

/// Access keys have at least this many characters in AWS.
const KEY_LENGTH: usize = 20;
/// What every function's access key begins with.
const PREFIX: &str = "UNDERCROFT";

/// Whoever signed a request. Without any signature it is nobody, who is no function either.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    key: String,
}

impl Caller {
    /// The caller a request claims to be from, in its `Authorization` header or its presigned address.
    pub fn of(parts: &Parts) -> Self {
        let key = signed_header(&parts.headers).or_else(|| presigned(&parts.uri)).unwrap_or_default();
        Self { key }
    }

    /// The holder of an access key.
    pub fn with(key: &str) -> Self {
        Self { key: key.to_owned() }
    }

    /// A function's own calls.
    pub fn function(binary: &str) -> Self {
        Self { key: access_key(binary) }
    }

    /// The access key.
    pub fn key(&self) -> &str {
        &self.key
    }
}

/// The access key of the function with this binary: capital letters and digits, as AWS's keys are.
pub fn access_key(binary: &str) -> String {
    let name = binary.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_uppercase());
    let key: String = PREFIX.chars().chain(name).collect();
    format!("{key:0<KEY_LENGTH$}")
}

/// Whether this cloud gives out such access keys: to functions, and to itself.
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
    fn a_function_is_known_by_its_key_however_the_request_was_signed() {
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
