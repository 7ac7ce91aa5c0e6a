//! Metrics become readings: one for each time, the metrics of one time side by side.
//!
//! Integers stay integers, because the data type says so: signed ones, `DateTime` and unsigned ones
//! up to 32 bits become `i`, `UInt64` becomes `u`. Nulls, `bdSeq` and `Node Control/*` are nothing to
//! store; data sets, templates, bytes and arrays are left out and counted.

use super::{
    names::{BD_SEQ, Names},
    payload::{DataType, Metric, Payload, Raw},
};
use crate::{
    Context, Kind, Place, Precision, Readings, Reason, Rejects, Time, Timestamp, ValueRef,
    offer::{Offers, Parts},
    scratch::reuse,
    value::{float_from_f32, is_empty_word},
};

/// Offers what a birth or a data message holds; and how many metrics nothing names: they are
/// neither taken nor refused.
pub(super) fn offer(
    payload: &Payload<'_>,
    names: &Names,
    context: &Context<'_>,
    out: &mut Readings,
    bad: &mut Rejects,
) -> u32 {
    let mut offers = Offers::new(context, out, bad);
    let fields = reuse(std::mem::take(&mut offers.scratch.fields));
    let mut points = Points { fields, time: Time::Unknown, span: 0..0, index: 0, offers };
    let mut unresolved = 0;
    for metric in payload.metrics() {
        match metric {
            Ok(metric) => match names.resolve(&metric) {
                Some((name, data_type)) => points.metric(payload, &metric, name, data_type),
                None if metric.alias.is_some() => unresolved += 1,
                None => {
                    let reason = Reason::new(Kind::Name, "a metric without a name or an alias");
                    points.refuse(metric.span, reason);
                }
            },
            Err(broken) => points.refuse(broken.span, broken.fault.into()),
        }
    }
    points.flush();
    if points.index == 0 && unresolved == 0 {
        points.offers.nothing();
    }
    points.offers.scratch.fields = reuse(points.fields);
    unresolved
}

/// The reading that is being put together.
struct Points<'a, 'o> {
    fields: Vec<(&'a str, ValueRef<'a>)>,
    time: Time,
    /// Its metrics in the payload.
    span: std::ops::Range<usize>,
    index: u32,
    offers: Offers<'o>,
}

impl<'a> Points<'a, '_> {
    fn metric(
        &mut self,
        payload: &Payload<'a>,
        metric: &Metric<'a>,
        name: &'a str,
        data_type: Option<DataType>,
    ) {
        let Some(raw) = metric.value.filter(|_| !metric.is_null && !is_of_the_session(name)) else {
            return;
        };
        let time = millis(metric.timestamp.or(payload.timestamp));
        match (value(raw, data_type), time) {
            (Ok(Some(value)), Ok(time)) => self.push(name, value, time, metric.span.clone()),
            (Ok(None), _) => {}
            (Err(reason), _) | (_, Err(reason)) => {
                self.offers.leave_out(self.index, name, reason);
            }
        }
    }

    fn push(&mut self, name: &'a str, value: ValueRef<'a>, time: Time, at: std::ops::Range<usize>) {
        let is_full = self.fields.len() >= self.offers.limits().fields_max;
        if !self.fields.is_empty() && (time != self.time || is_full) {
            self.flush();
        }
        if self.fields.is_empty() {
            self.span = at.clone();
        }
        self.time = time;
        self.span.end = at.end;
        self.fields.push((name, value));
    }

    fn flush(&mut self) {
        if self.fields.is_empty() {
            return;
        }
        let place = self.next_place(self.span.clone());
        let parts = Parts { measurement: "", tags: &[], fields: &self.fields, time: self.time };
        self.offers.offer(parts, place);
        self.fields.clear();
    }

    fn refuse(&mut self, span: std::ops::Range<usize>, reason: Reason) {
        self.flush();
        let place = self.next_place(span);
        self.offers.refuse(place, reason);
    }

    fn next_place(&mut self, span: std::ops::Range<usize>) -> Place {
        let index = self.index;
        self.index = index.saturating_add(1);
        Place { index, span }
    }
}

