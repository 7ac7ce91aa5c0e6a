//! `SenML` in: the examples of RFC 8428, as JSON and as CBOR, and its rules one by one.

use serde::Serialize as _;
use serde_json::{Value, json};

use super::*;
use crate::testing::{context, decoded, hex, line};

const FIXTURES: &str = include_str!("../../tests/fixtures/senml.json");

fn context_of_senml() -> Context<'static> {
    Context { measurement: "senml", ..context() }
}

/// As line protocol, and then what was refused: index, and why.
fn shown(payload: &[u8], context: &Context<'_>) -> Vec<String> {
    let (readings, bad) = decoded(|out, bad| decode(payload, context, out, bad));
    let refused = bad.listed().iter().map(|r| format!("{} {}", r.index, r.reason));
    readings.iter().map(line).chain(refused).collect()
}

fn lines(pack: &Value) -> Vec<String> {
    shown(pack.to_string().as_bytes(), &context_of_senml())
}

fn refusal(record: &Value) -> String {
    let mut lines = lines(&json!([record]));
    assert_eq!(lines.len(), 1, "{lines:?}");
    lines.remove(0).trim_start_matches("0 ").to_owned()
}

fn example(at: usize) -> Value {
    serde_json::from_str::<Value>(FIXTURES).unwrap()["examples"][at].clone()
}

/// REFERENCE M1: a name without a base name is the device.
#[test]
fn m1_a_single_datapoint() {
    assert_eq!(
        lines(&example(0)),
        ["senml,device=urn:dev:ow:10e2073a01080063,unit=Cel value=23.1"]
    );
}

#[test]
fn several_datapoints_of_one_device_without_a_time() {
    assert_eq!(
        lines(&example(1)),
        [
            "senml,device=urn:dev:ow:10e2073a01080063,unit=V voltage=120.1",
            "senml,device=urn:dev:ow:10e2073a01080063,unit=A current=1.2",
        ]
    );
}

const M2: [&str; 7] = [
    "senml,device=urn:dev:ow:10e2073a0108006,unit=V voltage=120.1 1276020076001000000",
    "senml,device=urn:dev:ow:10e2073a0108006,unit=A current=1.2 1276020071001000000",
    "senml,device=urn:dev:ow:10e2073a0108006,unit=A current=1.3 1276020072001000000",
    "senml,device=urn:dev:ow:10e2073a0108006,unit=A current=1.4 1276020073001000000",
    "senml,device=urn:dev:ow:10e2073a0108006,unit=A current=1.5 1276020074001000000",
    "senml,device=urn:dev:ow:10e2073a0108006,unit=A current=1.6 1276020075001000000",
    "senml,device=urn:dev:ow:10e2073a0108006,unit=A current=1.7 1276020076001000000",
];

/// REFERENCE M2: base time and time are added exactly.
#[test]
fn m2_multiple_datapoints() {
    assert_eq!(lines(&example(2)), M2);
}

/// REFERENCE M3: the unit keeps three things of one name and time apart.
#[test]
fn m3_one_name_and_time_with_three_units() {
    let lines = lines(&example(3));
    let device = "senml,device=urn:dev:ow:10e2073a01080063,unit=";
    assert_eq!(lines[0], format!("{device}%RH value=20.0 1320067464000000000"));
    assert_eq!(lines[1], format!("{device}lon value=24.30621 1320067464000000000"));
    assert_eq!(lines[2], format!("{device}lat value=60.07965 1320067464000000000"));
    assert_eq!(lines[9], format!("{device}%EL value=98.0 1320067614000000000"));
    assert_eq!(lines.len(), 13);
}

/// `context().arrival` is 1700000000 s.
const M4: [&str; 4] = [
    "senml,device=dev123,unit=degC temp=22.1,temp_sum=0.0 1699999953330000000",
    "senml,device=dev123 room=\"kitchen\" 1699999953330000000",
    "senml,device=dev123 data=\"abc\" 1699999954330000000",
    "senml,device=dev123 ok=t 1699999954330000000",
];

/// REFERENCE M4: negative times count back from the arrival; text, base64 text, boolean, sum.
#[test]
fn m4_relative_times_and_every_type() {
    assert_eq!(lines(&example(4)), M4);
    let cbor = serde_json::from_str::<Value>(FIXTURES).unwrap()["cbor"].clone();
    let cbor = data_encoding::BASE64.decode(cbor.as_str().unwrap().as_bytes()).unwrap();
    assert_eq!(shown(&cbor, &context_of_senml()), M4, "the same in CBOR, with texts as labels");
}

