//! Readings whose only purpose is to fill a journal: values that do not compress well, a POST at a time.

use std::fmt::Write as _;

use super::http::{Answer, post};

pub const MEASUREMENT: &str = "filler";
/// Readings of one POST.
pub const LINES: u64 = 500;

/// Posts until it is answered 503; the readings that were acknowledged, and that answer. The last
/// POST may have been stored in part: that is at least once, as it was not acknowledged.
pub fn until_full(port: u16) -> (u64, Answer) {
    let mut posted = 0;
    for round in 0..4_000 {
        let answer = post(port, "/write?db=x", &[], lines(round).as_bytes()).unwrap();
        match answer.status {
            204 => posted += LINES,
            503 => return (posted, answer),
            other => panic!("{other} {} {}", answer.head, answer.body),
        }
    }
    panic!("never full after {posted} readings");
}

fn lines(round: u64) -> String {
    let mut body = String::new();
    for n in round * LINES..(round + 1) * LINES {
        write!(body, "{MEASUREMENT},device=f{} text=\"", n % 7).unwrap();
        for word in 0..12 {
            write!(body, "{:016x}", noise(n * 12 + word)).unwrap();
        }
        writeln!(body, "\" {}", n + 1).unwrap();
    }
    body
}

/// Splitmix64.
fn noise(n: u64) -> u64 {
    let mixed = n.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}
