//! The binary frame: on the wire, and (its body) in the journal.
//!
//! ```text
//! frame    magic 0xC1 · version 1 · count varint · reading * count             on the wire
//! reading  series · time · fields                                              in the journal: only these
//! series   measurement text · tags varint · (key text · value text) * tags     sorted, unique: the series key
//! time     0 | 1 · ns i64, 8 bytes | 2 · age in ns varint | 3 · ns i64, 8 bytes (by our clock, journal only)
//! fields   fields varint · (name text · value) * fields
//! value    0 · f64 | 1 · f32 | 2 · zigzag varint | 3 · varint | 4 · 0 or 1 | 5 · text
//! text     bytes varint · UTF-8
//! ```
//! Numbers are little-endian, a varint is bincode 2's: below 251 one byte; 251, 252, 253 and then
//! 2, 4, 8 bytes. `docs/frame.md` tells the same to people who write devices.
//!
//! A device's frame is decoded, checked and encoded anew, never copied: it may hold longer varints
//! than needed, unsorted tags, a measurement left empty. A bad reading costs itself; after damage
//! to the structure the rest cannot be found, so it costs the rest.

mod cursor;
mod restamp;
#[cfg(test)]
mod tests;
pub(crate) mod wire;

pub use cursor::Cursor;
pub use restamp::{Restamp, restamp, shifted};

use crate::{
    Context, Kind, Place, Reading, ReadingRef, Readings, Reason, Rejects, Time, ValueRef,
    offer::Offers,
};
use cursor::Walked;
use wire::{Header, Input};

/// Never a byte of UTF-8, unused in MessagePack.
pub const MAGIC: u8 = 0xC1;
/// Of the wire format; the journal's schema is versioned apart.
pub const VERSION: u8 = 1;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("byte {at}: {what}")]
pub struct FrameError {
    pub at: usize,
    pub what: std::borrow::Cow<'static, str>,
}

impl From<FrameError> for Reason {
    fn from(error: FrameError) -> Self {
        Self::new(Kind::Undecodable, error.to_string())
    }
}

/// Decodes a device's frame: checks it and encodes it anew into `out`, never copies.
pub fn decode(payload: &[u8], context: &Context<'_>, out: &mut Readings, bad: &mut Rejects) {
    let mut offers = Offers::new(context, out, bad);
    let mut taken = 0;
    if let Err(error) = decode_body(payload, &mut offers, &mut taken) {
        let place = Place { index: taken, span: error.at.min(payload.len())..payload.len() };
        offers.refuse(place, error.into());
    }
}

/// Writes frames as a device does; its buffer is used again for the next frame.
#[derive(Debug, Default)]
pub struct Encoder {
    body: Vec<u8>,
    count: u32,
}

impl Encoder {
    /// Adds one reading, as it is: nothing is checked, sorted or left out. What the gateway stamped
    /// is written as a time of its own.
    pub fn push(&mut self, reading: &ReadingRef<'_>) {
        let time = match reading.time {
            Time::Stamped(at) => Time::At(at),
            other => other,
        };
        wire::put_series(reading.measurement, reading.tags, &mut self.body);
        wire::put_time(time, &mut self.body);
        wire::put_fields(reading.fields, &mut self.body);
        self.count += 1;
    }

    pub fn count(&self) -> u32 {
        self.count
    }

    /// Appends the frame to `out`, and begins the next one.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        wire::put_header(&Header { magic: MAGIC, version: VERSION }, self.count, out);
        out.extend_from_slice(&self.body);
        self.body.clear();
        self.count = 0;
    }
}

/// Appends one frame with these readings to `out`, as a device does.
pub fn encode(readings: &[Reading], out: &mut Vec<u8>) {
    let mut encoder = Encoder::default();
    for reading in readings {
        reading.with_ref(|reading| encoder.push(&reading));
    }
    encoder.finish(out);
}

/// Appends one reading in frame form, as the journal keeps it. `series`: canonical bytes. Nothing is
/// checked.
pub fn put(series: &[u8], time: Time, fields: &[(&str, ValueRef<'_>)], out: &mut Vec<u8>) {
    out.extend_from_slice(series);
    wire::put_time(time, out);
    wire::put_fields(fields, out);
}

/// The measurement in a series' canonical bytes.
pub fn measurement_of(series: &[u8]) -> Result<&str, FrameError> {
    Input::new(series).text()
}

/// The same series, but for the measurement.
pub fn renamed(series: &[u8], measurement: &str) -> Result<Vec<u8>, FrameError> {
    let mut input = Input::new(series);
    input.text()?;
    let mut out = Vec::with_capacity(series.len() + measurement.len());
    wire::put_text(measurement, &mut out);
    out.extend_from_slice(input.rest());
    Ok(out)
}

fn decode_body(payload: &[u8], offers: &mut Offers<'_>, taken: &mut u32) -> Result<(), FrameError> {
    let mut input = Input::new(payload);
    let count = read_header(&mut input)?;
    let mut walked = Walked::default();
    let limits = offers.limits();
    while *taken < count {
        let start = input.at();
        // One more than allowed is kept, so that it is seen that there are too many.
        walked.read(&mut input, limits.tags_max + 1, limits.fields_max + 1)?;
        let place = Place { index: *taken, span: start..input.at() };
        if matches!(walked.parts().time, Time::Stamped(_)) {
            let text = format!("byte {start}: a time of kind 3, which only the gateway gives");
            offers.refuse(place, Reason::new(Kind::Timestamp, text));
        } else {
            offers.offer(walked.parts(), place);
        }
        *taken += 1;
    }
    match input.rest().len() {
        0 => Ok(()),
        more => Err(wrong(input.at(), format!("{more} bytes after the last reading"))),
    }
}

fn read_header(input: &mut Input<'_>) -> Result<u32, FrameError> {
    let header = input.header()?;
    if header.magic != MAGIC {
        return Err(wrong(0, format!("{:#04x} does not begin a frame", header.magic)));
    }
    if header.version != VERSION {
        let what = format!("frame version {} is not known, only {VERSION} is", header.version);
        return Err(wrong(1, what));
    }
    input.count()
}

fn wrong(at: usize, what: String) -> FrameError {
    FrameError { at, what: what.into() }
}
