//! A Sparkplug B payload and its metrics, borrowed from its bytes (`sparkplug_b.proto`).
//!
//! ```text
//! payload   1 timestamp · 2 metric* · 3 seq · 4 uuid · 5 body
//! metric    1 name · 2 alias · 3 timestamp · 4 datatype · 5 is_historical · 6 is_transient · 7 is_null
//!           8 metadata · 9 properties · 10 int u32 · 11 long u64 · 12 float · 13 double · 14 boolean
//!           15 string · 16 bytes · 17 data set · 18 template · 19 extension
//! ```
//! Of a field that stands there twice the last one counts, as protobuf has it. Metadata, properties
//! and what is not known are not looked at.

use std::ops::Range;

use super::{
    names::BD_SEQ,
    wire::{Fields, Wire, put_bytes, put_number},
};
use crate::{Kind, fault::Fault};

/// Metrics of one payload that are looked at.
const METRICS_MAX: usize = 10_000;

#[derive(Clone, Debug)]
pub(super) struct Payload<'p> {
    /// Milliseconds since 1970: when it was sent.
    pub(super) timestamp: Option<u64>,
    /// 0 to 255.
    pub(super) seq: Option<u64>,
    bytes: &'p [u8],
}

/// One of a payload's metrics.
#[derive(Clone, Debug, Default)]
pub(super) struct Metric<'p> {
    pub(super) name: Option<&'p str>,
    pub(super) alias: Option<u64>,
    /// Milliseconds since 1970.
    pub(super) timestamp: Option<u64>,
    pub(super) data_type: Option<DataType>,
    /// Kept by the node while it could not send: its time is that of the payload, not of now.
    pub(super) is_historical: bool,
    pub(super) is_null: bool,
    /// Where it lies in the payload.
    pub(super) span: Range<usize>,
    pub(super) value: Option<Raw<'p>>,
}

/// What stands there, whatever the data type says that it means.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Raw<'p> {
    Integer(u64),
    Float(f32),
    Double(f64),
    Boolean(bool),
    /// UTF-8 or not.
    Text(&'p [u8]),
    /// Bytes, a data set, a template or an extension.
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DataType {
    Int8,
    Int16,
    Int32,
    Int64,
    UInt8,
    UInt16,
    UInt32,
    UInt64,
    Float,
    Double,
    Boolean,
    String,
    DateTime,
    Text,
    Uuid,
    /// Data set, bytes, file, template, property set, an array, or one that is not known.
    Other,
}

impl DataType {
    fn from_number(number: u64) -> Option<Self> {
        Some(match number {
            0 => return None,
            1 => Self::Int8,
            2 => Self::Int16,
            3 => Self::Int32,
            4 => Self::Int64,
            5 => Self::UInt8,
            6 => Self::UInt16,
            7 => Self::UInt32,
            8 => Self::UInt64,
            9 => Self::Float,
            10 => Self::Double,
            11 => Self::Boolean,
            12 => Self::String,
            13 => Self::DateTime,
            14 => Self::Text,
            15 => Self::Uuid,
            _ => Self::Other,
        })
    }
}

impl DataType {
    /// As it stands in a payload; of those that are all the same here, one.
    pub(super) fn number(self) -> u64 {
        match self {
            Self::Int8 => 1,
            Self::Int16 => 2,
            Self::Int32 => 3,
            Self::Int64 => 4,
            Self::UInt8 => 5,
            Self::UInt16 => 6,
            Self::UInt32 => 7,
            Self::UInt64 => 8,
            Self::Float => 9,
            Self::Double => 10,
            Self::Boolean => 11,
            Self::String => 12,
            Self::DateTime => 13,
            Self::Text => 14,
            Self::Uuid => 15,
            Self::Other => 17,
        }
    }
}

impl<'p> Payload<'p> {
    /// Reads what stands around the metrics, and that every one of them ends inside.
    pub(super) fn parse(bytes: &'p [u8]) -> Result<Self, Fault> {
        let mut payload = Self { timestamp: None, seq: None, bytes };
        let mut metrics = 0;
        let mut fields = Fields::new(bytes, 0);
        while let Some(field) = fields.next() {
            match field? {
                (1, Wire::Varint(millis), _) => payload.timestamp = Some(millis),
                (2, Wire::Bytes(_), at) => {
                    metrics += 1;
                    if metrics > METRICS_MAX {
                        let what = "more metrics in one payload than are allowed";
                        return Err(Fault { at: at.start, kind: Kind::Limit, what });
                    }
                }
                (3, Wire::Varint(seq), _) => payload.seq = Some(seq),
                _ => {}
            }
        }
        Ok(payload)
    }

    /// Its metrics, one after the other; a broken one costs itself.
    pub(super) fn metrics(&self) -> Metrics<'p> {
        Metrics { fields: Fields::new(self.bytes, 0) }
    }

    /// A payload of those metrics alone, sent at the same time, or `at` if it does not say when.
    pub(super) fn part(
        &self,
        at: Option<u64>,
        mut is_in: impl FnMut(&Metric<'p>) -> bool,
    ) -> Vec<u8> {
        let mut part = Vec::new();
        self.timestamp.or(at).inspect(|millis| put_number(1, *millis, &mut part));
        for metric in self.metrics().flatten().filter(|metric| is_in(metric)) {
            put_bytes(2, self.bytes.get(metric.span).unwrap_or_default(), &mut part);
        }
        part
    }

    /// `bdSeq`, which ties a death to its birth.
    pub(super) fn bd_seq(&self) -> Option<u64> {
        self.metrics().flatten().find_map(|metric| match (metric.name, metric.value) {
            (Some(BD_SEQ), Some(Raw::Integer(number))) => Some(number),
            _ => None,
        })
    }
}

#[derive(Clone, Debug)]
pub(super) struct Metrics<'p> {
    fields: Fields<'p>,
}

