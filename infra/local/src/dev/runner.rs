//! Each function in the environment template.yaml gives it, and in no other's: cargo-lambda has one environment for all, so
//! cargo is told to run every function through this program, which puts on the function's own and becomes it.

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitCode};

use crate::cloud::LocalCloud;

/// First argument of a process that becomes a function.
const ARGUMENT: &str = "become-function";
/// The variable that holds all functions' environments, as JSON, on the way here.
pub const ENVIRONMENTS: &str = "UNDERCROFT_ENVIRONMENTS";

type Environments = BTreeMap<String, BTreeMap<String, String>>;

/// What [`ENVIRONMENTS`] holds for this cloud's functions.
pub fn environments(cloud: &LocalCloud) -> String {
    let names = cloud.functions().iter().map(|function| function.binary.clone());
    let all: Environments = names.map(|name| (name.clone(), cloud.environment(&name))).collect();
    serde_json::json!(all).to_string()
}

/// The setting that has cargo run binaries through this program.
pub fn cargo_setting() -> std::io::Result<String> {
    let program = std::env::current_exe()?;
    // JSON's text is TOML's text, whatever is in the path.
    let words = serde_json::json!([program.to_string_lossy(), ARGUMENT]);
    Ok(format!("target.'cfg(all())'.runner={words}"))
}

/// Becomes the function this process was started for, if it was. Comes back only where that fails.
pub fn become_function() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next()? != ARGUMENT {
        return None;
    }
    let program = arguments.next()?;
    let name = Path::new(&program).file_name()?.to_string_lossy().into_owned();
    let environments = std::env::var_os(ENVIRONMENTS)?.into_string().ok()?;
    let mut function = Command::new(&program);
    function.args(arguments).env_remove(ENVIRONMENTS).envs(own(&name, &environments));
    let error = function.exec();
    eprintln!("undercroft: {name} cannot be started: {error}");
    Some(ExitCode::FAILURE)
}

/// One function's part of all environments; nothing for a binary that is no function.
fn own(name: &str, environments: &str) -> BTreeMap<String, String> {
    let all: Environments = serde_json::from_str(environments).unwrap_or_default();
    all.get(name).cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_gets_its_own_variables_and_nobody_elses() {
        let all = r#"{"auth":{"KEY":"a","ONLY":"auth"},"jobs":{"KEY":"j"}}"#;
        assert_eq!(own("jobs", all), BTreeMap::from([("KEY".into(), "j".into())]));
        assert!(own("stranger", all).is_empty());
    }

    #[test]
    fn cargo_is_told_of_this_program_in_words_it_can_read() {
        let setting = cargo_setting().unwrap();
        let words = setting.strip_prefix("target.'cfg(all())'.runner=").unwrap();
        let words: Vec<String> = serde_json::from_str(words).unwrap();
        assert_eq!(words[0], std::env::current_exe().unwrap().to_string_lossy());
        assert_eq!(words[1], ARGUMENT);
    }
}
