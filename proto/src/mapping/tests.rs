//! Mappings against payloads: what comes out, and what is said where nothing does.

use super::*;
use crate::{
    Context, Kind, Rejects, cbor, json, line, msgpack, plain,
    testing::{ARRIVAL, context, decoded},
    timestamp::LocalTime,
};

fn path(text: &str) -> Path {
    Path::parse(text).unwrap()
}

fn mapping(case: Case) -> Mapping {
    Mapping { cases: vec![case], ..Mapping::default() }
}

fn with_fields(fields: Fields) -> Mapping {
    mapping(Case { fields, ..Case::default() })
}

/// The points as line protocol without the stamps of what carries no time, and what was refused.
fn shown(mapping: &Mapping, payload: &str) -> (Vec<String>, Rejects) {
    let context = Context { measurement: "m", mapping: Some(mapping), ..context() };
    let decode = match payload.as_bytes().first() {
        Some(b'{' | b'[') => json::decode,
        Some(_) if payload.contains('=') => line::decode,
        _ => plain::decode,
    };
    let (readings, bad) = decoded(|out, bad| decode(payload.as_bytes(), &context, out, bad));
    let lines = readings.iter().map(|reading| {
        let mut line = Vec::new();
        reading.with_ref(|reading| line::write(&reading, &mut line)).unwrap();
        String::from_utf8(line).unwrap().trim_end().to_owned()
    });
    (lines.collect(), bad)
}

fn points(mapping: &Mapping, payload: &str) -> Vec<String> {
    let (points, bad) = shown(mapping, payload);
    assert!(bad.is_empty(), "{bad:?}");
    points
}

fn globs<T: Copy>(list: &[(&str, T)]) -> Vec<(Glob, T)> {
    list.iter().map(|(glob, value)| (Glob::new(glob), *value)).collect()
}

#[test]
fn a_part_is_selected_and_split_and_named_from_elsewhere() {
    let mapping = mapping(Case {
        select: path("/ports"),
        split: Some("port".into()),
        tags: vec![("device".into(), path("/meta/id")), ("room".into(), path("/meta/room"))],
        extra: vec![("rssi".into(), path("/meta/radio/0/rssi"))],
        times: Some(vec![path("/meta/ts")]),
        fields: Fields { scale: globs(&[("t", Scale::new(0.1))]), ..Fields::default() },
        ..Case::default()
    });
    let payload = r#"{"meta":{"id":"d1","ts":1700000000.25,"radio":[{"rssi":-80}]},
        "ports":{"a":{"t":3,"on":{"x":true}},"b":{"t":"20"},"empty":{},"sum":5}}"#;
    assert_eq!(
        points(&mapping, payload),
        [
            "m,device=d1,port=a t=0.3,on_x=t,rssi=-80.0 1700000000250000000",
            "m,device=d1,port=b t=2.0,rssi=-80.0 1700000000250000000",
            "m,device=d1 sum=5.0,rssi=-80.0 1700000000250000000",
        ]
    );
}

#[test]
fn the_elements_of_a_selected_array_are_readings_and_a_bad_one_costs_itself() {
    let mapping = mapping(Case {
        select: path("/rows"),
        tags: vec![("id".into(), path("id"))],
        times: Some(vec![path("at"), path("/sent")]),
        ..Case::default()
    });
    let payload =
        r#"{"sent":1700000000,"rows":[{"id":7,"v":1,"at":1700000001},3,{"id":"x","v":2}]}"#;
    let (points, bad) = shown(&mapping, payload);
    assert_eq!(points, ["m,id=7 v=1.0 1700000001000000000", "m,id=x v=2.0 1700000000000000000"]);
    assert_eq!((bad.readings(), bad.listed()[0].index), (1, 1));
}

