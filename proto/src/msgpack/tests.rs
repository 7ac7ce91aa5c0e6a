//! `MessagePack` in: every type of its specification, and its timestamps.

use super::*;
use crate::{
    Time, Timestamp,
    testing::{context, decoded, hex, line},
};

fn shown(payload: &[u8]) -> String {
    let (readings, bad) = decoded(|out, bad| decode(payload, &context(), out, bad));
    match (readings.as_slice(), bad.listed()) {
        ([reading], []) => line(reading).trim_start_matches("readings ").to_owned(),
        ([], []) => "nothing".to_owned(),
        ([], [refused]) => format!("refused: {}", refused.reason),
        both => panic!("{payload:02x?}: {both:?}"),
    }
}

#[test]
fn every_type_is_read() {
    const BYTES: &str = "refused: 1 bytes, which no field can hold";
    const EXTENSION: &str = "refused: an extension, which no field can hold";
    for (value, expected) in [
        ("00", "value=0.0"),
        ("7f", "value=127.0"),
        ("ff", "value=-1.0"),
        ("e0", "value=-32.0"),
        ("c0", "nothing"),
        ("c2", "value=f"),
        ("c3", "value=t"),
        ("ccff", "value=255.0"),
        ("cdffff", "value=65535.0"),
        ("ceffffffff", "value=4294967295.0"),
        ("cf0000000100000000", "value=4294967296.0"),
        ("cfffffffffffffffff", "value=1.8446744073709552e+19"),
        ("d080", "value=-128.0"),
        ("d18000", "value=-32768.0"),
        ("d280000000", "value=-2147483648.0"),
        ("d3ffdfffffffffffff", "value=-9007199254740992.0"),
        ("ca3dcccccd", "value=0.1"),
        ("cb3fb999999999999a", "value=0.1"),
        ("ca7fc00000", "refused: not a finite number"),
        ("cbfff0000000000000", "refused: not a finite number"),
        ("a0", "nothing"),
        ("a24f4e", "value=\"ON\""),
        ("d9024f4e", "value=\"ON\""),
        ("da00024f4e", "value=\"ON\""),
        ("db000000024f4e", "value=\"ON\""),
        ("a1ff", "refused: a text that is not UTF-8"),
        ("c40101", BYTES),
        ("c5000101", BYTES),
        ("c60000000101", BYTES),
        ("d40700", EXTENSION),
        ("d5070000", EXTENSION),
        ("d60700000000", EXTENSION),
        ("d7070000000000000000", EXTENSION),
        ("d80700000000000000000000000000000000", EXTENSION),
        ("c7010700", EXTENSION),
        ("c800010700", EXTENSION),
        ("c9000000010700", EXTENSION),
        ("920102", "value_0=1.0,value_1=2.0"),
        ("dc00020102", "value_0=1.0,value_1=2.0"),
        ("dd000000020102", "value_0=1.0,value_1=2.0"),
        ("81a17401", "t=1.0"),
        ("de0001a17401", "t=1.0"),
        ("df00000001a17401", "t=1.0"),
        ("8105ff", "5=-1.0"),
        ("80", "refused: the reading has no field"),
        ("90", "nothing"),
    ] {
        assert_eq!(shown(&hex(value)), expected, "{value}");
    }
}

/// `{"t":1,"ts":...}`
fn timed(time: &str) -> Vec<u8> {
    [hex("82 a174 01 a27473"), hex(time)].concat()
}

#[test]
fn timestamps_of_all_three_lengths_are_the_time() {
    for (time, nanos) in [
        ("d6ff514b67b0", 1_363_896_240_000_000_000),
        ("d7ff77359400514b67b0", 1_363_896_240_500_000_000),
        ("c70cff1dcd6500ffffffffffffffff", -500_000_000),
        ("c70cff000000010000000218711a00", 9_000_000_000_000_000_001),
        ("ce514b67b0", 1_363_896_240_000_000_000),
    ] {
        let (readings, bad) = decoded(|out, bad| decode(&timed(time), &context(), out, bad));
        assert!(bad.is_empty(), "{time}: {bad:?}");
        assert_eq!(readings[0].time, Time::At(Timestamp::from_nanos(nanos)), "{time}");
    }
    assert_eq!(shown(&hex("81a27374d6ff514b67b0")), "st=1363896240.0", "elsewhere its seconds");
    assert!(shown(&timed("c70cff000000007fffffffffffffff")).contains("1677"));
    for wrong in ["d5ff0000", "d7ffffffffff514b67b0", "c70cff3b9aca000000000000000000"] {
        let (readings, bad) = decoded(|out, bad| decode(&timed(wrong), &context(), out, bad));
        assert_eq!((readings.len(), bad.fields()), (1, 1), "{wrong}: it costs itself");
    }
}

#[test]
fn what_is_no_messagepack_is_refused_by_the_byte() {
    for (payload, reason) in [
        ("", "an empty payload"),
        ("81", "byte 1: the payload breaks off"),
        ("81a2", "byte 2: the payload breaks off"),
        ("cd00", "byte 1: the payload breaks off"),
        ("c1", "byte 0: 0xC1, which MessagePack has not"),
        ("81c301", "byte 1: a key that is neither a text nor an integer"),
        ("81c4016101", "byte 1: a key that is neither a text nor an integer"),
        ("d6ff5161", "byte 2: the payload breaks off"),
    ] {
        let (_, bad) = decoded(|out, bad| decode(&hex(payload), &context(), out, bad));
        assert_eq!(bad.listed()[0].reason.to_string(), reason, "{payload}");
        assert_eq!(bad.readings(), 1, "{payload}");
    }
}
