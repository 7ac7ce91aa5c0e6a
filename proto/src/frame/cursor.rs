//! Walks readings in frame form without an allocation per reading.

use crate::{
    ReadingRef, Time, ValueRef,
    frame::{FrameError, wire::Input},
    offer::Parts,
};

/// Walks readings in frame form (the body of our own frames, as the journal keeps them).
#[derive(Debug)]
pub struct Cursor<'a> {
    input: Input<'a>,
    walked: Walked<'a>,
    failed: bool,
}

impl<'a> Cursor<'a> {
    /// `bytes`: readings one after another, no frame header.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { input: Input::new(bytes), walked: Walked::default(), failed: false }
    }

    /// The next reading, borrowed from the bytes and this cursor's scratch. After an error there is
    /// no next one: where it would begin is not known.
    #[expect(clippy::should_implement_trait, reason = "lends from itself")]
    pub fn next(&mut self) -> Option<Result<ReadingRef<'_>, FrameError>> {
        if self.failed || self.input.rest().is_empty() {
            return None;
        }
        match self.walked.read(&mut self.input, usize::MAX, usize::MAX) {
            Ok(()) => Some(Ok(self.walked.reading())),
            Err(error) => {
                self.failed = true;
                Some(Err(error))
            }
        }
    }

    /// Bytes walked so far: the boundary before the reading that `next` returns next.
    pub fn position(&self) -> usize {
        self.input.at()
    }
}

/// One reading taken apart; the lists are used again for the next.
#[derive(Debug)]
pub(super) struct Walked<'a> {
    series: &'a [u8],
    measurement: &'a str,
    tags: Vec<(&'a str, &'a str)>,
    time: Time,
    fields: Vec<(&'a str, ValueRef<'a>)>,
}

impl Default for Walked<'_> {
    fn default() -> Self {
        Self {
            series: &[],
            measurement: "",
            tags: Vec::new(),
            time: Time::Unknown,
            fields: Vec::new(),
        }
    }
}

impl<'a> Walked<'a> {
    /// Reads one reading. Of tags and fields past what is to be kept, only the bytes are walked: a
    /// sender's claim of a million tags costs no memory.
    pub(super) fn read(
        &mut self,
        input: &mut Input<'a>,
        tags_kept: usize,
        fields_kept: usize,
    ) -> Result<(), FrameError> {
        let start = *input;
        self.measurement = input.text()?;
        self.tags.clear();
        for _ in 0..input.list_len()? {
            let tag = input.tag()?;
            if self.tags.len() < tags_kept {
                self.tags.push((tag.key, tag.value));
            }
        }
        self.series = input.since(&start);
        self.time = input.time()?;
        self.fields.clear();
        for _ in 0..input.list_len()? {
            let field = input.field()?;
            if self.fields.len() < fields_kept {
                self.fields.push(field);
            }
        }
        Ok(())
    }

    pub(super) fn parts(&self) -> Parts<'_, 'a> {
        Parts {
            measurement: self.measurement,
            tags: &self.tags,
            fields: &self.fields,
            time: self.time,
        }
    }

    pub(super) fn reading(&self) -> ReadingRef<'_> {
        ReadingRef {
            measurement: self.measurement,
            tags: &self.tags,
            fields: &self.fields,
            time: self.time,
            series: self.series,
        }
    }
}