/// The dump of RFC 8428 section 6: REFERENCE M2 in CBOR, its labels numbers.
#[test]
fn the_cbor_of_the_rfc_says_the_same() {
    let mut dump = hex("87 a7 21 781b");
    dump.extend_from_slice(b"urn:dev:ow:10e2073a0108006:");
    dump.extend(hex("22 fb 41d303a15b001062 23 6141 20 05 00 67 766f6c74616765"));
    dump.extend(hex("01 6156 02 fb 405e066666666666"));
    for (time, value) in [
        ("24", "3ff3333333333333"),
        ("23", "3ff4cccccccccccd"),
        ("22", "3ff6666666666666"),
        ("21", "3ff8000000000000"),
        ("20", "3ff999999999999a"),
    ] {
        dump.extend(hex(&format!("a3 00 67 63757272656e74 06 {time} 02 fb {value}")));
    }
    dump.extend(hex("a3 00 67 63757272656e74 06 00 02 fb 3ffb333333333333"));
    assert_eq!(shown(&dump, &context_of_senml()), M2);
    // A decimal fraction (section 6), a piecewise array, and data, which is bytes.
    let more = hex("9f a2 00 6164 02 c48221190102 a2 00 6164 08 43fffe01 ff");
    assert_eq!(
        shown(&more, &context_of_senml()),
        ["senml,device=d value=2.58", "senml,device=d value=\"__4B\""]
    );
}

/// Any pack says the same in both.
#[test]
fn json_and_cbor_agree() {
    for at in 0..5 {
        let pack = example(at);
        let mut cbor = minicbor_serde::Serializer::new(Vec::new());
        pack.serialize(&mut cbor).unwrap();
        let cbor = cbor.into_encoder().into_writer();
        assert_eq!(shown(&cbor, &context_of_senml()), lines(&pack));
    }
}

