//! Files of records: their formats, and their keys in the bucket.

use crate::id;
use serde::{Deserialize, Serialize};

/// The format of a file of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// One JSON object per line.
    Ndjson,
    /// RFC 4180, with a header.
    Csv,
}

impl Format {
    /// Both formats.
    pub const ALL: [Self; 2] = [Self::Ndjson, Self::Csv];

    /// Its name, which is also the file extension.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ndjson => "ndjson",
            Self::Csv => "csv",
        }
    }

    /// The media type of such files.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Ndjson => "application/x-ndjson",
            Self::Csv => "text/csv; charset=utf-8",
        }
    }

    /// The format of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.name() == name)
    }
}

/// The key of a file to be uploaded.
pub fn upload_key(id: &str, format: Format) -> String {
    format!("uploads/{id}.{}", format.name())
}

/// The key of an export.
pub fn export_key(job: &str, format: Format) -> String {
    format!("{EXPORTS}{job}.{}", format.name())
}

/// The key of the rows that an import refused. It is stored with the exports because it is downloaded like one.
pub fn refused_key(job: &str) -> String {
    format!("{EXPORTS}{job}.refused.ndjson")
}

/// The key of one of the two alternating pieces that hold a file's unfinished end between slices.
pub fn rest_key(job: &str, turn: u64) -> String {
    format!("unfinished/{job}.{}", turn % 2)
}

/// The key of rows that wait for another pass of an import: the `piece`th object of this pass, counted from 0.
pub fn waiting_key(job: &str, pass: u32, piece: u32) -> String {
    format!("unfinished/{job}.waiting.{pass}.{piece}")
}

/// Whether a link may be signed for this key: a job's result.
pub fn is_result(key: &str) -> bool {
    key.starts_with(EXPORTS)
}

/// Whether this is the key of a file in that format that can be imported: an upload or an unmodified export.
pub fn can_be_imported(key: &str, format: Format) -> bool {
    let name = key.strip_prefix("uploads/").or_else(|| key.strip_prefix(EXPORTS));
    let id = name.and_then(|name| name.strip_suffix(format.name())).and_then(|name| name.strip_suffix('.'));
    id.is_some_and(id::is_valid)
}

const EXPORTS: &str = "exports/";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_uploads_and_exports_of_the_format_can_be_imported() {
        let id = "017f22e2-79b0-7cc3-98c4-dc0c0c07398f";
        for format in Format::ALL {
            assert!(can_be_imported(&upload_key(id, format), format));
            assert!(can_be_imported(&export_key(id, format), format));
            assert_eq!(Format::named(format.name()), Some(format));
        }
        let ndjson = upload_key(id, Format::Ndjson);
        assert!(!can_be_imported(&ndjson, Format::Csv));
        for key in
            [refused_key(id), rest_key(id, 0), format!("uploads/../{id}.ndjson"), format!("{ndjson}x"), id.into()]
        {
            assert!(!can_be_imported(&key, Format::Ndjson), "{key}");
        }
    }
}
