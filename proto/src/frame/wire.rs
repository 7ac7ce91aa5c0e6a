//! The elements of a frame as bincode sees them: the only place that knows the bytes.
//!
//! Decoding goes element by element, so that no list is ever allocated for a length that only a
//! sender claims, and a reading costs no allocation at all. The limit bounds what one reading may
//! claim; it is far above what `Limits` lets through.

use bincode::{
    BorrowDecode, Encode,
    config::{Configuration, Limit, LittleEndian, Varint, standard},
    de::{
        BorrowDecoder, DecoderImpl,
        read::{BorrowReader, Reader},
    },
    enc::{EncoderImpl, write::Writer},
    error::{DecodeError, EncodeError},
};

use crate::{Time, Timestamp, ValueRef, frame::FrameError, value::float_from_f32};

/// What one reading may claim: lengths count at their full width here, so a reading of 64 KiB can
/// claim several times that.
const CLAIM_MAX: usize = 64 * 1024 * 1024;
const CONFIG: Configuration<LittleEndian, Varint, Limit<CLAIM_MAX>> =
    standard().with_limit::<CLAIM_MAX>();

#[derive(Debug, Encode, BorrowDecode)]
pub(super) struct Header {
    pub(super) magic: u8,
    pub(super) version: u8,
}

#[derive(Debug, Encode, BorrowDecode)]
pub(super) struct Tag<'a> {
    pub(super) key: &'a str,
    pub(super) value: &'a str,
}

#[derive(Debug, Encode, BorrowDecode)]
enum WireTime {
    None,
    At([u8; 8]),
    Age(u64),
    Stamped([u8; 8]),
}

#[derive(Debug, Encode, BorrowDecode)]
pub(super) struct Field<'a> {
    name: &'a str,
    value: WireValue<'a>,
}

#[derive(Debug, Encode, BorrowDecode)]
enum WireValue<'a> {
    Float(f64),
    Float32(f32),
    Signed(i64),
    Unsigned(u64),
    Boolean(bool),
    Text(&'a str),
}

impl From<WireTime> for Time {
    fn from(time: WireTime) -> Self {
        let stamp = |bytes| Timestamp::from_nanos(i64::from_le_bytes(bytes));
        match time {
            WireTime::None => Self::Unknown,
            WireTime::At(bytes) => Self::At(stamp(bytes)),
            WireTime::Age(nanos) => Self::Age(std::time::Duration::from_nanos(nanos)),
            WireTime::Stamped(bytes) => Self::Stamped(stamp(bytes)),
        }
    }
}

impl From<Time> for WireTime {
    fn from(time: Time) -> Self {
        match time {
            Time::Unknown => Self::None,
            Time::At(at) => Self::At(at.nanos().to_le_bytes()),
            // 584 years are enough; longer ages are refused long before.
            Time::Age(age) => Self::Age(u64::try_from(age.as_nanos()).unwrap_or(u64::MAX)),
            Time::Stamped(at) => Self::Stamped(at.nanos().to_le_bytes()),
        }
    }
}

impl<'a> From<Field<'a>> for (&'a str, ValueRef<'a>) {
    fn from(field: Field<'a>) -> Self {
        let value = match field.value {
            WireValue::Float(value) => ValueRef::Float(value),
            WireValue::Float32(value) => ValueRef::Float(float_from_f32(value)),
            WireValue::Signed(value) => ValueRef::Signed(value),
            WireValue::Unsigned(value) => ValueRef::Unsigned(value),
            WireValue::Boolean(value) => ValueRef::Boolean(value),
            WireValue::Text(value) => ValueRef::Text(value),
        };
        (field.name, value)
    }
}

pub(super) fn put_header(header: &Header, count: u32, out: &mut Vec<u8>) {
    put(header, out);
    put(count, out);
}

/// Measurement and tags: these bytes are the series.
pub(crate) fn put_series(measurement: &str, tags: &[(&str, &str)], out: &mut Vec<u8>) {
    put(measurement, out);
    put(tags.len() as u64, out);
    for &(key, value) in tags {
        put(Tag { key, value }, out);
    }
}

pub(super) fn put_text(text: &str, out: &mut Vec<u8>) {
    put(text, out);
}

pub(crate) fn put_time(time: Time, out: &mut Vec<u8>) {
    put(WireTime::from(time), out);
}

