//! What `journal dump` prints: a line for each frame, then its readings as line protocol.

use std::path::Path;

use anyhow::Context as _;
use journal::{Dumped, Frame, Seq};
use proto::frame::Cursor;

use crate::cli::{Ending, complain, say};

/// The last frame of a running gateway may be half written: that is no failure of the dump.
pub(super) fn print(dir: &Path, from: u64, count: usize) -> anyhow::Result<Ending> {
    let mut left = count;
    journal::dump(dir, Seq(from), |dumped| {
        say(&head(&dumped));
        match &dumped.frame {
            Ok(frame) => body(frame),
            Err(why) => complain(&format!("frame {}: {why}", dumped.seq.0)),
        }
        left = left.saturating_sub(1);
        left > 0
    })
    .with_context(|| dir.display().to_string())?;
    Ok(Ending::Ok)
}

fn head(dumped: &Dumped) -> String {
    let kind = dumped
        .frame
        .as_ref()
        .map_or("unreadable".to_owned(), |frame| format!("{:?}", frame.kind).to_lowercase());
    format!(
        "# frame {}  {kind}  {} readings  {} bytes  {} at {}",
        dumped.seq.0, dumped.readings, dumped.bytes, dumped.segment, dumped.offset
    )
}

fn body(frame: &Frame) {
    for submission in frame.submissions() {
        match submission {
            Ok(submission) => {
                say(&format!("# from {} at {}", submission.source, submission.arrival_ns));
                readings(submission.bytes);
            }
            Err(error) => complain(&error.to_string()),
        }
    }
    for rejected in frame.rejected() {
        match rejected {
            Ok(rejected) => say(&format!(
                "# refused: {} {} [{}] {}: {}",
                rejected.source, rejected.topic, rejected.index, rejected.kind, rejected.reason
            )),
            Err(error) => complain(&error.to_string()),
        }
    }
}

fn readings(bytes: &[u8]) {
    let mut line = Vec::new();
    let mut cursor = Cursor::new(bytes);
    while let Some(reading) = cursor.next() {
        line.clear();
        let written = match &reading {
            Ok(reading) => proto::line::write(reading, &mut line).map_err(|why| why.to_string()),
            Err(error) => Err(error.to_string()),
        };
        match written {
            Ok(()) => say(String::from_utf8_lossy(&line).trim_end()),
            Err(why) => complain(&format!("a reading cannot be shown: {why}")),
        }
    }
}
