//! What the command takes, and what its exit codes mean.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Parser;

use super::failure::Failure;

/// The whole backend on this machine: your functions, and the AWS they run on, from template.yaml.
#[derive(Debug, Clone, Parser)]
#[command(bin_name = "cargo dev --", after_help = EXIT_CODES)]
pub struct Options {
    /// Port of the API.
    #[arg(long, default_value_t = 9000)]
    pub port: u16,
    /// Port of the desk, where mail, queues and tables can be seen.
    #[arg(long, default_value_t = 9001)]
    pub desk_port: u16,
    /// Folder everything is kept in [default: .undercroft beside template.yaml].
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Begin anew: delete what is in the data folder first.
    #[arg(long)]
    pub fresh: bool,
    /// Another AWS-compatible endpoint (moto_server, DynamoDB Local), used for each service that answers there.
    #[arg(long, value_name = "URL", value_parser = plain_http)]
    pub endpoint: Option<String>,
    /// Build and run the functions optimised.
    #[arg(long)]
    pub release: bool,
    /// Instances of each function at once.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=64))]
    pub concurrency: usize,
    /// Value of a template parameter; may be given several times.
    #[arg(long = "parameter", value_name = "KEY=VALUE", value_parser = key_and_value)]
    parameter: Vec<(String, String)>,
}

/// What `--help` says of exit codes.
pub const EXIT_CODES: &str = "\
Exit codes:
   0  stopped by Ctrl-C, SIGTERM or SIGHUP
   1  something else failed
   2  a port is in use
   4  a function does not compile or start
   5  the data folder is in use, of another version, or holds tables with other keys
   6  template.yaml holds something that cannot be honoured here
   7  the endpoint given with --endpoint serves nothing that is needed
  64  wrong usage";

impl Options {
    /// Address of the API.
    pub fn api(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Parameters given; the last one wins. Whoever tries definitions out does not want to wait for a lease.
    pub fn parameters(&self) -> BTreeMap<String, String> {
        let default = [("DefinitionLease".to_owned(), "0.5".to_owned())];
        default.into_iter().chain(self.parameter.iter().cloned()).collect()
    }
}

/// The folder of template.yaml: this one or the nearest above it.
pub fn workspace_root() -> Result<PathBuf, Failure> {
    let here = std::env::current_dir().map_err(|error| Failure::Other(error.to_string()))?;
    let root = here.ancestors().find(|folder| folder.join("template.yaml").is_file());
    root.map(PathBuf::from).ok_or_else(|| {
        Failure::Template(crate::template::Refusal::new("template.yaml", "", "is neither here nor in any folder above"))
    })
}

fn key_and_value(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()));
    pair.ok_or_else(|| "is written Key=Value".into())
}

fn plain_http(text: &str) -> Result<String, String> {
    match text.starts_with("http://") {
        true => Ok(text.to_owned()),
        false => Err("is an http:// address on this machine or a network you trust".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_options_hold_together_and_mean_what_the_help_says() {
        use clap::CommandFactory as _;
        Options::command().debug_assert();
        let given = ["cargo dev", "--port", "9100", "--parameter", "A=1", "--parameter", "B=x=y"];
        let options = Options::try_parse_from(given).unwrap();
        assert_eq!(options.api(), "http://127.0.0.1:9100");
        assert_eq!(options.parameters()["B"], "x=y");
        assert!(Options::try_parse_from(["cargo dev", "--endpoint", "https://aws.amazon.com"]).is_err());
        assert!(Options::try_parse_from(["cargo dev", "--concurrency", "0"]).is_err());
    }
}
