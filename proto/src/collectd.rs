//! collectd's own text, as its `mqtt` plugin sends it: `1700000000.123:0.5:nan`, the time in seconds
//! and the values of one type, in their order.
//!
//! The context's `field` names the values in the same way, `rx:tx`. Where it names another number of
//! them, none has a name that can be relied on: they are called `value_0`, `value_1` by their places, so
//! that none is lost. `nan` and `U` say that there is no value, `N` for the time that it is now. What is
//! no number costs its value, not the others.

use crate::{
    Context, Kind, Place, Precision, Readings, Reason, Rejects, Time, Timestamp, ValueRef,
    names::short,
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
        Ok(at) => context.trusted(at).map_or_else(
            |why| {
                offers.distrust(why);
                Time::Unknown
            },
            Time::At,
        ),
        Err(reason) => return offers.refuse(place, reason),
    };
    let values: Vec<_> = values.split(':').collect();
    let names = names(context.field, values.len());
    let (mut fields, mut bad) = (Vec::with_capacity(values.len()), Vec::new());
    for (name, value) in names.iter().zip(&values) {
        match number(value) {
            Ok(Some(value)) => fields.push((name.as_str(), ValueRef::Float(value))),
            Ok(None) => {}
            Err(reason) => bad.push((name.as_str(), reason)),
        }
    }
    if fields.is_empty() {
        return match bad.into_iter().next() {
            Some((_, reason)) => offers.refuse(place, reason),
            None => offers.nothing(),
        };
    }
    if offers.offer(Parts { measurement: "", tags: &[], fields: &fields, time }, place) {
        for (name, reason) in bad {
            offers.leave_out(0, name, reason);
        }
    }
}

/// `None`: it says that there is no value.
fn number(text: &str) -> Result<Option<f64>, Reason> {
    let text = text.trim();
    if text == "U" || is_empty_word(text) {
        return Ok(None);
    }
    match text.parse::<f64>() {
        // C writes it with its sign.
        Ok(value) if value.is_nan() => Ok(None),
        Ok(value) if value.is_infinite() => {
            Err(Reason::new(Kind::Value, format!("`{}` is not a finite number", short(text))))
        }
        Ok(value) => Ok(Some(value)),
        Err(_) => Err(Reason::new(Kind::Undecodable, format!("`{}` is not a number", short(text)))),
    }
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
    use proptest::prelude::*;

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
    fn no_value_is_lost_for_want_of_names() {
        let float = |name: &str, value| (name.to_owned(), Value::Float(value));
        assert_eq!(
            fields("1700000000.250:1:nan:3", "rx:tx"),
            [float("value_0", 1.0), float("value_2", 3.0)],
            "another number of them: the names are not those of these values"
        );
        assert_eq!(fields("1700000000.250:1", "rx:tx"), [float("value_0", 1.0)]);
        assert_eq!(
            fields("1700000000.250:-nan:-7:1e-05", "a:b:c"),
            [float("b", -7.0), float("c", 1e-5)]
        );
    }

    #[test]
    fn what_is_no_number_costs_its_value_and_is_told() {
        let context = Context { field: "rx:tx:other", ..context() };
        let (readings, bad) =
            decoded(|out, bad| decode(b"1700000000.250:1:x:1e400", &context, out, bad));
        assert_eq!(readings[0].fields, [("rx".to_owned(), Value::Float(1.0))]);
        let told: Vec<_> =
            bad.listed().iter().map(|it| (it.field.as_deref(), &*it.reason.text)).collect();
        let other = "`1e400` is not a finite number";
        assert_eq!(told, [(Some("tx"), "`x` is not a number"), (Some("other"), other)]);
        assert_eq!((bad.readings(), bad.fields()), (0, 2));
    }

    proptest! {
        /// Each value is in a point, says that there is none, or is refused and counted.
        #[test]
        fn every_value_is_accounted_for(
            time in prop::sample::select(vec!["1700000000.250", "N", "0", "1e400", "x", "-5", ""]),
            values in prop::collection::vec("nan|-nan|U|[-+]?[0-9]{1,20}(\\.[0-9]{1,17})?(e[-+]?[0-9]{1,3})?|[ -~]{0,6}", 1..20),
            names in prop::sample::select(vec!["value", "rx:tx", "a:b:c", "", ":"]),
        ) {
            let payload = format!("{time}:{}\0", values.join(":"));
            let context = Context { field: names, ..context() };
            let (readings, bad) = decoded(|out, bad| decode(payload.as_bytes(), &context, out, bad));
            let fates = readings.len() as u64 + bad.readings() + bad.nothings();
            prop_assert_eq!(fates, 1, "{} as {:?}: {:?} {:?}", payload, names, readings, bad);
            // A value may hold colons itself, which make it several.
            let values = payload.trim_end_matches('\0').trim().split(':').skip(1);
            let said = values.filter(|text| !matches!(number(text), Ok(None))).count() as u64;
            if let [reading] = readings.as_slice() {
                prop_assert_eq!(reading.fields.len() as u64 + bad.fields(), said, "{}", payload);
            }
            if bad.nothings() > 0 {
                prop_assert_eq!(said, 0, "{}", payload);
            }
        }
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
