//! What `journal verify` prints.

use std::fmt::Write as _;

use journal::{
    Verified,
    verify::{PositionReport, SegmentReport, SegmentState},
};

use crate::cli::status::bytes;
use crate::cli::{Ending, complain, say};

pub(super) fn report(found: &Verified) -> Ending {
    say(&shown(found));
    if found.is_sound() {
        return Ending::Ok;
    }
    complain("the journal is damaged");
    Ending::Failed
}

/// A line for each segment, position and file in quarantine, and the sum.
fn shown(found: &Verified) -> String {
    let mut lines: Vec<String> = found.segments.iter().map(segment).collect();
    lines.extend(found.positions.iter().map(position));
    let set_aside = found.quarantine.iter();
    lines.extend(set_aside.map(|(name, size)| format!("quarantine  {name}  {}", bytes(*size))));
    lines.push(format!(
        "{} segments, {} frames, {} readings, {}{}",
        found.segments.len(),
        found.frames(),
        found.readings(),
        bytes(found.bytes),
        if found.live { "; a gateway runs on it" } else { "" }
    ));
    lines.join("\n")
}

fn segment(segment: &SegmentReport) -> String {
    let state = match &segment.state {
        SegmentState::Sealed => "sealed",
        SegmentState::Open => "open",
        SegmentState::Unused => "prepared",
        SegmentState::Newer => "of a later release",
        SegmentState::Damaged => "DAMAGED",
        SegmentState::Unreadable(why) => why,
    };
    let mut line = format!(
        "segment  {}  {state}  {} to {}, {} frames, {} readings",
        segment.name, segment.first.0, segment.last.0, segment.frames, segment.readings
    );
    for (ranges, what) in [(&segment.corrupt, "CORRUPT"), (&segment.torn, "torn")] {
        for (first, last) in ranges {
            write!(line, "  {what} {first} to {last}").expect("a string takes everything");
        }
    }
    line
}

fn position(position: &PositionReport) -> String {
    format!(
        "position  {}  {} of {} records valid, generation {}, everything up to {} is done",
        position.id, position.records_valid, position.files, position.generation, position.low.0
    )
}
