//! Why a local cloud does not start, and what to do about it.

use std::fmt;
use std::path::PathBuf;

use crate::aws_error::AwsError;
use crate::http_client::CallError;
use crate::template::TemplateError;

/// Why a cloud did not start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StartError {
    /// The template contains something that the local cloud does not support.
    Template(TemplateError),
    /// An existing table has other keys than in the template.
    TableChanged {
        /// Its name.
        table: String,
    },
    /// The data folder has files of another version.
    DataVersion {
        /// The folder.
        folder: PathBuf,
        /// Version of its files.
        found: String,
        /// Version that this program reads.
        wanted: &'static str,
    },
    /// Another cloud uses the data folder.
    DataInUse {
        /// The folder.
        folder: PathBuf,
    },
    /// The data folder cannot be used.
    Data {
        /// The folder.
        folder: PathBuf,
        /// The reason.
        why: String,
    },
    /// The external endpoint serves none of the services.
    Endpoint(String),
    /// A service returned an error.
    Service(String),
}

impl fmt::Display for StartError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Template(error) => write!(out, "template.yaml is not supported by the local cloud: {error}"),
            Self::TableChanged { table } => write!(
                out,
                "table {table} exists with other keys or indexes than in template.yaml, and keys cannot be changed. \
                 Delete all data with --fresh, or restore the table in template.yaml"
            ),
            Self::DataVersion { folder, found, wanted } => write!(
                out,
                "{} contains data of version {found}, but this program reads version {wanted}. \
                 Delete all data with --fresh, or choose another folder with --data",
                folder.display()
            ),
            Self::DataInUse { folder } => write!(
                out,
                "{} is in use by another local cloud. Stop that one, or choose another folder with --data",
                folder.display()
            ),
            Self::Data { folder, why } => write!(out, "the data folder {} cannot be used: {why}", folder.display()),
            Self::Endpoint(why) | Self::Service(why) => out.write_str(why),
        }
    }
}

impl std::error::Error for StartError {}

impl From<CallError> for StartError {
    fn from(error: CallError) -> Self {
        Self::Service(error.to_string())
    }
}

impl From<AwsError> for StartError {
    fn from(error: AwsError) -> Self {
        Self::Service(error.to_string())
    }
}
