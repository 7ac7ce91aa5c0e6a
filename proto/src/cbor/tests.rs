//! CBOR in: the examples of RFC 8949 Appendix A one by one, and what JSON has not.

use super::*;
use crate::{
    Kind, Time, Timestamp, Value,
    testing::{context, decoded, hex, line},
};

/// What the only item of a payload becomes: its fields, `nothing`, or why it is refused.
fn shown(payload: &[u8]) -> String {
    let (readings, bad) = decoded(|out, bad| decode(payload, &context(), out, bad));
    match (readings.as_slice(), bad.listed()) {
        ([reading], []) => line(reading).trim_start_matches("readings ").to_owned(),
        ([], []) => "nothing".to_owned(),
        ([], [refused]) => format!("refused: {}", refused.reason),
        both => panic!("{payload:02x?}: {both:?}"),
    }
}

const SIMPLE: &str = "refused: a simple value, which no field can hold";
const NOT_FINITE: &str = "refused: not a finite number";
const TO_25: &str = "value_0=1.0,value_1=2.0,value_2=3.0,value_3=4.0,value_4=5.0,value_5=6.0,\
    value_6=7.0,value_7=8.0,value_8=9.0,value_9=10.0,value_10=11.0,value_11=12.0,\
    value_12=13.0,value_13=14.0,value_14=15.0,value_15=16.0,value_16=17.0,value_17=18.0,\
    value_18=19.0,value_19=20.0,value_20=21.0,value_21=22.0,value_22=23.0,value_23=24.0,\
    value_24=25.0";

/// Every item of Appendix A, in its order. Integers are floats here; what is no field is refused.
const EXAMPLES: &[(&str, &str)] = &[
    ("00", "value=0.0"),
    ("01", "value=1.0"),
    ("0a", "value=10.0"),
    ("17", "value=23.0"),
    ("1818", "value=24.0"),
    ("1819", "value=25.0"),
    ("1864", "value=100.0"),
    ("1903e8", "value=1000.0"),
    ("1a000f4240", "value=1000000.0"),
    ("1b000000e8d4a51000", "value=1000000000000.0"),
    ("1bffffffffffffffff", "value=1.8446744073709552e+19"),
    ("c249010000000000000000", "value=1.8446744073709552e+19"),
    ("3bffffffffffffffff", "value=-1.8446744073709552e+19"),
    ("c349010000000000000000", "value=-1.8446744073709552e+19"),
    ("20", "value=-1.0"),
    ("29", "value=-10.0"),
    ("3863", "value=-100.0"),
    ("3903e7", "value=-1000.0"),
    ("f90000", "value=0.0"),
    ("f98000", "value=-0.0"),
    ("f93c00", "value=1.0"),
    ("fb3ff199999999999a", "value=1.1"),
    ("f93e00", "value=1.5"),
    ("f97bff", "value=65504.0"),
    ("fa47c35000", "value=100000.0"),
    // The RFC writes this single as the double it is; we keep a single's own decimal.
    ("fa7f7fffff", "value=3.4028235e+38"),
    ("fb7e37e43c8800759c", "value=1e+300"),
    ("f90001", "value=5.960464477539063e-8"),
    ("f90400", "value=0.00006103515625"),
    ("f9c400", "value=-4.0"),
    ("fbc010666666666666", "value=-4.1"),
    ("f97c00", NOT_FINITE),
    ("f97e00", NOT_FINITE),
    ("f9fc00", NOT_FINITE),
    ("fa7f800000", NOT_FINITE),
    ("fa7fc00000", NOT_FINITE),
    ("faff800000", NOT_FINITE),
    ("fb7ff0000000000000", NOT_FINITE),
    ("fb7ff8000000000000", NOT_FINITE),
    ("fbfff0000000000000", NOT_FINITE),
    ("f4", "value=f"),
    ("f5", "value=t"),
    ("f6", "nothing"),
    ("f7", "nothing"),
    ("f0", SIMPLE),
    ("f818", "refused: byte 2: a simple value that is written too long"),
    ("f8ff", SIMPLE),
    ("c074323031332d30332d32315432303a30343a30305a", "value=\"2013-03-21T20:04:00Z\""),
    ("c11a514b67b0", "value=1363896240.0"),
    ("c1fb41d452d9ec200000", "value=1363896240.5"),
    ("d74401020304", "refused: 4 bytes, which no field can hold"),
    ("d818456449455446", "refused: 5 bytes, which no field can hold"),
    ("d82076687474703a2f2f7777772e6578616d706c652e636f6d", "value=\"http://www.example.com\""),
    ("40", "refused: 0 bytes, which no field can hold"),
    ("4401020304", "refused: 4 bytes, which no field can hold"),
    ("60", "nothing"),
    ("6161", "value=\"a\""),
    ("6449455446", "value=\"IETF\""),
    ("62225c", "value=\"\\\"\\\\\""),
    ("62c3bc", "value=\"ü\""),
    ("63e6b0b4", "value=\"水\""),
    ("64f0908591", "value=\"𐅑\""),
    ("80", "nothing"),
    ("83010203", "value_0=1.0,value_1=2.0,value_2=3.0"),
    ("8301820203820405", "value_0=1.0,value_1_0=2.0,value_1_1=3.0,value_2_0=4.0,value_2_1=5.0"),
    ("98190102030405060708090a0b0c0d0e0f101112131415161718181819", TO_25),
    ("a0", "refused: the reading has no field"),
    ("a201020304", "1=2.0,3=4.0"),
    ("a26161016162820203", "a=1.0,b_0=2.0,b_1=3.0"),
    ("826161a161626163", "value_0=\"a\",value_1_b=\"c\""),
    ("a56161614161626142616361436164614461656145", "a=\"A\",b=\"B\",c=\"C\",d=\"D\",e=\"E\""),
    ("5f42010243030405ff", "refused: bytes in pieces, which no field can hold"),
    ("7f657374726561646d696e67ff", "value=\"streaming\""),
    ("9fff", "nothing"),
    ("9f018202039f0405ffff", "value_0=1.0,value_1_0=2.0,value_1_1=3.0,value_2_0=4.0,value_2_1=5.0"),
    ("9f01820203820405ff", "value_0=1.0,value_1_0=2.0,value_1_1=3.0,value_2_0=4.0,value_2_1=5.0"),
    ("83018202039f0405ff", "value_0=1.0,value_1_0=2.0,value_1_1=3.0,value_2_0=4.0,value_2_1=5.0"),
    ("83019f0203ff820405", "value_0=1.0,value_1_0=2.0,value_1_1=3.0,value_2_0=4.0,value_2_1=5.0"),
    ("9f0102030405060708090a0b0c0d0e0f101112131415161718181819ff", TO_25),
    ("bf61610161629f0203ffff", "a=1.0,b_0=2.0,b_1=3.0"),
    ("826161bf61626163ff", "value_0=\"a\",value_1_b=\"c\""),
    ("bf6346756ef563416d7421ff", "Fun=t,Amt=-2.0"),
];

