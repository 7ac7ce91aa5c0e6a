//! Why a reading, or one field of it, was not taken.

use std::borrow::Cow;

/// What sort of problem it is: the `reason` label of the metrics, so a closed set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// The bytes are not what their format says.
    Undecodable,
    /// Larger, deeper or more than a limit allows.
    Limit,
    /// An empty or illegal name, a control character, not UTF-8.
    Name,
    /// No field was left.
    NoFields,
    /// Not finite, or outside what its type can hold.
    Value,
    /// A timestamp that cannot be read or lies outside what can be stored.
    Timestamp,
    /// Its time is further back, or ahead, than is allowed.
    Past,
    Future,
    /// Nothing says which device sent it.
    NoDevice,
    /// Its name is an alias that no birth has explained.
    Alias,
    /// A fault of ours: a decoder panicked.
    Internal,
}

impl Kind {
    pub const ALL: &'static [Self] = &[
        Self::Undecodable,
        Self::Limit,
        Self::Name,
        Self::NoFields,
        Self::Value,
        Self::Timestamp,
        Self::Past,
        Self::Future,
        Self::NoDevice,
        Self::Alias,
        Self::Internal,
    ];

    pub const fn label(self) -> &'static str {
        match self {
            Self::Undecodable => "undecodable",
            Self::Limit => "limit",
            Self::Name => "name",
            Self::NoFields => "no_fields",
            Self::Value => "value",
            Self::Timestamp => "timestamp",
            Self::Past => "past",
            Self::Future => "future",
            Self::NoDevice => "no_device",
            Self::Alias => "alias",
            Self::Internal => "internal",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Reason {
    pub kind: Kind,
    /// For a person: what is wrong and where, lower case, no full stop.
    pub text: Cow<'static, str>,
}

impl Reason {
    pub fn new(kind: Kind, text: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, text: text.into() }
    }
}

/// What was refused of one payload. Bounded: past `Rejects::LISTED_MAX` only counted.
#[derive(Clone, Debug, Default)]
pub struct Rejects {
    listed: Vec<Reject>,
    readings: u64,
    fields: u64,
    nothings: u64,
    // Of one payload, so small; and every connection holds one of these.
    past: u32,
    future: u32,
    untrusted: u32,
    untrusted_first: Option<Untrusted>,
}

/// Which limit of time a reading is beyond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beyond {
    Past,
    Future,
}

/// Why the time that a payload names is not that of its readings, which have their arrival's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Untrusted {
    /// A text that is no time.
    NoTime,
    /// A local time, and nothing says where.
    Local,
    /// From before the device's clock was set.
    Unset,
}

/// One refused reading (or one field of a reading that was taken otherwise).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject {
    /// Which reading of the payload, from 0; a line number for line protocol, from 0 as well.
    pub index: u32,
    /// Where in the payload the refused part lies, if it is a part of its own (a line, an array
    /// element): what a dead letter quotes. Empty range: the whole payload.
    pub span: std::ops::Range<usize>,
    /// `Some(name)`: only this field was left out, the reading was taken.
    pub field: Option<String>,
    pub reason: Reason,
}

impl Rejects {
    pub const LISTED_MAX: usize = 100;

    pub fn reading(&mut self, index: u32, span: std::ops::Range<usize>, reason: Reason) {
        self.readings += 1;
        self.list(Reject { index, span, field: None, reason });
    }

    pub fn field(&mut self, index: u32, name: &str, reason: Reason) {
        self.fields += 1;
        self.list(Reject { index, span: 0..0, field: Some(name.to_owned()), reason });
    }

    fn list(&mut self, reject: Reject) {
        if self.listed.len() < Self::LISTED_MAX {
            self.listed.push(reject);
        }
    }

    pub fn listed(&self) -> &[Reject] {
        &self.listed
    }

    /// Readings refused whole, listed or not.
    pub fn readings(&self) -> u64 {
        self.readings
    }

    /// Fields left out of readings that were taken.
    pub fn fields(&self) -> u64 {
        self.fields
    }

    /// Readings whose every value says "no value" (`null`, `unavailable`): nothing to store, and
    /// nothing wrong either.
    pub fn nothings(&self) -> u64 {
        self.nothings
    }

    pub fn nothing(&mut self) {
        self.nothings += 1;
    }

    /// Readings whose time was beyond a limit, whatever became of them.
    pub fn beyond(&self, which: Beyond) -> u64 {
        match which {
            Beyond::Past => self.past.into(),
            Beyond::Future => self.future.into(),
        }
    }

    pub(crate) fn note_beyond(&mut self, which: Beyond) {
        match which {
            Beyond::Past => self.past = self.past.saturating_add(1),
            Beyond::Future => self.future = self.future.saturating_add(1),
        }
    }

    /// Readings that have the time of their arrival although the payload names one, and why the first of
    /// them has.
    pub fn untrusted(&self) -> (u64, Option<Untrusted>) {
        (self.untrusted.into(), self.untrusted_first)
    }

    pub(crate) fn note_untrusted(&mut self, why: Untrusted) {
        self.untrusted = self.untrusted.saturating_add(1);
        self.untrusted_first = self.untrusted_first.or(Some(why));
    }

    /// Nothing was refused.
    pub fn is_empty(&self) -> bool {
        self.readings == 0 && self.fields == 0
    }

    pub fn clear(&mut self) {
        self.listed.clear();
        self.readings = 0;
        self.fields = 0;
        self.nothings = 0;
        (self.past, self.future) = (0, 0);
        (self.untrusted, self.untrusted_first) = (0, None);
    }
}
