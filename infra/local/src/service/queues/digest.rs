//! SQS's digests: MD5 of bodies and attributes, which SDKs verify, and SHA-256 for content-based deduplication.

use md5::{Digest, Md5};
use serde_json::{Map, Value};
use sha2::Sha256;

use crate::aws_error::AwsError;

/// MD5 of a body, in lower-case hexadecimal.
pub fn of_body(body: &str) -> String {
    hex(&Md5::digest(body.as_bytes()))
}

/// SHA-256 of a body: its deduplication id in a queue with content-based deduplication.
pub fn for_deduplication(body: &str) -> String {
    hex(&Sha256::digest(body.as_bytes()))
}

/// MD5 of message attributes, as SQS documents it. `None` without attributes.
///
/// # Errors
/// An attribute has no type, or its value does not match its type.
pub fn of_attributes(attributes: &Map<String, Value>) -> Result<Option<String>, AwsError> {
    if attributes.is_empty() {
        return Ok(None);
    }
    let mut names: Vec<_> = attributes.iter().collect();
    names.sort_by_key(|(name, _)| name.as_str());
    let mut digest = Md5::new();
    for (name, attribute) in names {
        let kind = attribute.get("DataType").and_then(Value::as_str).unwrap_or_default();
        let text = attribute.get("StringValue").and_then(Value::as_str);
        let binary = attribute.get("BinaryValue").and_then(Value::as_str).and_then(decode_base64);
        let (marker, value) = match (kind.split('.').next(), text, binary) {
            (Some("String" | "Number"), Some(text), _) => (1_u8, text.as_bytes().to_vec()),
            (Some("Binary"), _, Some(bytes)) => (2_u8, bytes),
            _ => {
                return Err(AwsError::invalid(
                    "MessageAttributes",
                    format!("{name} must have a DataType and a value of that type"),
                ));
            }
        };
        put(&mut digest, name.as_bytes());
        put(&mut digest, kind.as_bytes());
        digest.update([marker]);
        put(&mut digest, &value);
    }
    Ok(Some(hex(&digest.finalize())))
}

fn put(digest: &mut Md5, part: &[u8]) {
    digest.update(u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
    digest.update(part);
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn decode_base64(text: &str) -> Option<Vec<u8>> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.decode(text).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Values computed with an independent implementation (a few lines over Python's hashlib).
    #[test]
    fn digests_are_those_an_sdk_computes() {
        assert_eq!(of_body("hello"), "5d41402abc4b2a76b9719d911017c592");
        let Value::Object(attributes) = json!({
            "kind": { "DataType": "String", "StringValue": "mail" },
            "blob": { "DataType": "Binary", "BinaryValue": "AAEC" },
        }) else {
            unreachable!()
        };
        assert_eq!(of_attributes(&attributes).unwrap().unwrap(), "30bb80abeb25063e84505e64c5344761");
    }

    #[test]
    fn an_attribute_without_a_value_of_its_type_is_rejected() {
        let Value::Object(attributes) = json!({ "kind": { "DataType": "Binary", "StringValue": "x" } }) else {
            unreachable!()
        };
        assert!(of_attributes(&attributes).is_err());
    }
}
