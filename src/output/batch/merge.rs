//! Several readings of one point become one line.
//!
//! The line of the first reading is in the body already, in a form that only the sink knows; so the
//! readings are read again from their frames, put together, and written once more in its place.

use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
};

use proto::{ReadingRef, Time, ValueRef, frame::Cursor};

use super::{Batcher, Origin, Refused};
use crate::output::lease::Receipt;
use crate::sink::{Body, Fault, Refusal, Sink};

impl<R: Receipt> Batcher<R> {
    /// Whether the reading belongs to the point of that line: a hash says so, the bytes decide.
    pub(super) fn is_same_point(&self, line: u32, reading: &ReadingRef<'_>) -> bool {
        let Some(origin) = self.origins.first.get(line as usize) else { return false };
        let mut cursor = self.cursor(*origin);
        matches!(cursor.next(), Some(Ok(first)) if first.series == reading.series
            && nanos(&first) == nanos(reading))
    }

    /// Writes the body anew with merged lines in the place of their first reading.
    pub(super) fn merge_lines<S: Sink>(&mut self, sink: &S) {
        self.origins.more.sort_by_key(|(line, _)| *line);
        let mut body = Body::with_capacity(self.body.bytes.len(), self.origins.first.len());
        let mut copied = 0;
        let mut failed = Vec::new();
        for merged in self.origins.more.chunk_by(|(a, _), (b, _)| a == b) {
            let Some(&(line, _)) = merged.first() else { continue };
            body.extend_from(&self.body, copied..line);
            copied = line + 1;
            // What panics here would panic again after every restart.
            let merge = || self.merge_line(sink, line, &mut body);
            let outcome = catch_unwind(AssertUnwindSafe(merge))
                .unwrap_or_else(|_| Err(Refusal::new(Fault::Refused, "panic in a merge")));
            if let Err(refusal) = outcome {
                body.truncate(line as usize);
                body.extend_from(&self.body, line..copied);
                failed.push((line, refusal));
            }
        }
        body.extend_from(&self.body, copied..self.body.lines());
        self.body = body;
        for (line, refusal) in failed {
            self.keep_first_only(line, &refusal);
        }
    }

    fn merge_line<S: Sink>(&self, sink: &S, line: u32, body: &mut Body) -> Result<(), Refusal> {
        let mut cursors: Vec<_> = self.origins.of(line).map(|origin| self.cursor(origin)).collect();
        let mut point: Option<ReadingRef<'_>> = None;
        let mut fields: Vec<(&str, ValueRef<'_>)> = Vec::new();
        let mut places = HashMap::new();
        for cursor in &mut cursors {
            let Some(Ok(reading)) = cursor.next() else {
                let text = "a frame reads differently the second time";
                return Err(Refusal::new(Fault::Refused, text));
            };
            for &(name, value) in reading.fields {
                let place = *places.entry(name).or_insert(fields.len());
                match fields.get_mut(place) {
                    Some(field) => field.1 = value,
                    None => fields.push((name, value)),
                }
            }
            point.get_or_insert(reading);
        }
        let Some(point) = point else { return Ok(()) };
        // What cannot be written was noted when it came in.
        let mut lost = Vec::new();
        sink.encode(&ReadingRef { fields: &fields, ..point }, body, &mut lost)
    }

    /// A merge that failed costs the readings after the first, not the first.
    fn keep_first_only(&mut self, line: u32, refusal: &Refusal) {
        let later: Vec<Origin> = self.origins.more_of(line).collect();
        self.origins.more.retain(|(of, _)| *of != line);
        for origin in later {
            let line = match self.cursor(origin).next() {
                Some(Ok(reading)) => as_line(&reading),
                _ => String::new(),
            };
            self.refused.push(Refused { origin, field: None, refusal: refusal.clone(), line });
        }
    }

    fn cursor(&self, origin: Origin) -> Cursor<'_> {
        let payload = self.shares.get(origin.share as usize).map(|share| &share.loan.payload[..]);
        let bytes = payload.and_then(|payload| payload.get(origin.at as usize..));
        Cursor::new(bytes.unwrap_or_default())
    }
}

/// A reading as line protocol, in the dialect that can say everything.
pub(super) fn as_line(reading: &ReadingRef<'_>) -> String {
    let mut line = Vec::new();
    match proto::line::write(reading, &mut line) {
        Ok(()) => String::from_utf8_lossy(&line).trim_end_matches('\n').to_owned(),
        // No dialect can say it, so this one says what it can.
        Err(_) => format!("{:?}", reading.to_reading()),
    }
}

fn nanos(reading: &ReadingRef<'_>) -> Option<i64> {
    match reading.time {
        Time::At(at) | Time::Stamped(at) => Some(at.nanos()),
        Time::Unknown | Time::Age(_) => None,
    }
}
