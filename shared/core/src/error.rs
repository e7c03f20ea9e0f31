//! Errors, as kinds that a client can act on.
//!
//! One enum for every function. A problem document shows the public part; the edge logs the source of `Internal` once and
//! never shows it. `http::problem` has the only table from kinds to status codes.

use serde::Serialize;
use std::borrow::Cow;

/// An error in one member of a body: pointer, stable code and message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// JSON Pointer (RFC 6901) to the member, `""` for the whole body.
    pub pointer: String,
    /// Stable, machine-readable.
    pub code: &'static str,
    /// For a person: what is wrong and what to do.
    pub message: String,
}

impl FieldError {
    /// An error at `pointer`.
    pub fn new(pointer: impl Into<String>, code: &'static str, message: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), code, message: message.into() }
    }
}

/// The result of every fallible step of a request.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a request failed.
#[derive(Debug)]
pub enum Error {
    /// 400: the request itself is malformed.
    BadRequest {
        /// Stable code.
        code: &'static str,
        /// What is wrong and what to do.
        detail: String,
    },
    /// 400: members of the body are wrong. Lists each.
    Invalid(Vec<FieldError>),
    /// 401: missing or invalid credentials.
    Unauthenticated(&'static str),
    /// 403: the caller is known and not allowed to do this.
    Forbidden(Cow<'static, str>),
    /// 404: missing, or invisible to this caller. Names the kind of resource only.
    NotFound(&'static str),
    /// 405: the path exists without this method. The `Allow` header lists its methods.
    MethodNotAllowed,
    /// 409: the current state does not allow the request.
    Conflict {
        /// Stable code.
        code: &'static str,
        /// What conflicts and what to do.
        detail: String,
    },
    /// 410: the requested resource is no longer kept.
    Gone {
        /// Stable code.
        code: &'static str,
        /// What is gone and how to continue without it.
        detail: String,
    },
    /// 412: a condition of the request did not hold (RFC 9110 section 13).
    PreconditionFailed(&'static str),
    /// 413: the body is larger than this many bytes.
    TooLarge(usize),
    /// 415: the body is not what this route reads.
    UnsupportedMediaType(&'static str),
    /// 415: the body has a content coding, and bodies are read without one (RFC 9110 section 15.5.16).
    UnsupportedEncoding,
    /// 422: understood and refused. `advice` is merged into the problem document.
    Refused {
        /// Stable code.
        code: &'static str,
        /// What is refused, why, and what to do.
        detail: String,
        /// Members such as `addIndex` that help to correct the request.
        advice: serde_json::Map<String, serde_json::Value>,
    },
    /// The status of the first error. Operations of a batch that failed, by position. Nothing was done.
    Batch(Vec<(usize, Error)>),
    /// 428: this write needs a precondition (RFC 6585).
    PreconditionRequired(&'static str),
    /// 501: a designed feature that is not built yet.
    NotBuilt(&'static str),
    /// 503: retry. Nothing was done, or repeating it is safe.
    Unavailable {
        /// Seconds until a retry makes sense.
        retry_after: u32,
        /// The cause, for the log only.
        source: Option<Source>,
    },
    /// 503: a change that must not be repeated blindly was sent once, and it is unknown whether it was made.
    OutcomeUnknown(Source),
    /// 500: an internal error. The edge logs the source once.
    Internal(Source),
}

impl Clone for Error {
    /// The same error once more. Of a source only the text is kept.
    fn clone(&self) -> Self {
        match self {
            Self::BadRequest { code, detail } => Self::BadRequest { code, detail: detail.clone() },
            Self::Invalid(errors) => Self::Invalid(errors.clone()),
            Self::Unauthenticated(why) => Self::Unauthenticated(why),
            Self::Forbidden(why) => Self::Forbidden(why.clone()),
            Self::NotFound(kind) => Self::NotFound(kind),
            Self::MethodNotAllowed => Self::MethodNotAllowed,
            Self::Conflict { code, detail } => Self::Conflict { code, detail: detail.clone() },
            Self::Gone { code, detail } => Self::Gone { code, detail: detail.clone() },
            Self::PreconditionFailed(why) => Self::PreconditionFailed(why),
            Self::TooLarge(limit) => Self::TooLarge(*limit),
            Self::UnsupportedMediaType(accepted) => Self::UnsupportedMediaType(accepted),
            Self::UnsupportedEncoding => Self::UnsupportedEncoding,
            Self::Refused { code, detail, advice } => {
                Self::Refused { code, detail: detail.clone(), advice: advice.clone() }
            }
            Self::Batch(errors) => Self::Batch(errors.clone()),
            Self::PreconditionRequired(how) => Self::PreconditionRequired(how),
            Self::NotBuilt(what) => Self::NotBuilt(what),
            Self::Unavailable { retry_after, source } => Self::Unavailable {
                retry_after: *retry_after,
                source: source.as_ref().map(|source| source.to_string().into()),
            },
            Self::OutcomeUnknown(source) => Self::OutcomeUnknown(source.to_string().into()),
            Self::Internal(source) => Self::Internal(source.to_string().into()),
        }
    }
}

/// The source of an error.
pub type Source = Box<dyn std::error::Error + Send + Sync>;

impl Error {
    /// A malformed request.
    pub fn bad_request(code: &'static str, detail: impl Into<String>) -> Self {
        Self::BadRequest { code, detail: detail.into() }
    }

    /// A conflict with the current state.
    pub fn conflict(code: &'static str, detail: impl Into<String>) -> Self {
        Self::Conflict { code, detail: detail.into() }
    }

    /// One wrong member of a body.
    pub fn field(pointer: impl Into<String>, code: &'static str, message: impl Into<String>) -> Self {
        Self::Invalid(vec![FieldError::new(pointer, code, message)])
    }

    /// Understood and refused, without advice.
    pub fn refused(code: &'static str, detail: impl Into<String>) -> Self {
        Self::Refused { code, detail: detail.into(), advice: serde_json::Map::new() }
    }

    /// An internal error.
    pub fn internal(source: impl Into<Source>) -> Self {
        Self::Internal(source.into())
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Internal(source) => write!(f, "internal: {source}"),
            Self::Unavailable { source: Some(source), .. } => write!(f, "unavailable: {source}"),
            Self::OutcomeUnknown(source) => write!(f, "outcome unknown: {source}"),
            other => write!(f, "{other:?}"),
        }
    }
}

impl std::error::Error for Error {}