/// A metric that cannot be read, and where it lies.
#[derive(Debug)]
pub(super) struct Broken {
    pub(super) span: Range<usize>,
    pub(super) fault: Fault,
}

impl<'p> Iterator for Metrics<'p> {
    type Item = Result<Metric<'p>, Broken>;

    fn next(&mut self) -> Option<Self::Item> {
        // `Payload::parse` has read to the end: no fault is left here.
        while let Some(Ok(field)) = self.fields.next() {
            if let (2, Wire::Bytes(bytes), span) = field {
                let metric = Metric::parse(bytes, span.clone());
                return Some(metric.map_err(|fault| Broken { span, fault }));
            }
        }
        None
    }
}

impl<'p> Metric<'p> {
    fn parse(bytes: &'p [u8], span: Range<usize>) -> Result<Self, Fault> {
        let mut metric = Self { span: span.clone(), ..Self::default() };
        let mut fields = Fields::new(bytes, span.start);
        while let Some(field) = fields.next() {
            let (number, value, at) = field?;
            metric.take(number, value, &at)?;
        }
        Ok(metric)
    }

    fn take(&mut self, number: u64, value: Wire<'p>, at: &Range<usize>) -> Result<(), Fault> {
        match (number, value) {
            (1, Wire::Bytes(name)) => {
                let name = std::str::from_utf8(name);
                let what = "a name that is not UTF-8";
                let fault = |_| Fault { at: at.start, kind: Kind::Undecodable, what };
                self.name = Some(name.map_err(fault)?);
            }
            (2, Wire::Varint(alias)) => self.alias = Some(alias),
            (3, Wire::Varint(millis)) => self.timestamp = Some(millis),
            (4, Wire::Varint(number)) => self.data_type = DataType::from_number(number),
            (5, Wire::Varint(flag)) => self.is_historical = flag != 0,
            (7, Wire::Varint(flag)) => self.is_null = flag != 0,
            (10 | 11, Wire::Varint(number)) => self.value = Some(Raw::Integer(number)),
            (12, Wire::Four(bytes)) => self.value = Some(Raw::Float(f32::from_le_bytes(bytes))),
            (13, Wire::Eight(bytes)) => self.value = Some(Raw::Double(f64::from_le_bytes(bytes))),
            (14, Wire::Varint(flag)) => self.value = Some(Raw::Boolean(flag != 0)),
            (15, Wire::Bytes(text)) => self.value = Some(Raw::Text(text)),
            (16..=19, Wire::Bytes(_)) => self.value = Some(Raw::Other),
            (1..=7 | 10..=19, _) => {
                let what = "a field that is not of its type";
                return Err(Fault { at: at.start, kind: Kind::Undecodable, what });
            }
            _ => {}
        }
        Ok(())
    }
}

/// A payload with `Node Control/Rebirth` = true.
pub(super) fn rebirth(millis: u64) -> Vec<u8> {
    let mut metric = Vec::new();
    put_bytes(1, b"Node Control/Rebirth", &mut metric);
    put_number(3, millis, &mut metric);
    put_number(4, DataType::Boolean.number(), &mut metric);
    put_number(14, 1, &mut metric);

    let mut payload = Vec::new();
    put_number(1, millis, &mut payload);
    put_bytes(2, &metric, &mut payload);
    payload
}