#[test]
fn the_examples_of_the_rfc_are_read() {
    for (item, expected) in EXAMPLES {
        assert_eq!(shown(&hex(item)), *expected, "{item}");
    }
}

#[test]
fn numbers_that_no_machine_word_holds_are_read() {
    // RFC 8949 section 3.4.4: 273.15 as a decimal fraction.
    assert_eq!(shown(&hex("c48221196ab3")), "value=273.15");
    assert_eq!(shown(&hex("c48220c249010000000000000000")), "value=1.8446744073709553e+18");
    assert_eq!(shown(&hex("c4821b7fffffffffffffff01")), "refused: not a finite number");
    assert_eq!(shown(&hex("c240")), "value=0.0");
    assert_eq!(shown(&hex("c340")), "value=-1.0");
    assert_eq!(shown(&hex("c25000000000000000000000000000000007")), "value=7.0");
    assert_eq!(shown(&hex("c250ffffffffffffffffffffffffffffffff")), "value=3.402823669209385e+38");
    assert_eq!(
        shown(&hex("c35101ffffffffffffffffffffffffffffffff")),
        "value=-6.80564733841877e+38"
    );
    assert_eq!(shown(&[&hex("c258ff")[..], &[0xFF; 255]].concat()), "refused: not a finite number");
    for wrong in ["c48101", "c4820161", "c48261", "c4826161f4", "c49f0101ff", "c482c48201010101"] {
        assert!(shown(&hex(wrong)).starts_with("refused: byte"), "{wrong}");
    }
}

/// `{"t":1,"ts":...}`
fn at(time: &str) -> Time {
    let payload = [hex("a2 6174 01 627473"), hex(time)].concat();
    let (readings, bad) = decoded(|out, bad| decode(&payload, &context(), out, bad));
    assert!(bad.is_empty(), "{time}: {bad:?}");
    readings[0].time
}

