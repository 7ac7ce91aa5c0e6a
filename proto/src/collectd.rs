//! collectd's own text, as its `mqtt` plugin sends it: `1700000000.123:0.5:nan`, the time in seconds
//! and the values of one type, in their order.
//!
//! The context's `field` names the values in the same way, `rx:tx`. One that it does not name is
//! called by its place. `nan` and `U` say that there is no value, `N` for the time that it is now.

use crate::{
    Context, Kind, Place, Precision, Readings, Reason, Rejects, Time, Timestamp, ValueRef,
    offer::{Offers, Parts},
    value::is_empty_word,
};

pub fn decode(payload: &[u8], context: &Context<'_>, out: &mut Readings, bad: &mut Rejects) {
    let mut offers = Offers::new(context, out, bad);
    let place = Place { index: 0, span: 0..payload.len() };
    let Some((time, values)) = parts(payload) else {
        let reason = Reason::new(Kind::Undecodable, "expected a time and values between colons");
        return offers.refuse(place, reason);
    };
    let time = match Timestamp::from_epoch_text(time, Some(Precision::Seconds)) {
        _ if time == "N" => Time::Unknown,
        Ok(at) => context.trusted(at).map_or(Time::Unknown, Time::At),
        Err(reason) => return offers.refuse(place, reason),
    };
    let values: Vec<_> = values.split(':').collect();
    let names = names(context.field, values.len());
    let mut fields = Vec::with_capacity(values.len());
    for (name, value) in names.iter().zip(&values) {
        if *value == "U" || is_empty_word(value) {
            continue;
        }
        let Ok(value) = value.trim().parse() else {
            let reason = Reason::new(Kind::Undecodable, format!("`{name}` is not a number"));
            return offers.refuse(place, reason);
        };
        fields.push((name.as_str(), ValueRef::Float(value)));
    }
    if fields.is_empty() {
        return offers.nothing();
    }
    offers.offer(Parts { measurement: "", tags: &[], fields: &fields, time }, place);
}

/// Whether this is a time and at least one value.
pub fn looks_like(payload: &[u8]) -> bool {
    let is_number = |text: &str| {
        let numeric = |byte: u8| byte.is_ascii_digit() || byte == b'.';
        !text.is_empty() && text.bytes().all(numeric)
    };
    let is_time = |text| text == "N" || is_number(text);
    parts(payload).is_some_and(|(time, values)| is_time(time) && !values.is_empty())
}

/// collectd ends its text with a zero byte.
fn parts(payload: &[u8]) -> Option<(&str, &str)> {
    std::str::from_utf8(payload).ok()?.trim_end_matches('\0').trim().split_once(':')
}

fn names(given: &str, count: usize) -> Vec<String> {
    let given: Vec<_> = given.split(':').collect();
    if given.len() == count {
        return given.into_iter().map(str::to_owned).collect();
    }
    (0..count).map(|at| format!("value_{at}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Value,
        testing::{context, decoded},
    };

    fn fields(payload: &str, names: &str) -> Vec<(String, Value)> {
        let context = Context { field: names, ..context() };
        let (readings, bad) = decoded(|out, bad| decode(payload.as_bytes(), &context, out, bad));
        assert!(bad.is_empty(), "{bad:?}");
        let nanos = readings.first().and_then(|reading| reading.time.timestamp());
        assert!(nanos.is_none_or(|at| at.nanos() == 1_700_000_000_250_000_000));
        readings.into_iter().flat_map(|reading| reading.fields).collect()
    }

    #[test]
    fn values_have_the_names_of_their_type_or_their_place() {
        let float = |name: &str, value| (name.to_owned(), Value::Float(value));
        assert_eq!(fields("1700000000.250:0.5\0", "value"), [float("value", 0.5)]);
        assert_eq!(fields("1700000000.250:1:2", "rx:tx"), [float("rx", 1.0), float("tx", 2.0)]);
        assert_eq!(fields("1700000000.250:1:nan", "rx:tx"), [float("rx", 1.0)]);
        assert_eq!(
            fields("1700000000.250:1:2", "value"),
            [float("value_0", 1.0), float("value_1", 2.0)]
        );
        assert_eq!(fields("1700000000.250:nan", "value"), []);
        assert_eq!(fields("N:U:2", "rx:tx"), [float("tx", 2.0)]);
    }

    #[test]
    fn anything_else_is_refused_and_not_taken_for_it() {
        for text in ["21.5", "12:30 uhr", "a:b", ":1", "1700000000:x", "1e400:1", "", "\0"] {
            let (readings, bad) = decoded(|out, bad| decode(text.as_bytes(), &context(), out, bad));
            assert!(readings.is_empty() && bad.readings() == 1, "{text}");
        }
        assert!(looks_like(b"1700000000.250:0.5:nan\0"));
        assert!(!looks_like(b"21.5") && !looks_like(b"a:b") && !looks_like(b"\xff:1"));
    }
}
