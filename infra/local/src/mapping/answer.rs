//! What a function's answer to a batch means: which of its records are done.

use std::collections::BTreeSet;

use serde_json::Value;

use super::FunctionError;

/// What became of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Every record is done.
    Done,
    /// These records are not, by their identifiers; the others are.
    Failed(BTreeSet<String>),
    /// No record is.
    AllFailed,
}

/// Reads the answer to a batch whose records are called `identifiers`.
///
/// With `reports` (`ReportBatchItemFailures`) the answer's payload is looked into, and whatever is malformed in it fails
/// the whole batch: a record may be done twice, never not at all. Without, only a function error counts.
pub fn verdict(answer: &Result<String, FunctionError>, reports: bool, identifiers: &[&str]) -> Verdict {
    match answer {
        Err(_) => Verdict::AllFailed,
        Ok(_) if !reports => Verdict::Done,
        Ok(payload) => failures(payload).map_or(Verdict::AllFailed, |failed| match failed.is_empty() {
            true => Verdict::Done,
            false if failed.iter().all(|one| identifiers.contains(&one.as_str())) => Verdict::Failed(failed),
            false => Verdict::AllFailed,
        }),
    }
}

/// The identifiers reported as failed; `None` for what is no such report.
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

    fn read(payload: &str) -> Verdict {
        verdict(&Ok(payload.to_owned()), true, &["a", "b"])
    }

    #[test]
    fn every_way_to_say_success_is_success() {
        for payload in ["", "null", "\"\"", "{}", r#"{"batchItemFailures":null}"#, r#"{"batchItemFailures":[]}"#] {
            assert_eq!(read(payload), Verdict::Done, "{payload}");
        }
    }

    #[test]
    fn every_malformed_report_fails_the_whole_batch() {
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
            r#"{"batchItemFailures":[{"itemIdentifier":"stranger"}]}"#,
            r#"{"batchItemFailures":[{"itemIdentifier":"a"},{"itemIdentifier":"stranger"}]}"#,
        ] {
            assert_eq!(read(payload), Verdict::AllFailed, "{payload}");
        }
    }

    #[test]
    fn a_report_names_exactly_what_failed() {
        let payload = r#"{"batchItemFailures":[{"itemIdentifier":"b"}]}"#;
        assert_eq!(read(payload), Verdict::Failed(["b".to_owned()].into()));
    }

    #[test]
    fn without_reporting_only_a_function_error_fails_and_it_fails_everything() {
        let reported = Ok(r#"{"batchItemFailures":[{"itemIdentifier":"b"}]}"#.to_owned());
        assert_eq!(verdict(&reported, false, &["a", "b"]), Verdict::Done);
        assert_eq!(verdict(&Err(FunctionError("boom".into())), false, &["a", "b"]), Verdict::AllFailed);
        assert_eq!(verdict(&Err(FunctionError("boom".into())), true, &["a", "b"]), Verdict::AllFailed);
    }
}
