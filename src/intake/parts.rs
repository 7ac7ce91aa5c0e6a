//! Readings in frame form, in parts that the journal takes: cut between readings, never inside one.

use journal::SUBMISSION_BYTES_MAX;
use proto::frame;

/// Readings in frame form, and how many.
pub(super) type Part = (Vec<u8>, u32);

#[derive(Debug, Default)]
pub(super) struct Parts {
    /// Empty but for payloads that decode into more than one submission can hold.
    full: Vec<Part>,
    open: Vec<u8>,
    open_readings: u32,
    bytes: usize,
}

/// What comes after so many readings.
pub(super) fn after(bytes: &[u8], readings: u32) -> &[u8] {
    let mut cursor = frame::Cursor::new(bytes);
    for _ in 0..readings {
        let Some(Ok(_)) = cursor.next() else { break };
    }
    bytes.get(cursor.position()..).unwrap_or_default()
}

impl Parts {
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Adds one payload's readings.
    pub(super) fn add(&mut self, bytes: &[u8], readings: u32) {
        if self.open.len() + bytes.len() <= SUBMISSION_BYTES_MAX {
            self.append(bytes, readings);
            return;
        }
        let mut cursor = frame::Cursor::new(bytes);
        let mut start = 0;
        while let Some(Ok(_)) = cursor.next() {
            let end = cursor.position();
            let reading = bytes.get(start..end).unwrap_or_default();
            if self.open.len() + reading.len() > SUBMISSION_BYTES_MAX {
                self.close();
            }
            self.append(reading, 1);
            start = end;
        }
        debug_assert_eq!(start, bytes.len(), "what the encoder wrote can be walked");
    }

    /// All full parts, and the last one, which may be empty.
    pub(super) fn finish(self) -> (Vec<Part>, Part) {
        (self.full, (self.open, self.open_readings))
    }

    fn append(&mut self, bytes: &[u8], readings: u32) {
        self.open.extend_from_slice(bytes);
        self.open_readings += readings;
        self.bytes += bytes.len();
    }

    fn close(&mut self) {
        self.full.push((std::mem::take(&mut self.open), std::mem::take(&mut self.open_readings)));
    }
}