#[test]
fn the_first_case_that_fits_is_taken_and_what_fits_none_is_refused_or_nothing() {
    let zigbee = Case { select: path("/Zb"), measurement: Some("z".into()), ..Case::default() };
    let other = Case { select: path("/Sns"), ..Case::default() };
    let mut mapping = Mapping { cases: vec![zigbee, other], ..Mapping::default() };
    assert_eq!(points(&mapping, r#"{"Sns":{"t":1},"Zb":{"p":true}}"#), ["z p=t"]);
    assert_eq!(points(&mapping, r#"{"Sns":{"t":1}}"#), ["m t=1.0"]);
    assert_eq!(points(&mapping, r#"{"Sns":21.5}"#), ["m value=21.5"]);
    let (points, bad) = shown(&mapping, r#"{"t":1}"#);
    assert!(points.is_empty());
    assert_eq!(
        bad.listed()[0].reason.text,
        "the payload has no `/Zb` or `/Sns`, where its rule looks for the reading"
    );
    mapping.optional = true;
    let (_, bad) = shown(&mapping, r#"{"t":1}"#);
    assert_eq!((bad.readings(), bad.nothings()), (0, 1));
}

#[test]
fn fields_are_left_out_scaled_typed_and_renamed_in_every_format() {
    let mapping = with_fields(Fields {
        drop: vec![Glob::new("*_raw")],
        only: Some(vec![Glob::new("t*"), Glob::new("n"), Glob::new("b?")]),
        scale: globs(&[("t", Scale::new(0.01))]),
        offset: globs(&[("t", -0.5)]),
        types: globs(&[("n", FieldType::Float), ("b?", FieldType::Boolean)]),
        rename: vec![("t".into(), "temperature".into())],
        ..Fields::default()
    });
    let expected = "m temperature=21.0,n=7.0,b1=t,b2=f";
    let json = r#"{"t":2150,"t_raw":1,"n":"7","b1":"On","b2":0,"x":1}"#;
    assert_eq!(points(&mapping, json), [expected]);
    assert_eq!(points(&mapping, "m t=2150i,t_raw=1,n=7u,b1=t,b2=f,x=1"), [expected]);
    let explicit = r#"{"fields":{"t":2150,"n":7,"b1":true,"b2":"offline"}}"#;
    assert_eq!(points(&mapping, explicit), [expected]);
    let (none, bad) = shown(&mapping, r#"{"x":1}"#);
    assert_eq!((none.len(), bad.readings(), bad.nothings()), (0, 0, 1));
}

#[test]
fn integers_and_texts_keep_every_digit() {
    let mapping = with_fields(Fields {
        types: globs(&[
            ("i*", FieldType::Integer),
            ("u", FieldType::Unsigned),
            ("s", FieldType::Text),
        ]),
        ..Fields::default()
    });
    let payload = r#"{"i":-9007199254740993,"i2":2.5,"i3":-0.4,"u":18446744073709551615,"s":1.50}"#;
    assert_eq!(
        points(&mapping, payload),
        [r#"m i=-9007199254740993i,i2=3i,i3=0i,u=18446744073709551615u,s="1.50""#]
    );
    let explicit = r#"{"fields":{"i":7,"s":true}}"#;
    assert_eq!(points(&mapping, explicit), [r#"m i=7i,s="true""#]);
}

#[test]
fn a_value_that_cannot_have_its_type_costs_its_field() {
    let mapping = with_fields(Fields {
        types: globs(&[
            ("n", FieldType::Float),
            ("u", FieldType::Unsigned),
            ("b", FieldType::Boolean),
        ]),
        scale: globs(&[("s", Scale::new(2.0))]),
        ..Fields::default()
    });
    let (points, bad) = shown(&mapping, r#"{"n":"warm","u":-1,"b":"maybe","s":true,"ok":1}"#);
    assert_eq!(points, ["m ok=1.0"]);
    let told: Vec<_> = bad.listed().iter().map(|bad| bad.reason.text.as_ref()).collect();
    assert_eq!(
        told,
        [
            "its rule wants a number, and `warm` is none",
            "its rule wants an unsigned integer, and `-1` is none",
            "its rule wants a boolean, and `maybe` is none",
            "its rule wants a number, and `true` is none",
        ]
    );
    let (points, bad) = shown(&mapping, "m n=\"warm\"");
    assert_eq!((points.len(), bad.readings(), bad.listed()[0].reason.kind), (0, 1, Kind::Value));
}

#[test]
fn on_and_off_are_booleans_where_a_rule_says_so() {
    let mapping = with_fields(Fields { on_off: true, ..Fields::default() });
    assert_eq!(points(&mapping, r#"{"a":"ON","b":"off","c":"auto"}"#), ["m a=t,b=f,c=\"auto\""]);
    assert_eq!(points(&mapping, "ON"), ["m value=t"]);
}

#[test]
fn parts_are_left_out_by_their_place() {
    let mapping =
        with_fields(Fields { drop_paths: vec![path("/device"), path("x")], ..Fields::default() });
    let payload = r#"{"device":{"model":"a"},"device_model":"b","x":1,"y":{"x":2}}"#;
    assert_eq!(points(&mapping, payload), [r#"m device_model="b",y_x=2.0"#]);
}

/// Two hours east of Greenwich, whatever the date.
#[derive(Debug)]
struct East;

impl Zone for East {
    fn instant(&self, local: LocalTime, _near: Timestamp) -> Option<Timestamp> {
        crate::Timestamp::from_rfc3339(&format!(
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}+02:00",
            local.year, local.month, local.day, local.hour, local.minute, local.second
        ))
    }
}

#[test]
fn a_local_time_is_trusted_with_a_zone_and_a_clock_that_was_never_set_is_not() {
    let mut mapping = Mapping {
        zone: Some(Arc::new(East)),
        trusted_from: Some(Timestamp::from_nanos(1_000_000_000_000_000_000)),
        ..mapping(Case { times: Some(vec![path("Epoch"), path("Time")]), ..Case::default() })
    };
    let local = r#"{"Time":"2021-06-27T15:03:44","t":1}"#;
    assert_eq!(points(&mapping, local), ["m t=1.0 1624799024000000000"]);
    let both = r#"{"Time":"2021-06-27T15:03:44","Epoch":1567595328,"t":1}"#;
    assert_eq!(points(&mapping, both), ["m t=1.0 1567595328000000000"]);
    assert_eq!(
        points(&mapping, r#"{"Epoch":16,"Time":"1970-01-01T00:00:16Z","t":1}"#),
        ["m t=1.0"]
    );
    mapping.cases = vec![Case::default()];
    assert_eq!(points(&mapping, &local.replace("Time", "ts")), ["m t=1.0 1624799024000000000"]);
    mapping.zone = None;
    assert_eq!(points(&mapping, &local.replace("Time", "ts")), ["m t=1.0"]);
    mapping.cases = vec![Case { times: Some(Vec::new()), ..Case::default() }];
    assert_eq!(points(&mapping, r#"{"ts":1700000000,"t":1}"#), ["m ts=1700000000.0,t=1.0"]);
}

#[test]
fn ages_and_devices_are_found_as_without_a_rule() {
    let by_tag = mapping(Case { tags: vec![("room".into(), path("room"))], ..Case::default() });
    let payload = r#"{"device":"d1","room":"a","age_ms":1500,"t":1}"#;
    let at = ARRIVAL.nanos() - 1_500_000_000;
    assert_eq!(points(&by_tag, payload), [format!("m,device=d1,room=a t=1.0 {at}")]);

    let by_id = mapping(Case { tags: vec![("device".into(), path("/id"))], ..Case::default() });
    let (points, bad) = shown(&by_id, r#"{"t":1}"#);
    assert!(points.is_empty());
    assert_eq!(bad.listed()[0].reason.kind, Kind::NoDevice);
    assert_eq!(bad.listed()[0].reason.text, "nothing at `/id` says which device sent it");
}

/// `{"rows":[{"id":7,"v":1.5},{"id":-1,"v":true}]}`, and the same with a tag of its own.
#[test]
fn cbor_and_messagepack_are_seen_as_json_is() {
    let mapping = mapping(Case {
        select: path("/rows"),
        tags: vec![("id".into(), path("id"))],
        ..Case::default()
    });
    let cbor = b"\xA1\x64rows\x82\xA2\x62id\x07\x61v\xF9\x3E\x00\xA2\x62id\x20\x61v\xF5";
    let msgpack = b"\x81\xA4rows\x92\x82\xA2id\x07\xA1v\xCA\x3F\xC0\x00\x00\x82\xA2id\xFF\xA1v\xC3";
    let json = br#"{"rows":[{"id":7,"v":1.5},{"id":-1,"v":true}]}"#;
    let context = Context { measurement: "m", mapping: Some(&mapping), ..context() };
    let (expected, bad) = decoded(|out, bad| json::decode(json, &context, out, bad));
    assert!(bad.is_empty() && expected.len() == 2, "{bad:?}");
    assert_eq!(decoded(|out, bad| cbor::decode(cbor, &context, out, bad)).0, expected);
    assert_eq!(decoded(|out, bad| msgpack::decode(msgpack, &context, out, bad)).0, expected);
}

#[test]
fn depth_and_keys_are_bounded_and_names_do_not_grow() {
    let mapping = mapping(Case { split: Some("part".into()), ..Case::default() });
    let deep = "{\"a\":".repeat(40) + "1" + &"}".repeat(40);
    assert_eq!(shown(&mapping, &deep).1.listed()[0].reason.kind, Kind::Limit);
    let wide: Vec<_> = (0..1025).map(|n| format!("\"k{n}\":null")).collect();
    assert_eq!(
        shown(&mapping, &format!("{{{}}}", wide.join(","))).1.listed()[0].reason.kind,
        Kind::Limit
    );
    let long = "x".repeat(300);
    let (points, bad) =
        shown(&mapping, &format!("{{\"p\":{{\"{long}\":{{\"{long}\":1}},\"t\":1}}}}"));
    assert_eq!((points.as_slice(), bad.fields()), (["m,part=p t=1.0".to_owned()].as_slice(), 1));
}
