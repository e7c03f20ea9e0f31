//! The function's response to a batch: which records failed.

use std::collections::BTreeSet;

use serde_json::Value;

use super::invoke::FunctionError;

/// The result of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BatchResult {
    /// All records are done.
    Success,
    /// The records with these identifiers failed; the others are done.
    PartialFailure(BTreeSet<String>),
    /// All records failed.
    Failure,
}

/// Reads the response to a batch of records with these identifiers.
///
/// With `reports` (`ReportBatchItemFailures`) the payload is parsed, and a malformed payload fails the whole batch: a record may
/// be delivered twice, but is never lost. Without `reports` only a function error fails the batch.
pub fn batch_result(answer: &Result<String, FunctionError>, reports: bool, identifiers: &[&str]) -> BatchResult {
    match answer {
        Err(_) => BatchResult::Failure,
        Ok(_) if !reports => BatchResult::Success,
        Ok(payload) => failures(payload).map_or(BatchResult::Failure, |failed| match failed.is_empty() {
            true => BatchResult::Success,
            false if failed.iter().all(|one| identifiers.contains(&one.as_str())) => {
                BatchResult::PartialFailure(failed)
            }
            false => BatchResult::Failure,
        }),
    }
}

/// The identifiers of the failed records; `None` when the payload is malformed.
fn failures(payload: &str) -> Option<BTreeSet<String>> {
    if payload.is_empty() {
        return Some(BTreeSet::new());
    }
    let report: Value = serde_json::from_str(payload).ok()?;
    let list = match report {
        Value::Null => return Some(BTreeSet::new()),
        Value::String(text) if text.is_empty() => return Some(BTreeSet::new()),
        Value::Object(mut fields) => fields.remove("batchItemFailures").unwrap_or_default(),
        _ => return None,
    };
    match list {
        Value::Null => Some(BTreeSet::new()),
        Value::Array(items) => items.iter().map(identifier).collect(),
        _ => None,
    }
}

fn identifier(item: &Value) -> Option<String> {
    let identifier = item.get("itemIdentifier")?.as_str()?;
    (!identifier.is_empty()).then(|| identifier.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(payload: &str) -> BatchResult {
        batch_result(&Ok(payload.to_owned()), true, &["a", "b"])
    }

    #[test]
    fn every_form_of_success_is_a_success() {
        for payload in ["", "null", "\"\"", "{}", r#"{"batchItemFailures":null}"#, r#"{"batchItemFailures":[]}"#] {
            assert_eq!(read(payload), BatchResult::Success, "{payload}");
        }
    }

    #[test]
    fn a_malformed_response_fails_the_whole_batch() {
        for payload in [
            "not json",
            "[]",
            "true",
            "\"ok\"",
            r#"{"batchItemFailures":"a"}"#,
            r#"{"batchItemFailures":[{"itemIdentifier":""}]}"#,
            r#"{"batchItemFailures":[{"itemIdentifier":null}]}"#,
            r#"{"batchItemFailures":[{"itemIdentifier":7}]}"#,
            r#"{"batchItemFailures":[{"id":"a"}]}"#,
            r#"{"batchItemFailures":[null]}"#,
            r#"{"batchItemFailures":[{"itemIdentifier":"unknown"}]}"#,
            r#"{"batchItemFailures":[{"itemIdentifier":"a"},{"itemIdentifier":"unknown"}]}"#,
        ] {
            assert_eq!(read(payload), BatchResult::Failure, "{payload}");
        }
    }

    #[test]
    fn a_response_names_the_failed_records() {
        let payload = r#"{"batchItemFailures":[{"itemIdentifier":"b"}]}"#;
        assert_eq!(read(payload), BatchResult::PartialFailure(["b".to_owned()].into()));
    }

    #[test]
    fn without_report_batch_item_failures_only_a_function_error_fails_the_batch() {
        let reported = Ok(r#"{"batchItemFailures":[{"itemIdentifier":"b"}]}"#.to_owned());
        assert_eq!(batch_result(&reported, false, &["a", "b"]), BatchResult::Success);
        assert_eq!(batch_result(&Err(FunctionError("boom".into())), false, &["a", "b"]), BatchResult::Failure);
        assert_eq!(batch_result(&Err(FunctionError("boom".into())), true, &["a", "b"]), BatchResult::Failure);
    }
}
