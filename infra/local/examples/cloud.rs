//! `cargo dev`: runs the local cloud and the functions. It is an example and not a binary because cargo-lambda builds every
//! binary of the workspace as a function. See `src/dev`.

use std::process::ExitCode;

fn main() -> ExitCode {
    undercroft_local::dev::main()
}