#[test]
fn a_tagged_time_is_the_time_whatever_its_size() {
    let nanos = |nanos| Time::At(Timestamp::from_nanos(nanos));
    assert_eq!(at("c11a514b67b0"), nanos(1_363_896_240_000_000_000));
    assert_eq!(at("c1fb41d452d9ec200000"), nanos(1_363_896_240_500_000_000));
    assert_eq!(at("c11b0000000218711a00"), nanos(9_000_000_000_000_000_000), "seconds, not ms");
    assert_eq!(at("c120"), nanos(-1_000_000_000));
    assert_eq!(
        at("c074323031332d30332d32315432303a30343a30305a"),
        nanos(1_363_896_240_000_000_000)
    );
    assert_eq!(at("1a514b67b0"), nanos(1_363_896_240_000_000_000), "without a tag by its size");
    for far in ["c11bffffffffffffffff", "c1fb7e37e43c8800759c", "c13bffffffffffffffff"] {
        let payload = [hex("a2 6174 01 627473"), hex(far)].concat();
        assert!(shown(&payload).contains("1677"), "{far}");
    }
    // {"t":1,"ts":1(NaN)}: a time that is none costs itself.
    let (readings, bad) = decoded(|out, bad| {
        decode(&hex("a2 6174 01 627473 c1f97e00"), &context(), out, bad);
    });
    assert_eq!((readings.len(), bad.fields()), (1, 1));
}

#[test]
fn tags_that_say_nothing_here_are_not_looked_at() {
    // 55799({"t": 21(1.5)}), and a tag around an array of maps.
    assert_eq!(shown(&hex("d9d9f7a16174d5f93e00")), "t=1.5");
    assert_eq!(shown(&hex("d9d9f781a1617401")), "t=1.0");
}

#[test]
fn what_no_field_can_hold_costs_its_field() {
    // {"a": h'01', "b": "\xFF", "c": simple(5), 3: 1, "device": h'02'}
    let payload = hex("a5 6161 4101 6162 61ff 6163 e5 03 01 66646576696365 4102");
    let (readings, bad) = decoded(|out, bad| decode(&payload, &context(), out, bad));
    assert_eq!(readings[0].fields, [("3".to_owned(), Value::Float(1.0))]);
    assert_eq!((bad.readings(), bad.fields()), (0, 4));
    let names: Vec<_> = bad.listed().iter().filter_map(|reject| reject.field.clone()).collect();
    assert_eq!(names, ["a", "b", "c", "device"]);
}

#[test]
fn a_bad_map_among_good_ones_costs_itself() {
    // [{"t":1}, {h'':1}, 7, {"t":nested 40 deep}, {"t":2}]
    let deep = "81".repeat(40);
    let payload = hex(&format!("85 a1617401 a14001 07 a16174{deep}01 a1617402"));
    let (readings, bad) = decoded(|out, bad| decode(&payload, &context(), out, bad));
    assert_eq!((readings.len(), bad.readings()), (2, 3));
    let refused: Vec<_> = bad
        .listed()
        .iter()
        .map(|reject| (reject.index, reject.span.clone(), reject.reason.kind))
        .collect();
    assert_eq!(
        refused,
        [(1, 5..8, Kind::Undecodable), (2, 8..9, Kind::Undecodable), (3, 9..53, Kind::Limit),]
    );
}

#[test]
fn items_come_one_after_the_other() {
    let payload = hex("a1617401 a1617402 82a1617403a1617404 ff a1617405");
    let (readings, bad) = decoded(|out, bad| decode(&payload, &context(), out, bad));
    assert_eq!(readings.len(), 4);
    assert_eq!(
        bad.listed()[0].reason.to_string(),
        "byte 17: an end mark where an item was expected"
    );
    assert_eq!(bad.listed()[0].span, 17..22, "what follows cannot be told apart");
}

#[test]
fn what_is_no_cbor_is_refused_by_the_byte() {
    for (payload, reason) in [
        ("", "an empty payload"),
        ("a1", "byte 1: the payload breaks off"),
        ("a161", "byte 2: the payload breaks off"),
        ("18", "byte 1: the payload breaks off"),
        ("1c", "byte 0: a length that CBOR has not"),
        ("1f", "byte 0: a length that CBOR has not"),
        ("df01", "byte 0: a length that CBOR has not"),
        ("ff", "byte 0: an end mark where an item was expected"),
        ("a1f501", "byte 1: a key that is neither a text nor an integer"),
        ("7f4161ff", "byte 1: a piece that is not of its string's kind"),
        ("7f7f6161ffff", "byte 1: a piece that is not of its string's kind"),
        ("bf6161ff", "byte 3: an end mark where an item was expected"),
    ] {
        let (_, bad) = decoded(|out, bad| decode(&hex(payload), &context(), out, bad));
        assert_eq!(bad.listed()[0].reason.to_string(), reason, "{payload}");
        assert_eq!(bad.readings(), 1, "{payload}");
    }
}