pub(crate) fn put_fields(fields: &[(&str, ValueRef<'_>)], out: &mut Vec<u8>) {
    put(fields.len() as u64, out);
    for &(name, value) in fields {
        let value = match value {
            ValueRef::Float(value) => WireValue::Float(value),
            ValueRef::Signed(value) => WireValue::Signed(value),
            ValueRef::Unsigned(value) => WireValue::Unsigned(value),
            ValueRef::Boolean(value) => WireValue::Boolean(value),
            ValueRef::Text(value) => WireValue::Text(value),
        };
        put(Field { name, value }, out);
    }
}

fn put<T: Encode>(element: T, out: &mut Vec<u8>) {
    let mut encoder = EncoderImpl::new(Output(out), CONFIG);
    element
        .encode(&mut encoder)
        .expect("appending to a Vec cannot fail, and no element is refused");
}

struct Output<'a>(&'a mut Vec<u8>);

impl Writer for Output<'_> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

/// Bytes not yet read; knows where it stands, which bincode's own reader does not tell.
#[derive(Clone, Copy, Debug)]
pub(super) struct Input<'a> {
    rest: &'a [u8],
    len: usize,
}

impl<'a> Input<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, len: bytes.len() }
    }

    pub(super) fn at(&self) -> usize {
        self.len - self.rest.len()
    }

    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The bytes read since this input was `earlier`.
    pub(super) fn since(&self, earlier: &Self) -> &'a [u8] {
        earlier.rest.get(..self.at() - earlier.at()).unwrap_or_default()
    }

    pub(super) fn header(&mut self) -> Result<Header, FrameError> {
        self.take()
    }

    pub(super) fn count(&mut self) -> Result<u32, FrameError> {
        self.take()
    }

    pub(super) fn list_len(&mut self) -> Result<u64, FrameError> {
        self.take()
    }

    pub(super) fn text(&mut self) -> Result<&'a str, FrameError> {
        self.take()
    }

    pub(super) fn tag(&mut self) -> Result<Tag<'a>, FrameError> {
        self.take()
    }

    pub(super) fn time(&mut self) -> Result<Time, FrameError> {
        self.take::<WireTime>().map(Time::from)
    }

    pub(super) fn field(&mut self) -> Result<(&'a str, ValueRef<'a>), FrameError> {
        self.take::<Field<'a>>().map(Into::into)
    }

    fn take<T: BorrowDecode<'a, ()>>(&mut self) -> Result<T, FrameError> {
        let mut decoder = DecoderImpl::new(*self, CONFIG, ());
        let element = T::borrow_decode(&mut decoder);
        *self = *decoder.borrow_reader();
        element.map_err(|error| FrameError { at: self.at(), what: what(&error) })
    }
}

impl Reader for Input<'_> {
    #[inline]
    fn read(&mut self, bytes: &mut [u8]) -> Result<(), DecodeError> {
        bytes.copy_from_slice(self.take_bytes(bytes.len())?);
        Ok(())
    }

    #[inline]
    fn peek_read(&mut self, n: usize) -> Option<&[u8]> {
        self.rest.get(..n)
    }

    #[inline]
    fn consume(&mut self, n: usize) {
        self.rest = self.rest.get(n..).unwrap_or_default();
    }
}

impl<'a> BorrowReader<'a> for Input<'a> {
    #[inline]
    fn take_bytes(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let short = || DecodeError::UnexpectedEnd { additional: length - self.rest.len() };
        let (taken, rest) = self.rest.split_at_checked(length).ok_or_else(short)?;
        self.rest = rest;
        Ok(taken)
    }
}

fn what(error: &DecodeError) -> std::borrow::Cow<'static, str> {
    match error {
        DecodeError::UnexpectedEnd { additional } => {
            format!("the frame ends {additional} bytes too early").into()
        }
        DecodeError::LimitExceeded | DecodeError::OutsideUsizeRange(_) => {
            "a length that no reading can have".into()
        }
        DecodeError::UnexpectedVariant { found, type_name, .. } => {
            let kind = if type_name.contains("Time") { "time" } else { "value" };
            format!("{found} is no kind of {kind}").into()
        }
        DecodeError::InvalidBooleanValue(found) => format!("{found} is no boolean").into(),
        DecodeError::InvalidIntegerType { .. } => "a number wider than its place".into(),
        DecodeError::Utf8 { .. } => "a text that is not UTF-8".into(),
        other => other.to_string().into(),
    }
}
