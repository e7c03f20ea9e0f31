//! Command line options and exit codes.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Parser;

use super::failure::Failure;

/// Runs the whole backend on this machine: the functions and the AWS services of template.yaml.
#[derive(Debug, Clone, Parser)]
#[command(bin_name = "cargo dev --", after_help = EXIT_CODES)]
pub struct CommandOptions {
    /// Port of the API.
    #[arg(long, default_value_t = 9000)]
    pub port: u16,
    /// Port of the dashboard, which shows mail, queues, files and tables.
    #[arg(long, default_value_t = 9001)]
    pub dashboard_port: u16,
    /// Folder of the stored data [default: .undercroft next to template.yaml].
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Delete all data in the data folder first.
    #[arg(long)]
    pub fresh: bool,
    /// URL of an external AWS-compatible endpoint (moto_server, DynamoDB Local), used for each service that it serves.
    #[arg(long, value_name = "URL", value_parser = plain_http)]
    pub endpoint: Option<String>,
    /// Build the functions in release mode.
    #[arg(long)]
    pub release: bool,
    /// Maximum concurrent executions of each function.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=64))]
    pub concurrency: usize,
    /// Value of a template parameter; can be repeated.
    #[arg(long = "parameter", value_name = "KEY=VALUE", value_parser = key_and_value)]
    parameter: Vec<(String, String)>,
}

/// The exit codes, as `--help` lists them.
pub const EXIT_CODES: &str = "\
Exit codes:
   0  stopped by Ctrl-C, SIGTERM or SIGHUP
   1  another error
   2  a port is in use
   4  a function does not compile or start
   5  the data folder is in use, has another version, or contains tables with other keys
   6  template.yaml contains something that is not supported
   7  the endpoint given with --endpoint serves none of the needed services
  64  wrong usage";

impl CommandOptions {
    /// URL of the API.
    pub fn api(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The given template parameters; the last value wins. The definition lease is short, so that changed definitions take effect
    /// quickly.
    pub fn parameters(&self) -> BTreeMap<String, String> {
        let default = [("DefinitionLease".to_owned(), "0.5".to_owned())];
        default.into_iter().chain(self.parameter.iter().cloned()).collect()
    }
}

/// The folder with template.yaml: the current one or the nearest parent.
pub fn workspace_root() -> Result<PathBuf, Failure> {
    let here = std::env::current_dir().map_err(|error| Failure::Other(error.to_string()))?;
    let root = here.ancestors().find(|folder| folder.join("template.yaml").is_file());
    root.map(PathBuf::from).ok_or_else(|| {
        Failure::Template(crate::template::TemplateError::new(
            "template.yaml",
            "",
            "is neither in this folder nor in a parent folder",
        ))
    })
}

fn key_and_value(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()));
    pair.ok_or_else(|| "must have the form Key=Value".into())
}

fn plain_http(text: &str) -> Result<String, String> {
    match text.starts_with("http://") {
        true => Ok(text.to_owned()),
        false => Err("must be an http:// URL on this machine or in a trusted network".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_options_are_parsed() {
        use clap::CommandFactory as _;
        CommandOptions::command().debug_assert();
        let given = ["cargo dev", "--port", "9100", "--parameter", "A=1", "--parameter", "B=x=y"];
        let options = CommandOptions::try_parse_from(given).unwrap();
        assert_eq!(options.api(), "http://127.0.0.1:9100");
        assert_eq!(options.parameters()["B"], "x=y");
        assert!(CommandOptions::try_parse_from(["cargo dev", "--endpoint", "https://aws.amazon.com"]).is_err());
        assert!(CommandOptions::try_parse_from(["cargo dev", "--concurrency", "0"]).is_err());
    }
}
