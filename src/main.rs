//! Arguments, then the subcommand, then the exit code. What `run` does stands in `cli/run.rs`.

use std::process::ExitCode;

use clap::Parser;
use tidegate::cli::{Arguments, Ending, complain};

fn main() -> ExitCode {
    match Arguments::parse().execute() {
        Ok(ending) => ending.into(),
        Err(error) => {
            complain(&format!("tidegate: {error:#}"));
            Ending::Failed.into()
        }
    }
}
