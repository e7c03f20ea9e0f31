//! Why a local cloud does not start: each with what to do about it, and for the command, with an exit code of its own.

use std::fmt;
use std::path::PathBuf;

use crate::client::CallError;
use crate::service::Fault;
use crate::template::Refusal;

/// Why a cloud did not start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StartError {
    /// The template holds something that cannot be honoured here.
    Template(Refusal),
    /// A table that is there already has other keys than the template's.
    TableChanged {
        /// Its name.
        table: String,
    },
    /// The data folder belongs to another version of this program.
    DataVersion {
        /// The folder.
        folder: PathBuf,
        /// Version its files have.
        found: String,
        /// Version this program reads.
        wanted: &'static str,
    },
    /// Another cloud holds the data folder.
    DataInUse {
        /// The folder.
        folder: PathBuf,
    },
    /// The data folder cannot be used.
    Data {
        /// The folder.
        folder: PathBuf,
        /// Why not.
        why: String,
    },
    /// The given endpoint answers for no service at all.
    Endpoint(String),
    /// A service refused what the template needs.
    Service(String),
}

impl fmt::Display for StartError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Template(refusal) => write!(out, "the template cannot be executed here: {refusal}"),
            Self::TableChanged { table } => write!(
                out,
                "table {table} exists with other keys or indexes than the template's; keys cannot change. \
                 Begin anew with --fresh (this deletes the data), or put the template back"
            ),
            Self::DataVersion { folder, found, wanted } => write!(
                out,
                "{} holds data of version {found}, this program reads version {wanted}. \
                 Begin anew with --fresh (this deletes the data), or choose another folder with --data",
                folder.display()
            ),
            Self::DataInUse { folder } => write!(
                out,
                "{} is in use by another running cloud. Stop that one, or choose another folder with --data",
                folder.display()
            ),
            Self::Data { folder, why } => write!(out, "{} cannot be used: {why}", folder.display()),
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

impl From<Fault> for StartError {
    fn from(fault: Fault) -> Self {
        Self::Service(fault.to_string())
    }
}
