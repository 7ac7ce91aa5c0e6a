//! JSON in: its forms, times, limits, and bad readings among good ones.

mod any;

use std::time::Duration;

use super::*;
use crate::{
    Beyond, Precision, Reading, Time, TimeLimits, Timestamp, Value, WhenBeyond,
    testing::{context, decoded},
};

fn decode_all(payload: &str) -> (Vec<Reading>, Rejects) {
    decoded(|out, bad| decode(payload.as_bytes(), &context(), out, bad))
}

/// As line protocol, one line each; an age as `age=...`.
fn lines(payload: &str) -> Vec<String> {
    let (readings, bad) = decode_all(payload);
    assert!(bad.is_empty(), "{payload}: {bad:?}");
    readings.iter().map(line).collect()
}

fn line(reading: &Reading) -> String {
    let mut out = Vec::new();
    reading.with_ref(|reading| crate::line::write(&reading, &mut out)).unwrap();
    String::from_utf8(out).unwrap().trim_end().replace(".0,", ",").replace(".0 ", " ")
}

fn one(payload: &str) -> String {
    let mut lines = lines(payload);
    assert_eq!(lines.len(), 1, "{payload}: {lines:?}");
    lines.remove(0)
}

fn refusal(payload: &str) -> String {
    let (readings, bad) = decode_all(payload);
    assert!(readings.is_empty(), "{payload}: {readings:?}");
    assert_eq!(bad.readings(), 1, "{payload}: {bad:?}");
    bad.listed()[0].reason.to_string()
}

