//! `tidegate frame decode FILE|-`: a binary frame as line protocol, or the byte where it stops making sense.

use std::{
    io::{self, Read as _},
    path::PathBuf,
};

use anyhow::Context as _;
use clap::Subcommand;

use super::{Ending, check};
use crate::intake::{
    Format, Limits, explain,
    stamp::{Clock as _, SystemClock},
};

/// A frame is never larger than this; a longer file is no frame.
const FRAME_BYTES_MAX: u64 = 1024 * 1024;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print the readings of a frame as line protocol.
    Decode {
        /// The file with the frame's bytes; `-` reads standard input.
        file: PathBuf,
    },
}

pub fn execute(command: &Command) -> anyhow::Result<Ending> {
    let Command::Decode { file } = command;
    let bytes = read(file)?;
    let limits = Limits::default();
    Ok(check::show(&explain::body(Format::Frame, &bytes, &limits, SystemClock.now())))
}

fn read(file: &std::path::Path) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let source: Box<dyn io::Read> = if file.as_os_str() == "-" {
        Box::new(io::stdin().lock())
    } else {
        Box::new(std::fs::File::open(file).with_context(|| file.display().to_string())?)
    };
    source.take(FRAME_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    anyhow::ensure!(
        bytes.len() as u64 <= FRAME_BYTES_MAX,
        "{} is larger than {FRAME_BYTES_MAX} bytes and no frame",
        file.display()
    );
    Ok(bytes)
}
