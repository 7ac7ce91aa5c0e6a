//! `tidegate-sim`: devices, load, verification and a misbehaving database from the command line.
//!
//! Exit codes: 0 all is well, 1 something was lost, wrong or failed, 2 usage, 64 a configuration that
//! `torture` cannot use.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "what a command line tool has to say goes there"
)]

mod cli;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let arguments = cli::Arguments::parse();
    cli::run(arguments).unwrap_or_else(|error| {
        eprintln!("tidegate-sim: {error:#}");
        ExitCode::FAILURE
    })
}