#[test]
fn members_become_fields() {
    assert_eq!(
        one(
            r#"{"t":21.5,"on":true,"n":{"a":{"b":1}},"s":"x \"y\"","l":[1,false,null,{"z":2}],"e":{}}"#
        ),
        r#"readings t=21.5,on=t,n_a_b=1,s="x \"y\"",l_0=1,l_1=f,l_3_z=2.0"#
    );
    assert_eq!(one(r#"{"a":1,"b":2,"a":3}"#), "readings a=3,b=2.0", "the last of two counts");
    assert_eq!(one(r#"{"gr\u00f6\u00dfe \ud83d\ude00":1}"#), "readings größe\\ 😀=1.0");
    assert_eq!(one("{\"a\":-0.5e-3}\0\0"), "readings a=-0.0005");
    assert_eq!(one("\u{feff}{\"a\":1e2}"), "readings a=100.0");
    assert_eq!(one(r#"{"a":9007199254740993}"#), "readings a=9007199254740992.0");
}

#[test]
fn a_lone_value_becomes_the_field_of_the_context() {
    assert_eq!(one("21.5"), "readings value=21.5");
    assert_eq!(one("\"ON\""), "readings value=\"ON\"");
    assert_eq!(one("[1,2,[3]]"), "readings value_0=1,value_1=2,value_2_0=3.0");
}

#[test]
fn words_for_no_value_are_skipped() {
    assert_eq!(
        one(r#"{"a":null,"b":"unavailable","c":"NaN","d":"","e":" none ","t":1}"#),
        "readings t=1.0"
    );
    for payload in
        [r#"{"a":null}"#, r#"{"a":"unknown","b":{}}"#, "null", r#"{"fields":{"a":null}}"#]
    {
        let (readings, bad) = decode_all(payload);
        assert_eq!((readings.len(), bad.is_empty(), bad.nothings()), (0, true, 1), "{payload}");
    }
    assert_eq!(refusal("{}"), "the reading has no field");
    assert_eq!(refusal(r#"{"ts":1700000000}"#), "the reading has no field");
    for payload in ["[]", r#"{"device":"d","readings":[]}"#] {
        let (readings, bad) = decode_all(payload);
        assert_eq!((readings.len(), bad.is_empty()), (0, true), "{payload}: {bad:?}");
    }
}

#[test]
fn a_number_that_is_none_costs_its_field() {
    let (readings, bad) = decode_all(r#"{"a":1e999,"b":NaN,"c":-Infinity,"d":1,"":2,"time":true}"#);
    assert_eq!(readings.iter().map(line).collect::<Vec<_>>(), ["readings d=1.0"]);
    assert_eq!((bad.readings(), bad.fields()), (0, 5));
    assert_eq!(refusal(r#"{"a":1e999}"#), "not a finite number");
}

#[test]
fn the_time_is_exact_to_the_nanosecond() {
    for (member, nanos) in [
        (r#""ts":1624348482.25"#, 1_624_348_482_250_000_000_i64),
        (r#""TS":1624348482"#, 1_624_348_482_000_000_000),
        (r#""Time":1624348482123"#, 1_624_348_482_123_000_000),
        (r#""timestamp":1624348482123456"#, 1_624_348_482_123_456_000),
        (r#""timestamp":1624348482123456789"#, 1_624_348_482_123_456_789),
        (r#""ts":"1624348482.25""#, 1_624_348_482_250_000_000),
        (r#""time":"2021-06-27T15:03:44+02:00""#, 1_624_799_024_000_000_000),
        (r#""time":"2021-06-27T13:03:44.123456789Z""#, 1_624_799_024_123_456_789),
        (r#""time":"12:30","ts":1624348482"#, 1_624_348_482_000_000_000),
    ] {
        assert_eq!(one(&format!(r#"{{"t":1,{member}}}"#)), format!("readings t=1 {nanos}"));
    }
    for untrusted in [r#""2021-06-27T15:03:44""#, "\"\"", "null", r#""12:30""#] {
        assert_eq!(one(&format!(r#"{{"t":1,"Time":{untrusted}}}"#)), "readings t=1.0");
    }
    assert_eq!(one(r#"{"t":1,"a":{"time":5}}"#), "readings t=1,a_time=5.0", "only outermost");
    assert!(refusal(r#"{"t":1,"ts":1e30}"#).contains("1677"));

    let context = Context { precision: Some(Precision::Milliseconds), ..context() };
    let (readings, _) =
        decoded(|out, bad| decode(br#"{"t":1,"ts":1700000000}"#, &context, out, bad));
    assert_eq!(readings[0].time, Time::At(Timestamp::from_nanos(1_700_000_000_000_000)));
}

#[test]
fn an_age_counts_back_from_the_arrival() {
    let at = |ms| Time::Stamped(context().arrival.checked_sub(Duration::from_micros(ms)).unwrap());
    assert_eq!(decode_all(r#"{"t":1,"age_ms":1500}"#).0[0].time, at(1_500_000));
    assert_eq!(decode_all(r#"{"fields":{"t":1},"age_ms":0.5}"#).0[0].time, at(500));
    assert_eq!(refusal(r#"{"t":1,"age_ms":-1}"#), "an age below zero");
    assert_eq!(one(r#"{"t":1,"age_ms":5,"ts":1700000000}"#), "readings t=1 1700000000000000000");
}

#[test]
fn a_device_is_a_tag_unless_the_context_names_one() {
    assert_eq!(one(r#"{"device":"d1","t":1}"#), "readings,device=d1 t=1.0");
    assert_eq!(one(r#"{"device":{"name":"d1"},"t":1}"#), "readings device_name=\"d1\",t=1.0");
    assert_eq!(one(r#"{"device":17,"t":1}"#), "readings device=17,t=1.0");
    let context = Context { tags: &[("device", "ours")], device_required: true, ..context() };
    let (readings, bad) = decoded(|out, bad| {
        decode(br#"{"device":"theirs","t":1}"#, &context, out, bad);
        decode(br#"{"device":"theirs","fields":{"t":1}}"#, &context, out, bad);
    });
    assert!(bad.is_empty(), "{bad:?}");
    assert_eq!(readings.iter().map(line).collect::<Vec<_>>(), ["readings,device=ours t=1.0"; 2]);
}

#[test]
fn a_device_is_asked_for_where_it_is_required() {
    let context = Context { device_required: true, ..context() };
    let payload = br#"[{"t":1},{"device":"d1","t":1},{"device":"","t":1}]"#;
    let (readings, bad) = decoded(|out, bad| decode(payload, &context, out, bad));
    assert_eq!((readings.len(), bad.readings()), (1, 2));
    assert_eq!(bad.listed()[0].reason.kind, Kind::NoDevice);
    assert!(bad.listed()[0].reason.text.contains("?device="), "{bad:?}");
}

#[test]
fn the_explicit_form_says_what_is_what() {
    assert_eq!(
        one(
            r#"{"device":"d1","measurement":"climate","tags":{"room":"a","n":5,"b":true,"x":null,"e":""},
            "fields":{"t":21.5,"ts":7,"nested":{"a":1}},"ts":1700000000000}"#
        ),
        "climate,b=true,device=d1,n=5,room=a t=21.5,ts=7,nested_a=1 1700000000000000000"
    );
    assert_eq!(one(r#"{"ts":1700000000,"fields":{"t":1}}"#), "readings t=1 1700000000000000000");
    assert_eq!(one(r#"{"fields":{"t":1},"measurement":null,"tags":{}}"#), "readings t=1.0");
    assert_eq!(one(r#"{"device":17,"fields":{"t":1}}"#), "readings,device=17 t=1.0");
    assert_eq!(refusal(r#"{"fields":{"t":1},"measurement":5}"#), "the measurement is not a text");
    assert_eq!(
        refusal(r#"{"fields":{"t":1},"tags":{"a":"b\n"}}"#),
        "tag `a`: tag value `b\\n` has a control character"
    );

    let (readings, bad) = decode_all(r#"{"fields":{"t":1},"seq":7,"more":{"x":1}}"#);
    assert_eq!((readings.len(), bad.fields(), bad.readings()), (1, 2, 0));
    assert_eq!(bad.listed()[0].field.as_deref(), Some("seq"));
    assert_eq!(one(r#"{"fields":5}"#), "readings fields=5.0", "only an object makes it explicit");
}

#[test]
fn a_batch_shares_what_its_object_says() {
    assert_eq!(
        lines(
            r#"{"device":"d1","measurement":"m","tags":{"room":"a"},"ts":1700000000,"readings":[
            {"fields":{"t":1}},
            {"fields":{"t":2},"device":"d2","tags":{"room":"b"},"age_ms":0},
            {"t":3,"ts":1700000001}]}"#
        ),
        [
            "m,device=d1,room=a t=1 1700000000000000000",
            "m,device=d2,room=b t=2 1700000000000000000",
            "m,device=d1,room=a t=3 1700000001000000000",
        ]
    );
    let (readings, bad) = decode_all(r#"{"readings":[{"t":1},5,{"t":tru},{"t":2}],"odd":1}"#);
    assert_eq!((readings.len(), bad.readings(), bad.fields()), (2, 2, 1), "{bad:?}");
    assert_eq!(one(r#"{"readings":[1,2]}"#), "readings readings_0=1,readings_1=2.0");
}

#[test]
fn bad_readings_in_an_array_cost_themselves() {
    let payload =
        r#"[{"t":1}, {"t":nope}, 7, {"t":{}}, [[1]], {"a":"}]","t":2}, {"t":1 "u":2},{"t":3}]"#;
    let (readings, bad) = decode_all(payload);
    assert_eq!(readings.len(), 3, "{bad:?}");
    let refused: Vec<_> = bad
        .listed()
        .iter()
        .map(|reject| {
            (reject.index, payload.get(reject.span.clone()).unwrap(), reject.reason.to_string())
        })
        .collect();
    let text = |text: &str| text.to_owned();
    assert_eq!(
        refused,
        [
            (1, r#"{"t":nope}"#, text("byte 15: expected a value")),
            (2, "7", text("byte 22: expected an object")),
            (3, r#"{"t":{}}"#, text("the reading has no field")),
            (4, "[[1]]", text("byte 35: expected an object")),
            (6, r#"{"t":1 "u":2}"#, text("byte 67: expected a comma or }")),
        ]
    );
}

#[test]
fn an_array_that_breaks_off_keeps_what_came_before() {
    for (payload, taken) in [
        (r#"[{"t":1},{"t":2"#, 1),
        (r#"[{"t":1},{"t":2}"#, 2),
        (r#"[{"t":1},{"t":2},]"#, 2),
        (r#"[{"t":1} {"t":2}]"#, 1),
        (r#"[{"t":1},{"t":"x]"#, 1),
        ("[{\"t\":1},\n{\"t\":2\n{\"t\":3}]", 2),
    ] {
        let (readings, bad) = decode_all(payload);
        assert_eq!(readings.len(), taken, "{payload}");
        assert!((1..=2).contains(&bad.readings()), "{payload}: {bad:?}");
        assert_eq!(bad.listed()[0].index, 1 + u32::from(taken == 2 && !payload.contains('\n')));
    }
}

#[test]
fn a_broken_line_costs_itself() {
    let payload = "{\"t\":1}\n{\"t\":2\n{\"t\":3}\r\n{\"t\":\"4\n{\"t\":5}\nrubbish\n\n{\"t\":6}{\"t\":7} x\n";
    let (readings, bad) = decode_all(payload);
    let values: Vec<_> = readings.iter().map(|reading| reading.fields[0].1.clone()).collect();
    assert_eq!(values, [1.0, 3.0, 5.0, 6.0, 7.0].map(Value::Float));
    let refused: Vec<_> = bad
        .listed()
        .iter()
        .map(|reject| (reject.index, payload.get(reject.span.clone()).unwrap()))
        .collect();
    assert_eq!(refused, [(1, "{\"t\":2\n"), (3, "{\"t\":\"4\n"), (5, "rubbish\n\n"), (8, "x\n")]);
}

#[test]
fn what_is_no_json_is_refused_by_the_byte() {
    for (payload, reason) in [
        ("", "an empty payload"),
        ("{", "byte 1: expected a text in quotes"),
        ("{\"a\" 1}", "byte 5: expected a colon"),
        ("{\"a\":1,}", "byte 7: expected a text in quotes"),
        ("{\"a\":01}", "byte 6: expected a comma or }"),
        ("{\"a\":1.}", "byte 7: expected a digit"),
        ("{\"a\":+1}", "byte 5: expected a value"),
        ("{\"a\":\"x}", "byte 8: a text without its closing quote"),
        ("{\"a\":\"\t\"}", "byte 6: a control character in a text"),
        ("{\"a\":\"\\x\"}", "byte 6: an escape that JSON has not"),
        ("{\"a\":\"\\ud800\"}", "byte 6: an escape that JSON has not"),
        ("{\"a\":\"\\udc00\"}", "byte 6: an escape that JSON has not"),
        ("{'a':1}", "byte 1: expected a text in quotes"),
        ("nul", "byte 0: expected a value"),
    ] {
        assert_eq!(refusal(payload), reason, "{payload:?}");
    }
    let (_, bad) = decoded(|out, bad| decode(b"{\"a\":\"\xff\"}", &context(), out, bad));
    assert_eq!(bad.listed()[0].reason.to_string(), "byte 6: a text that is not UTF-8");
}

#[test]
fn bombs_are_defused() {
    let deep = |depth| format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
    assert_eq!(lines(&deep(32)).len(), 1);
    assert_eq!(refusal(&deep(33)), "byte 160: nested more deeply than is allowed");
    assert_eq!(decode_all(&format!("[{},{{\"t\":1}}]", deep(100_000))).0.len(), 1);
    assert!(refusal(&"[".repeat(1_000_000)).ends_with("nested more deeply than is allowed"));
    let greedy = Context { depth_max: usize::MAX, ..context() };
    let (_, bad) = decoded(|out, bad| decode(deep(100_000).as_bytes(), &greedy, out, bad));
    assert_eq!(bad.readings(), 1, "no configuration may use up the stack");

    let wide = |keys: usize| {
        let members: Vec<_> = (0..keys).map(|i| format!("\"k{i}\":null")).collect();
        format!("{{{},\"t\":1}}", members.join(","))
    };
    assert_eq!(lines(&wide(1023)).len(), 1);
    assert!(refusal(&wide(1024)).ends_with("more keys in one reading than are allowed"));
    let endless = format!("[{{\"t\":1}},{{\"a\":[{}1]}},{{\"t\":2}}]", "1,".repeat(100_000));
    assert_eq!(decode_all(&endless).0.len(), 2);

    // 1,000 keys under a name of 30 kB: names do not grow past what is allowed.
    let named =
        format!("{{\"{}\":{},\"t\":1}}", "x".repeat(30_000), wide(1000).replace("null", "1"));
    let (readings, bad) = decode_all(&named);
    assert_eq!((readings.len(), bad.fields()), (1, 1001));
}

#[test]
fn a_name_too_long_never_passes_for_another() {
    for len in 240..270 {
        let name = "n".repeat(len);
        for payload in [
            format!(r#"{{"fields":{{"{name}":{{"a":1}}}}}}"#),
            format!(r#"{{"fields":{{"{name}":1}}}}"#),
            format!(r#"{{"{name}":{{"a":1}}}}"#),
            format!(r#"{{"{name}":{{"aö{name}":1}}}}"#),
        ] {
            let (readings, bad) = decode_all(&payload);
            let inner = if payload.contains("\"a\"") { len + 2 } else { len };
            let inner = if payload.contains('ö') { 2 * len + 4 } else { inner };
            assert_eq!(readings.len(), usize::from(inner <= 256), "{len} {payload}");
            assert_eq!(bad.readings(), u64::from(inner > 256));
            if let Some(reading) = readings.first() {
                assert_eq!(reading.fields[0].0.len(), inner);
            }
        }
    }
}

#[test]
fn times_beyond_their_limits_are_kept_stamped_or_refused_and_counted() {
    let day = Duration::from_hours(24);
    let limits = |then| TimeLimits { past_max: day, past: then, future_max: day, future: then };
    let now = context().arrival.nanos() / 1_000_000;
    let payload = format!(
        r#"[{{"t":1,"ts":{}}},{{"t":2,"ts":{}}},{{"t":3,"ts":{}}},{{"t":4,"age_ms":90000000}},{{"t":5}}]"#,
        now - 90_000_000,
        now - 86_000_000,
        now + 90_000_000,
    );
    for (then, taken, stamped) in
        [(WhenBeyond::Keep, 5, 1), (WhenBeyond::Stamp, 5, 4), (WhenBeyond::Reject, 2, 1)]
    {
        let context = Context { times: Some(limits(then)), ..context() };
        let (readings, rejects) =
            decoded(|out, bad| decode(payload.as_bytes(), &context, out, bad));
        let unknown = readings.iter().filter(|reading| reading.time == Time::Unknown).count();
        assert_eq!((readings.len(), unknown), (taken, stamped), "{then:?}");
        assert_eq!((rejects.beyond(Beyond::Past), rejects.beyond(Beyond::Future)), (2, 1));
        let kinds: Vec<_> = rejects.listed().iter().map(|reject| reject.reason.kind).collect();
        if then == WhenBeyond::Reject {
            assert_eq!(kinds, [Kind::Past, Kind::Future, Kind::Past]);
            assert_eq!(
                rejects.listed()[1].reason.text,
                "its time is 1500 min ahead, more than `future_max`"
            );
        } else {
            assert_eq!(kinds, []);
        }
    }
    // Nobody believes our clock.
    let (readings, rejects) = decoded(|out, bad| decode(payload.as_bytes(), &context(), out, bad));
    assert_eq!((readings.len(), rejects.beyond(Beyond::Past)), (5, 0));
}
