//! What can go wrong, as kinds a client can act on.
//!
//! One enum for every function. The outside half is what a problem document shows; the inside half of `Internal` is
//! logged once at the edge and never shown. `http::problem` holds the only table from kind to status.

use serde::Serialize;

/// What is wrong with one member of a body: where, a stable code, and a sentence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// JSON Pointer (RFC 6901) to the member, `""` for the whole body.
    pub pointer: String,
    /// Stable, machine-readable.
    pub code: &'static str,
    /// For a person: what is wrong and what to do instead.
    pub message: String,
}

impl FieldError {
    /// An error at `pointer`.
    pub fn new(pointer: impl Into<String>, code: &'static str, message: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), code, message: message.into() }
    }
}

/// Shorthand for what every fallible step of a request returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a request was not done.
#[derive(Debug)]
pub enum Error {
    /// 400: the request itself is malformed.
    BadRequest {
        /// Stable code.
        code: &'static str,
        /// What is wrong and what to do instead.
        detail: String,
    },
    /// 400: members of the body are wrong, each listed.
    Invalid(Vec<FieldError>),
    /// 401: no credentials, or credentials that prove nothing.
    Unauthenticated(&'static str),
    /// 403: known, but not allowed to do this.
    Forbidden(&'static str),
    /// 404: absent, or invisible to this caller. Names the kind of thing, never the thing.
    NotFound(&'static str),
    /// 405: the path is there, this method of it is not. The `Allow` header says which are.
    MethodNotAllowed,
    /// 409: the state of things does not allow it.
    Conflict {
        /// Stable code.
        code: &'static str,
        /// What stands in the way.
        detail: String,
    },
    /// 410: what was asked for is not kept any more.
    Gone {
        /// Stable code.
        code: &'static str,
        /// What is gone and how to go on without it.
        detail: String,
    },
    /// 412: a condition of the request did not hold (RFC 9110 section 13).
    PreconditionFailed(&'static str),
    /// 413: the body is larger than this many bytes.
    TooLarge(usize),
    /// 415: the body is not what this route reads.
    UnsupportedMediaType(&'static str),
    /// 422: understood and refused; `advice` is merged into the problem document.
    Refused {
        /// Stable code.
        code: &'static str,
        /// What is refused and why.
        detail: String,
        /// Members such as `addIndex` that say what would help.
        advice: serde_json::Map<String, serde_json::Value>,
    },
    /// As the first of them: operations of a batch that cannot be done, by position. Nothing was done.
    Batch(Vec<(usize, Error)>),
    /// 428: this write needs a precondition (RFC 6585).
    PreconditionRequired(&'static str),
    /// 501: part of the design that is not built yet. Said instead of pretended.
    NotBuilt(&'static str),
    /// 503: try again; nothing was done, or what was done is safe to repeat.
    Unavailable {
        /// Seconds until another try makes sense.
        retry_after: u32,
        /// The cause, for the log only.
        source: Option<Source>,
    },
    /// 500: our fault. The source is logged once, at the edge.
    Internal(Source),
}

/// The inside half of an error.
pub type Source = Box<dyn std::error::Error + Send + Sync>;

impl Error {
    /// A malformed request.
    pub fn bad_request(code: &'static str, detail: impl Into<String>) -> Self {
        Self::BadRequest { code, detail: detail.into() }
    }

    /// A state that does not allow the request.
    pub fn conflict(code: &'static str, detail: impl Into<String>) -> Self {
        Self::Conflict { code, detail: detail.into() }
    }

    /// One wrong member of a body.
    pub fn field(pointer: impl Into<String>, code: &'static str, message: impl Into<String>) -> Self {
        Self::Invalid(vec![FieldError::new(pointer, code, message)])
    }

    /// Understood and refused, with nothing to add.
    pub fn refused(code: &'static str, detail: impl Into<String>) -> Self {
        Self::Refused { code, detail: detail.into(), advice: serde_json::Map::new() }
    }

    /// Our fault.
    pub fn internal(source: impl Into<Source>) -> Self {
        Self::Internal(source.into())
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Internal(source) => write!(f, "internal: {source}"),
            Self::Unavailable { source: Some(source), .. } => write!(f, "unavailable: {source}"),
            other => write!(f, "{other:?}"),
        }
    }
}

impl std::error::Error for Error {}
