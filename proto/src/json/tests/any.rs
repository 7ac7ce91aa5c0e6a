//! Any JSON at all: what `serde_json` reads is read the same, and a cut costs only what it cuts.

use proptest::prelude::*;

use super::*;
use crate::testing::any_json;

/// Every JSON that `serde_json` reads, and none besides (but for the words beyond JSON).
fn agrees_with_serde(payload: &[u8]) -> Result<(), TestCaseError> {
    let theirs = serde_json::from_slice::<serde::de::IgnoredAny>(payload).is_ok()
        && std::str::from_utf8(payload).is_ok();
    let mut flat = Flat::new(payload, &context(), &crate::Limits::default());
    flat.scan.skip_space();
    let fault = flat.lone_value("v").err();
    flat.scan.skip_space();
    let ours = fault.is_none() && flat.scan.at == payload.len();
    let beyond = String::from_utf8_lossy(payload);
    let more =
        ["NaN", "Infinity", "\0", "\u{feff}", "\\u"].iter().any(|word| beyond.contains(word));
    let limited = fault.is_some_and(|fault| fault.kind == Kind::Limit);
    if !more && !limited {
        prop_assert_eq!(ours, theirs, "{}", beyond);
    }
    Ok(())
}

/// What it must flatten to, by another way.
fn flattened(value: &serde_json::Value, name: &str, found: &mut Vec<(String, Value)>) {
    match value {
        serde_json::Value::Null => {}
        serde_json::Value::Bool(value) => found.push((name.to_owned(), Value::Boolean(*value))),
        serde_json::Value::Number(value) => {
            found.push((name.to_owned(), Value::Float(value.as_f64().unwrap())));
        }
        serde_json::Value::String(text) => {
            if !crate::value::is_empty_word(text) {
                found.push((name.to_owned(), Value::Text(text.clone())));
            }
        }
        serde_json::Value::Array(values) => {
            for (at, value) in values.iter().enumerate() {
                flattened(value, &format!("{name}_{at}"), found);
            }
        }
        serde_json::Value::Object(members) => {
            for (key, value) in members {
                flattened(value, &format!("{name}_{key}"), found);
            }
        }
    }
}

proptest! {
    #[test]
    fn any_value_is_flattened_like_serde_would(value in any_json()) {
        let mut expected = Vec::new();
        flattened(&value, "n", &mut expected);
        let mut unique: Vec<(String, Value)> = Vec::new();
        for (name, value) in expected.into_iter().filter(|(name, _)| crate::names::field(name, &crate::Limits::default()).is_ok()) {
            match unique.iter_mut().find(|(earlier, _)| *earlier == name) {
                Some(earlier) => earlier.1 = value,
                None => unique.push((name, value)),
            }
        }
        for payload in [
            format!("{{\"n\":{value}}}"),
            serde_json::to_string_pretty(&serde_json::json!({"fields": {"n": value}})).unwrap(),
        ] {
            let (readings, _) = decode_all(&payload);
            prop_assert_eq!(readings.len(), usize::from(!unique.is_empty()), "{}", payload);
            if let Some(reading) = readings.first() {
                prop_assert_eq!(&reading.fields, &unique, "{}", payload);
            }
        }
    }

    #[test]
    fn what_is_json_is_for_serde_to_say(
        value in any_json(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        at: prop::sample::Index,
        noise: Vec<u8>,
        like in "[\\[\\]{},:\"a0-9.eE+ \\\\nul-]{0,24}",
    ) {
        let mut payload = value.to_string().into_bytes();
        agrees_with_serde(&payload)?;
        agrees_with_serde(&payload[..at.index(payload.len())])?;
        for (at, byte) in flips {
            let at = at.index(payload.len());
            payload[at] = byte;
        }
        agrees_with_serde(&payload)?;
        agrees_with_serde(&noise)?;
        agrees_with_serde(like.as_bytes())?;
    }

    /// Every cut of an array keeps the elements before it; arbitrary bytes never panic.
    #[test]
    fn every_cut_costs_only_what_it_cuts(
        values in prop::collection::vec(any::<i32>(), 1..6),
        at: prop::sample::Index,
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        noise: Vec<u8>,
    ) {
        for (open, comma, close) in [("[", ",", "]"), ("", "\n", "\n"), ("{\"readings\":[", ",", "]}")] {
            let elements: Vec<_> = values.iter().map(|v| format!("{{\"v\":{v}}}")).collect();
            let whole = format!("{open}{}{close}", elements.join(comma));
            let at = at.index(whole.len());
            let cut = &whole.as_bytes()[..at];
            let (readings, bad) = decoded(|out, bad| decode(cut, &context(), out, bad));
            let mut complete = 0;
            let mut end = open.len();
            for element in &elements {
                end += element.len();
                complete += usize::from(end <= at);
                end += comma.len();
            }
            let expected = if open.starts_with('{') { 0 } else { complete };
            prop_assert_eq!(readings.len(), expected, "{:?} {:?}", whole, bad);

            let mut flipped = whole.into_bytes();
            for (at, byte) in &flips {
                let at = at.index(flipped.len());
                flipped[at] = *byte;
            }
            for payload in [&flipped, &noise] {
                let (_, bad) = decoded(|out, bad| decode(payload, &context(), out, bad));
                for reject in bad.listed() {
                    prop_assert!(payload.get(reject.span.clone()).is_some(), "{:?}", reject);
                }
            }
        }
    }
}
