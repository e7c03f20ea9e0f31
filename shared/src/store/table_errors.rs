//! Errors of DynamoDB calls as error kinds that a client can act on.

use crate::error::Error;
use crate::expr::number::Inexact;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};

/// The error when an item exceeds DynamoDB's limit.
pub(super) const TOO_LARGE: fn() -> Error =
    || Error::bad_request("item_too_large", "A record may be at most 400 KB; store less in it.");

/// The error when a transaction exceeds DynamoDB's limit.
pub(super) const TOO_MUCH: fn() -> Error = || {
    Error::bad_request(
        "too_many_writes",
        "A transaction holds at most 4 MB, counting the whole of every changed record; send fewer operations.",
    )
};

/// The errors after which a write is known not to have been made.
const NOT_WRITTEN: [&str; 7] = [
    "ItemCollectionSizeLimitExceededException",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "ResourceNotFoundException",
    "ThrottlingException",
    "TransactionConflictException",
    "ValidationException",
];

/// The error when DynamoDB cannot store a sum with every digit.
pub(super) const INEXACT: fn() -> Error = || Error::bad_request(INEXACT_CODE, Inexact::OutOfRange.message());
/// Parts of DynamoDB's messages about such a sum.
const INEXACT_MESSAGES: [&str; 3] = ["Number overflow", "Number underflow", "significant digits"];
/// Its code.
pub(super) const INEXACT_CODE: &str = "number_range";

/// Whether DynamoDB refused a write with this code, so that nothing was written.
pub(super) fn is_refusal(code: &str) -> bool {
    NOT_WRITTEN.contains(&code)
}

/// Maps a failed call to an error kind. A failure that DynamoDB may recover from is retryable.
pub(super) fn failed<E>(error: SdkError<E>) -> Error
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    const PASSING: [&str; 8] = [
        "InternalServerError",
        "ItemCollectionSizeLimitExceededException",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "ServiceUnavailable",
        "ThrottlingException",
        "TransactionConflictException",
        "TransactionInProgressException",
    ];
    let code = error.as_service_error().and_then(ProvideErrorMetadata::code);
    let message = error.as_service_error().and_then(ProvideErrorMetadata::message).unwrap_or_default();
    if code == Some("ValidationException") && message.contains("exceeded the maximum allowed size") {
        return TOO_LARGE();
    }
    if code == Some("ValidationException") && message.contains("aggregate size of the items in the transaction") {
        return TOO_MUCH();
    }
    if code == Some("ValidationException") && INEXACT_MESSAGES.iter().any(|part| message.contains(part)) {
        return INEXACT();
    }
    match code {
        Some(code) if !PASSING.contains(&code) => Error::internal(error),
        _ => Error::Unavailable { retry_after: 1, source: Some(error.into()) },
    }
}
