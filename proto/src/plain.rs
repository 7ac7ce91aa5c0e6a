//! A payload that is one value: `21.5`, `true`, or a text. It becomes the field that the context
//! names.
//!
//! A number is a float; `true`, `True`, `TRUE` and the same of `false` are booleans; anything else
//! is a text. `ON` and `open` stay texts: what they mean is for a preset or a rule to say. An empty
//! payload and a word for "no value" are nothing to store, and nothing wrong. Blanks around a value
//! and zero bytes behind it do not count.

use crate::{
    Context, Kind, Place, Readings, Reason, Rejects, Time, ValueRef,
    offer::{Offers, Parts},
    value::is_empty_word,
};

pub fn decode(payload: &[u8], context: &Context<'_>, out: &mut Readings, bad: &mut Rejects) {
    let mut offers = Offers::new(context, out, bad);
    let place = Place { index: 0, span: 0..payload.len() };
    let Some(text) = trimmed(payload) else {
        let reason = Reason::new(Kind::Undecodable, "neither a number nor a text: not UTF-8");
        return offers.refuse(place, reason);
    };
    if is_empty_word(text) {
        return offers.nothing();
    }
    let value = scalar(text).unwrap_or(ValueRef::Text(text));
    let fields = [(context.field, value)];
    offers.offer(Parts { measurement: "", tags: &[], fields: &fields, time: Time::Unknown }, place);
}

/// Whether the payload is a number or a boolean: what `auto` takes for a plain value before it
/// looks for line protocol.
pub fn is_scalar(payload: &[u8]) -> bool {
    trimmed(payload).and_then(scalar).is_some()
}

fn trimmed(payload: &[u8]) -> Option<&str> {
    std::str::from_utf8(payload).ok().map(|text| text.trim_end_matches('\0').trim())
}

/// A number that no float can hold is infinite, and refused by the encoder; the words `inf` and
/// `nan` are no numbers.
pub(crate) fn scalar(text: &str) -> Option<ValueRef<'static>> {
    match text {
        "true" | "True" | "TRUE" => return Some(ValueRef::Boolean(true)),
        "false" | "False" | "FALSE" => return Some(ValueRef::Boolean(false)),
        _ => {}
    }
    let numeric = |byte| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
    if text.bytes().all(numeric) { text.parse().ok().map(ValueRef::Float) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Value,
        testing::{context, decoded, reading},
    };
    use proptest::prelude::*;

    fn value(payload: &[u8]) -> Option<Value> {
        let (mut readings, bad) = decoded(|out, bad| decode(payload, &context(), out, bad));
        assert!(bad.is_empty(), "{payload:?}: {bad:?}");
        readings.pop().map(|mut reading| reading.fields.remove(0).1)
    }

    fn kind(payload: &[u8]) -> Option<Kind> {
        let (readings, bad) = decoded(|out, bad| decode(payload, &context(), out, bad));
        assert!(readings.is_empty(), "{payload:?}: {readings:?}");
        bad.listed().first().map(|reject| reject.reason.kind)
    }

    #[test]
    fn one_value_is_one_field() {
        for (payload, number) in [
            ("21.5", 21.5),
            (" -3\r\n", -3.0),
            ("+1e3", 1000.0),
            (".5", 0.5),
            ("5.", 5.0),
            ("007", 7.0),
            ("42\0", 42.0),
        ] {
            assert_eq!(value(payload.as_bytes()), Some(Value::Float(number)), "{payload:?}");
            assert!(is_scalar(payload.as_bytes()), "{payload:?}");
        }
        assert_eq!(value(b"true"), Some(Value::Boolean(true)));
        assert_eq!(value(b"False\n"), Some(Value::Boolean(false)));
        for text in ["ON", "21.5 °C", "inf", "0x10", "1,5", "12:30", "e", "-", "tRUE", "a\nb"] {
            assert_eq!(value(text.as_bytes()), Some(Value::Text(text.to_owned())), "{text:?}");
            assert!(!is_scalar(text.as_bytes()), "{text:?}");
        }
    }

    #[test]
    fn nothing_is_nothing_and_no_fault() {
        for payload in ["", " \n", "null", "unavailable", "NaN", "None", "\0"] {
            let (readings, bad) =
                decoded(|out, bad| decode(payload.as_bytes(), &context(), out, bad));
            assert_eq!(
                (readings.len(), bad.is_empty(), bad.nothings()),
                (0, true, 1),
                "{payload:?}"
            );
        }
    }

    #[test]
    fn what_cannot_be_kept_is_refused() {
        assert_eq!(kind(b"1e999"), Some(Kind::Value));
        assert_eq!(kind(b"\xff\xfe"), Some(Kind::Undecodable));
        let context = Context { device_required: true, ..context() };
        let (_, bad) = decoded(|out, bad| decode(b"1", &context, out, bad));
        assert_eq!(bad.listed()[0].reason.kind, Kind::NoDevice);
    }

    #[test]
    fn the_context_names_it() {
        let tags = &[("device", "d1")];
        let context = Context { measurement: "garden", tags, field: "t", ..context() };
        let (readings, _) = decoded(|out, bad| decode(b"21.5", &context, out, bad));
        assert_eq!(readings, [reading("garden", tags, ("t", Value::Float(21.5)))]);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(payload: Vec<u8>, text in "[-+0-9.eE]{0,12}") {
            decoded(|out, bad| decode(&payload, &context(), out, bad));
            decoded(|out, bad| decode(text.as_bytes(), &context(), out, bad));
        }
    }
}
