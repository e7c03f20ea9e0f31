//! Stores a request body piece by piece, and compares it with its declared length and digests.

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::StreamExt as _;
use md5::{Digest as _, Md5};
use sha2::Sha256;

use super::store::{PIECE, Store};
use crate::aws_error::AwsError;
use crate::signature::{UNSIGNED, hex};

/// S3's limit for one request: 5 GiB.
const LARGEST: u64 = 5 * 1024 * 1024 * 1024;

/// A stored body.
pub struct StoredBody {
    /// Id of the blob with its bytes.
    pub blob: i64,
    /// Size in bytes.
    pub size: u64,
    pub md5: [u8; 16],
}

/// Length and digests in the request's headers.
struct DeclaredBody {
    length: u64,
    md5: Option<Vec<u8>>,
    sha256: Option<String>,
}

/// Stores a body as an unreferenced blob.
///
/// # Errors
/// The body differs from its declaration, or cannot be stored.
pub async fn store_body(store: &Store, parts: &Parts, body: Body, now: u64) -> Result<StoredBody, AwsError> {
    let declared = DeclaredBody::read(&parts.headers)?;
    let blob = store.new_blob(now)?;
    let (mut md5, mut sha256, mut size, mut position) = (Md5::new(), Sha256::new(), 0_u64, 0);
    let mut waiting: Vec<u8> = Vec::with_capacity(PIECE.min(usize::try_from(declared.length).unwrap_or(PIECE)));
    let mut frames = body.into_data_stream();
    while let Some(frame) = frames.next().await {
        let frame = frame.map_err(|_| incomplete())?;
        md5.update(&frame);
        sha256.update(&frame);
        size += frame.len() as u64;
        waiting.extend_from_slice(&frame);
        while waiting.len() >= PIECE {
            let rest = waiting.split_off(PIECE);
            store.add_piece(blob, position, &waiting)?;
            position += 1;
            waiting = rest;
        }
    }
    if !waiting.is_empty() {
        store.add_piece(blob, position, &waiting)?;
    }
    let md5: [u8; 16] = md5.finalize().into();
    declared.check(size, &md5, &hex(&sha256.finalize()))?;
    Ok(StoredBody { blob, size, md5 })
}

impl DeclaredBody {
    fn read(headers: &HeaderMap) -> Result<Self, AwsError> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let length = text(header::CONTENT_LENGTH.as_str()).and_then(|text| text.parse().ok());
        let length = length
            .ok_or_else(|| AwsError::new("MissingContentLength", "You must provide the Content-Length HTTP header."))?;
        if length > LARGEST {
            return Err(AwsError::new("EntityTooLarge", "Your proposed upload exceeds the maximum allowed size"));
        }
        let md5 = text("content-md5").map(|text| STANDARD.decode(text).ok().filter(|digest| digest.len() == 16));
        let md5 = match md5 {
            Some(None) => return Err(AwsError::new("InvalidDigest", "The Content-MD5 you specified was invalid.")),
            other => other.flatten(),
        };
        let sha256 = match text("x-amz-content-sha256") {
            Some(kind) if kind.starts_with("STREAMING-") => {
                return Err(AwsError::new(
                    "NotImplemented",
                    format!("the local S3 does not support bodies with x-amz-content-sha256 {kind}"),
                ));
            }
            Some(UNSIGNED) | None => None,
            Some(digest) => Some(digest.to_owned()),
        };
        Ok(Self { length, md5, sha256 })
    }

    fn check(&self, size: u64, md5: &[u8], sha256: &str) -> Result<(), AwsError> {
        if size != self.length {
            return Err(incomplete());
        }
        if self.md5.as_ref().is_some_and(|wanted| wanted != md5) {
            return Err(AwsError::new("BadDigest", "The Content-MD5 you specified did not match what we received."));
        }
        match self.sha256.as_ref().is_some_and(|wanted| wanted != sha256) {
            true => Err(hash_mismatch()),
            false => Ok(()),
        }
    }
}

/// Compares a body with its declared hash.
///
/// # Errors
/// It differs.
pub fn check_hash(headers: &HeaderMap, body: &[u8]) -> Result<(), AwsError> {
    let declared = headers.get("x-amz-content-sha256").and_then(|hash| hash.to_str().ok());
    match declared.filter(|hash| *hash != UNSIGNED).is_none_or(|hash| hash == hex(&Sha256::digest(body))) {
        true => Ok(()),
        false => Err(hash_mismatch()),
    }
}

fn hash_mismatch() -> AwsError {
    let why = "The provided 'x-amz-content-sha256' header does not match what was computed.";
    AwsError::new("XAmzContentSHA256Mismatch", why)
}

fn incomplete() -> AwsError {
    AwsError::new(
        "IncompleteBody",
        "You did not provide the number of bytes specified by the Content-Length HTTP header",
    )
}
