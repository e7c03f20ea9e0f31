//! Errors of the command: a message that says what to do, and an exit code for scripts.

use std::fmt;

use crate::start_error::StartError;
use crate::template::TemplateError;

/// Why the command fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The port is in use.
    PortTaken {
        /// The port.
        port: u16,
        /// The option that sets it.
        option: &'static str,
        /// What uses it, as far as is known.
        who: &'static str,
    },
    /// These functions do not compile; empty if a shared crate does not compile.
    Build(Vec<String>),
    /// A function was built but does not start.
    Function(String),
    /// The template is missing or not supported.
    Template(TemplateError),
    /// The cloud did not start.
    Start(StartError),
    /// Another error.
    Other(String),
}

impl Failure {
    /// The process's exit code, as `--help` lists them.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::PortTaken { .. } => 2,
            Self::Build(_) | Self::Function(_) => 4,
            Self::Template(_) | Self::Start(StartError::Template(_)) => 6,
            Self::Start(
                StartError::TableChanged { .. }
                | StartError::DataVersion { .. }
                | StartError::DataInUse { .. }
                | StartError::Data { .. },
            ) => 5,
            Self::Start(StartError::Endpoint(_)) => 7,
            Self::Start(StartError::Service(_)) | Self::Other(_) => 1,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PortTaken { port, option, who } => {
                write!(out, "port {port} is in use by {who}. Stop it, or choose another port with {option}")
            }
            Self::Other(why) => out.write_str(why),
            Self::Build(functions) if functions.is_empty() => {
                out.write_str("the functions do not compile: the error above is in a shared crate")
            }
            Self::Build(functions) => {
                write!(out, "these functions do not compile: {} (see the errors above)", functions.join(", "))
            }
            Self::Function(name) => {
                write!(out, "the function {name} was built but does not start (see its output above)")
            }
            Self::Template(error) => write!(out, "{}", StartError::Template(error.clone())),
            Self::Start(error) => write!(out, "{error}"),
        }
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        Self::Start(error)
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn every_failure_has_an_exit_code_and_says_what_to_do() {
        let folder = || PathBuf::from("data");
        let error = || TemplateError::new("Work", "FifoQueue", "is not supported");
        let cases = [
            (
                Failure::PortTaken { port: 9000, option: "--port", who: "somebody" },
                2,
                "port 9000 is in use by somebody",
            ),
            (Failure::PortTaken { port: 9000, option: "--port", who: "somebody" }, 2, "another port with --port"),
            (Failure::Build(vec!["auth".into(), "jobs".into()]), 4, "these functions do not compile: auth, jobs"),
            (Failure::Build(Vec::new()), 4, "in a shared crate"),
            (Failure::Function("auth".into()), 4, "the function auth was built but does not start"),
            (StartError::TableChanged { table: "Things".into() }.into(), 5, "--fresh"),
            (StartError::DataVersion { folder: folder(), found: "0".into(), wanted: "1" }.into(), 5, "version 0"),
            (StartError::DataVersion { folder: folder(), found: "0".into(), wanted: "1" }.into(), 5, "--data"),
            (StartError::DataInUse { folder: folder() }.into(), 5, "data is in use"),
            (StartError::Data { folder: folder(), why: "read-only".into() }.into(), 5, "read-only"),
            (Failure::Template(error()), 6, "Work, FifoQueue: is not supported"),
            (StartError::Template(error()).into(), 6, "Work, FifoQueue: is not supported"),
            (StartError::Endpoint("nothing answers".into()).into(), 7, "nothing answers"),
            (StartError::Service("no port".into()).into(), 1, "no port"),
            (Failure::Other("strange".into()), 1, "strange"),
        ];
        for (failure, code, message) in cases {
            assert_eq!(failure.exit_code(), code, "{failure:?}");
            assert!(failure.to_string().contains(message), "{failure}");
            let listed = super::super::options::EXIT_CODES.contains(&format!("\n   {code}  "));
            assert!(listed, "--help does not list {code}");
        }
    }
}
