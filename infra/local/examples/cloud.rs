//! `cargo dev`: starts the cloud on this machine and your functions in it. An example and not a binary, because
//! cargo-lambda takes every binary of the workspace for a function. The story is told in `src/dev`.

use std::process::ExitCode;

fn main() -> ExitCode {
    undercroft_local::dev::main()
}