#[test]
fn times_below_2_to_the_28_are_relative_to_now() {
    for (time, point) in [
        ("0", ""),
        ("-0.5", " 1699999999500000000"),
        ("5", " 1700000005000000000"),
        ("268435455", " 1968435455000000000"),
        ("268435456", " 268435456000000000"),
        ("1.7e9", " 1700000000000000000"),
        ("1276020076.001000001", " 1276020076001000001"),
    ] {
        let pack = format!(r#"[{{"n":"d","v":1,"t":{time}}}]"#);
        let lines = shown(pack.as_bytes(), &context_of_senml());
        assert_eq!(lines, [format!("senml,device=d value=1.0{point}")], "{time}");
    }
    for far in ["1e12", "-1e12", "1e300"] {
        let pack = format!(r#"[{{"n":"d","v":1,"t":{far}}}]"#);
        assert!(shown(pack.as_bytes(), &context_of_senml())[0].contains("1677"), "{far}");
    }
    let lines = lines(&json!([{"bn": "d", "bt": 268_435_450, "v": 1, "t": 5}, {"v": 2, "t": 6}]));
    assert_eq!(lines[0], "senml,device=d value=1.0 1968435455000000000", "the sum decides");
    assert_eq!(lines[1], "senml,device=d value=2.0 268435456000000000");
}

#[test]
fn base_values_hold_until_they_are_given_again() {
    assert_eq!(
        lines(&json!([
            {"bn": "a:", "bu": "Cel", "bv": 20, "bs": 100},
            {"n": "t", "v": 0.1},
            {"n": "t", "v": 0.2, "s": 0.5, "u": "K"},
            {"n": "t"},
            {"n": "on", "vb": true},
            {"bn": "b", "bv": 0, "bs": null, "bu": "", "n": "x", "v": 1},
        ])),
        [
            "senml,device=a,unit=Cel t=20.1,t_sum=100.0",
            "senml,device=a,unit=K t=20.2,t_sum=100.5",
            "senml,device=a,unit=Cel t=20.0,t_sum=100.0",
            "senml,device=a,unit=Cel on=t,on_sum=100.0",
            "senml,device=b x=1.0,x_sum=100.0",
        ]
    );
}

#[test]
fn a_bad_record_costs_itself() {
    let good = json!({"n": "d", "v": 1});
    for (record, reason) in [
        (json!({"n": "d"}), "a record without a value"),
        (json!({"v": 1}), "a record without a name"),
        (json!({"n": "d", "v": "1"}), "`v` is not a number"),
        (json!({"n": "d", "vs": 1}), "`vs` is not a text"),
        (json!({"n": "d", "vb": 1}), "`vb` is not a boolean"),
        (json!({"n": 5, "v": 1}), "`n` is not a text"),
        (json!({"n": "d", "v": 1, "t": "now"}), "`t` is not a number"),
        (json!({"n": "d", "v": 1, "vs": "x"}), "a record with more than one value"),
        (json!({"n": "d", "v": 1, "foo_": 1}), "a label that must be understood, and is not"),
        (
            json!({"n": "d", "v": 1, "foo_": {"x": 1}}),
            "a label that must be understood, and is not",
        ),
        (
            json!({"n": "time\n", "v": 1}),
            "tag `device`: tag value `time\\n` has a control character",
        ),
    ] {
        assert_eq!(refusal(&record), reason, "{record}");
        let among = lines(&json!([good, record, good]));
        assert_eq!(among.len(), 3, "{among:?}");
        assert_eq!(among[2], format!("1 {reason}"));
    }
    assert_eq!(lines(&json!([{"n": "d", "v": 1, "foo": {"x_": 1}, "ut": 5}])).len(), 1);
    let (_, bad) = decoded(|out, bad| {
        decode(br#"[{"n":"d","v":null},{"n":"d","vs":"unavailable"}]"#, &context(), out, bad);
    });
    assert!(bad.is_empty());
    assert_eq!(bad.nothings(), 2);
    let (readings, bad) = decoded(|out, bad| {
        decode(br#"[{"bn":"d","bv":1},{"bu":"V"}]"#, &context(), out, bad);
    });
    assert!(readings.is_empty() && bad.is_empty());
    assert_eq!(bad.nothings(), 0, "a record of base values only is no reading");
}

#[test]
fn what_the_others_hang_on_costs_them_too() {
    for (record, reason) in [
        (r#"{"bn":5}"#, "`bn` is not a text"),
        (r#"{"bt":"x"}"#, "`bt` is not a number"),
        (r#"{"bver":32}"#, "a version of SenML that is not known"),
        (r#"{"bfoo_":1}"#, "a label that must be understood, and is not"),
        (r#"{"bfoo_":{}}"#, "a label that must be understood, and is not"),
        (r#"{"n":"d",}"#, "byte 26: expected a text in quotes"),
        ("7", "byte 17: expected a record"),
    ] {
        let pack = format!(r#"[{{"n":"d","v":1}},{record},{{"n":"d","v":3}}]"#);
        let lines = shown(pack.as_bytes(), &context_of_senml());
        assert_eq!(lines, ["senml,device=d value=1.0".to_owned(), format!("1 {reason}")]);
        let (_, bad) = decoded(|out, bad| decode(pack.as_bytes(), &context(), out, bad));
        assert_eq!(bad.listed()[0].span, 17..pack.len());
    }
    for version in [1, 5, 10, 26] {
        assert_eq!(lines(&json!([{"bver": version, "n": "d", "v": 1}])).len(), 1);
    }
}

#[test]
fn what_is_no_pack_is_refused() {
    for payload in
        ["", "{\"n\":\"d\",\"v\":1}", "foo", "[", "[{\"n\":\"d\",\"v\":1}] x", "5", "\u{a1}"]
    {
        let (_, bad) = decoded(|out, bad| decode(payload.as_bytes(), &context(), out, bad));
        assert_eq!(bad.readings(), 1, "{payload}: {bad:?}");
    }
    assert_eq!(lines(&json!([])), [""; 0]);
}

#[test]
fn a_device_of_the_topic_keeps_the_names_apart() {
    let context = Context { tags: &[("device", "gateway")], ..context_of_senml() };
    let pack = br#"[{"bn":"a:","n":"t","v":1},{"bn":"b:","n":"t","v":2},{"bn":"gateway","v":3}]"#;
    assert_eq!(
        shown(pack, &context),
        [
            "senml,device=gateway,name=a t=1.0",
            "senml,device=gateway,name=b t=2.0",
            "senml,device=gateway value=3.0",
        ]
    );
}

#[test]
fn a_pack_is_recognised_by_its_labels() {
    for at in 0..5 {
        assert!(looks_like(example(at).to_string().as_bytes()), "{at}");
    }
    assert!(looks_like(b"\n[ { \"bn\" : \"urn\" } ,"));
    for other in [
        r#"[{"t":1}]"#,
        r#"[{"n":1,"v":2}]"#,
        r#"[{"n":"d","t":2}]"#,
        r#"[{"n":"d","v":2,"x":1}]"#,
        r#"[{"n":"d","v":{}}]"#,
        r#"{"n":"d","v":2}"#,
        r#"[{"v":2,"t":1}]"#,
        "[]",
        "[{}]",
        "",
        r#"[{"n":"d","v":2"#,
    ] {
        assert!(!looks_like(other.as_bytes()), "{other}");
    }
}