/// Offers `online`, which a death makes false and a birth true.
pub(super) fn offer_online(online: bool, time: Time, offers: &mut Offers<'_>) {
    let fields = [("online", ValueRef::Boolean(online))];
    let parts = Parts { measurement: "", tags: &[], fields: &fields, time };
    offers.offer(parts, Place::default());
}

/// When a payload was sent; unknown if it says nothing that can be.
pub(super) fn sent_at(payload: &Payload<'_>) -> Time {
    millis(payload.timestamp).unwrap_or(Time::Unknown)
}

fn is_of_the_session(name: &str) -> bool {
    name == BD_SEQ || name.starts_with("Node Control/") || name.starts_with("Device Control/")
}

fn millis(millis: Option<u64>) -> Result<Time, Reason> {
    let Some(millis) = millis else { return Ok(Time::Unknown) };
    let mut text = itoa::Buffer::new();
    Timestamp::from_epoch_text(text.format(millis), Some(Precision::Milliseconds)).map(Time::At)
}

/// `None`: a word for "no value".
fn value(raw: Raw<'_>, data_type: Option<DataType>) -> Result<Option<ValueRef<'_>>, Reason> {
    use DataType as Type;
    let refused = |what| Err(Reason::new(Kind::Value, what));
    let value = match (raw, data_type) {
        (Raw::Other, _) | (_, Some(Type::Other)) => {
            return refused("a data set, template, array or bytes, which no field can hold");
        }
        (Raw::Integer(number), Some(data_type)) => return integer(number, data_type).map(Some),
        (Raw::Integer(_), None) => return refused("a number whose type no birth has told"),
        (Raw::Float(number), Some(Type::Float | Type::Double) | None) => {
            ValueRef::Float(float_from_f32(number))
        }
        (Raw::Double(number), Some(Type::Float | Type::Double) | None) => ValueRef::Float(number),
        (Raw::Boolean(value), Some(Type::Boolean) | None) => ValueRef::Boolean(value),
        (Raw::Text(text), Some(Type::String | Type::Text | Type::Uuid) | None) => {
            match std::str::from_utf8(text) {
                Ok(word) if is_empty_word(word) => return Ok(None),
                Ok(text) => ValueRef::Text(text),
                Err(_) => return refused("a text that is not UTF-8"),
            }
        }
        _ => return refused("a value that is not of its data type"),
    };
    Ok(Some(value))
}

/// Nodes write a negative number of 8 or 16 bits as one of 8, 16, 32 or 64: its lowest bits are it.
#[expect(clippy::cast_possible_truncation, reason = "its lowest bits are it")]
fn integer(number: u64, data_type: DataType) -> Result<ValueRef<'static>, Reason> {
    use DataType as Type;
    let up_to = |max: u64| match i64::try_from(number) {
        Ok(signed) if number <= max => Ok(ValueRef::Signed(signed)),
        _ => Err(Reason::new(Kind::Value, "a number that its data type has no room for")),
    };
    match data_type {
        Type::Int8 => Ok(ValueRef::Signed(i64::from((number as u8).cast_signed()))),
        Type::Int16 => Ok(ValueRef::Signed(i64::from((number as u16).cast_signed()))),
        Type::Int32 => Ok(ValueRef::Signed(i64::from((number as u32).cast_signed()))),
        Type::Int64 => Ok(ValueRef::Signed(number.cast_signed())),
        Type::UInt8 => up_to(u64::from(u8::MAX)),
        Type::UInt16 => up_to(u64::from(u16::MAX)),
        Type::UInt32 => up_to(u64::from(u32::MAX)),
        Type::DateTime => up_to(u64::MAX),
        Type::UInt64 => Ok(ValueRef::Unsigned(number)),
        _ => Err(Reason::new(Kind::Value, "a value that is not of its data type")),
    }
}
