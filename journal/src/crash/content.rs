//! What the simulated devices send: everything about a submission follows from its number, so a
//! payload proves itself.

use crate::Counts;
use crate::Frame;
use crate::Kind;
use crate::Rejected;
use crate::Submission;
use crate::Ticket;

/// A frame as it must come back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct FrameModel {
    pub(super) is_data: bool,
    pub(super) ids: Vec<u64>,
    pub(super) readings: u64,
    pub(super) counts: Counts,
}

pub(super) fn submission(id: u64, ticket: Ticket) -> Submission {
    let rejected = if is_rejecting(id) { vec![refused(id)] } else { Vec::new() };
    let readings = if id.is_multiple_of(23) { 0 } else { readings(id) };
    Submission {
        source: "sim".into(),
        arrival_ns: i64::try_from(id).unwrap(),
        clock_epoch: 1,
        readings,
        bytes: if readings == 0 { Vec::new() } else { bytes(id) },
        counts: Counts {
            refused: u64::from(is_rejecting(id)),
            filtered: u64::from(id.is_multiple_of(7)),
            duplicate: u64::from(id.is_multiple_of(11)),
            dropped: u64::from(id.is_multiple_of(13)),
        },
        note: note(id),
        rejected,
        ticket,
        guard: None,
    }
}

/// Some have one; with it their frame is stored another way.
pub(super) fn note(id: u64) -> bytes::Bytes {
    if id.is_multiple_of(3) && !id.is_multiple_of(23) {
        id.to_le_bytes().to_vec().into()
    } else {
        bytes::Bytes::new()
    }
}

/// What a frame from the journal says, if every part of it is what its number makes it.
pub(super) fn read(frame: &Frame) -> Result<FrameModel, String> {
    let mut model = FrameModel {
        is_data: frame.kind == Kind::Data,
        readings: u64::from(frame.readings),
        ..FrameModel::default()
    };
    for entry in frame.submissions() {
        let entry = entry.map_err(|error| error.to_string())?;
        let id = id_in(entry.bytes)?;
        if entry.bytes != bytes(id) || entry.readings != readings(id) || entry.source != "sim" {
            return Err(format!("PHANTOM: submission {id} is not what was sent"));
        }
        model.ids.push(id);
    }
    for entry in frame.rejected() {
        let entry = entry.map_err(|error| error.to_string())?;
        let id = id_in(entry.bytes)?;
        let sent = refused(id);
        if entry.bytes != sent.bytes || entry.reason != sent.reason || entry.readings != 1 {
            return Err(format!("PHANTOM: rejection {id} is not what was sent"));
        }
        model.ids.push(id);
    }
    Ok(model)
}

/// Both files of a state, and the draft of a third: a state that grows in a full journal is written all
/// the same, as it is what moves the position, and that what frees segments.
pub(super) const STATE_FILES_MAX: u64 = 3 * 12 * 1024;

/// What an output with a state remembers once it has worked on that frame: short or long.
pub(super) fn state(upto: u64) -> Vec<u8> {
    let mut rng = fastrand::Rng::with_seed(upto);
    let len = if rng.u8(0..4) == 0 { rng.usize(3000..9000) } else { rng.usize(8..100) };
    let mut state = upto.to_le_bytes().to_vec();
    state.extend(std::iter::repeat_with(|| rng.u8(..)).take(len - 8));
    state
}

/// The frame that a state is of, if every byte is what that makes it.
pub(super) fn state_of(bytes: &[u8]) -> Result<u64, String> {
    let upto = bytes.first_chunk().map(|upto| u64::from_le_bytes(*upto));
    let whole = upto.filter(|upto| state(*upto) == bytes);
    whole.ok_or_else(|| format!("PHANTOM: a state of {upto:?} in {} bytes", bytes.len()))
}

fn is_rejecting(id: u64) -> bool {
    id.is_multiple_of(17)
}

fn readings(id: u64) -> u32 {
    1 + u32::try_from(id % 3).unwrap()
}

fn refused(id: u64) -> Rejected {
    Rejected {
        topic: format!("sim/{id}"),
        index: 0,
        kind: "json",
        reason: format!("entry {id} is broken"),
        bytes: bytes(id),
        readings: 1,
    }
}

/// Short and long, compressible and not.
fn bytes(id: u64) -> Vec<u8> {
    let mut rng = fastrand::Rng::with_seed(id);
    let len = if id.is_multiple_of(29) { rng.usize(1000..2500) } else { rng.usize(8..300) };
    let mut bytes = id.to_le_bytes().to_vec();
    if rng.bool() {
        bytes.resize(len, b'x');
    } else {
        bytes.extend(std::iter::repeat_with(|| rng.u8(..)).take(len - 8));
    }
    bytes
}

fn id_in(bytes: &[u8]) -> Result<u64, String> {
    let id = bytes.first_chunk().ok_or("PHANTOM: an entry without a number")?;
    Ok(u64::from_le_bytes(*id))
}
