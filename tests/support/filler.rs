//! Readings whose only purpose is to fill a journal: values that do not compress well, a POST at a time.

use std::{collections::BTreeSet, fmt::Write as _, ops::Range, time::Duration};

use simulator::verify::Row;

use super::{
    books,
    gateway::Gateway,
    http::{Answer, post},
    wait_for,
};

pub const MEASUREMENT: &str = "filler";
/// Readings of one POST.
pub const LINES: u64 = 500;
/// Words of 16 letters in a reading.
const WORDS: u64 = 12;

/// The same of `Poster`: few readings fill much.
const LARGE_LINES: u64 = 16;
const LARGE_WORDS: u64 = 1_000;

/// Posts until it is answered 503; the readings that were acknowledged, and that answer. The last
/// POST may have been stored in part: that is at least once, as it was not acknowledged.
pub fn until_full(port: u16) -> (u64, Answer) {
    let mut posted = 0;
    for round in 0..4_000 {
        let body = lines(round * LINES..(round + 1) * LINES, WORDS);
        let answer = post(port, "/write?db=x", &[], body.as_bytes()).unwrap();
        match answer.status {
            204 => posted += LINES,
            503 => return (posted, answer),
            other => panic!("{other} {} {}", answer.head, answer.body),
        }
    }
    panic!("never full after {posted} readings");
}

/// Posts numbered readings, one POST after another, and knows in which order they lie in a journal that
/// nobody else writes to.
#[derive(Debug, Default)]
pub struct Poster {
    next: u64,
    /// The number of every reading in the journal. One that was posted again is in it twice.
    pub order: Vec<u64>,
}

impl Poster {
    /// `Err`: not acknowledged. `recount` before the next one.
    pub fn post(&mut self, gateway: &Gateway) -> Result<(), String> {
        let numbers = self.next..self.next + LARGE_LINES;
        let body = lines(numbers.clone(), LARGE_WORDS);
        let answer = post(gateway.http_port, "/write?db=x", &[], body.as_bytes())?;
        if answer.status != 204 {
            return Err(format!("{} {}", answer.head, answer.body));
        }
        self.next = numbers.end;
        self.order.extend(numbers);
        Ok(())
    }

    /// Until so many more are acknowledged, patiently while the journal is full for a moment.
    pub fn post_more(&mut self, gateway: &Gateway, readings: u64) {
        let until = self.next + readings;
        wait_for("readings in the journal", Duration::from_mins(1), || {
            while self.next < until {
                if let Err(why) = self.post(gateway) {
                    self.recount(gateway);
                    return Err(why);
                }
            }
            Ok(())
        });
    }

    /// How much of the last POST is in the journal, though it was not acknowledged.
    pub fn recount(&mut self, gateway: &Gateway) {
        let journaled = books::balanced(gateway).books.journaled;
        let more = journaled - self.order.len() as u64;
        assert!(more <= LARGE_LINES, "{more} more than were acknowledged");
        self.order.extend(self.next..self.next + more);
    }
}

/// The numbers of the readings among those rows, each of which has what was posted.
pub fn numbers(rows: &[Row]) -> BTreeSet<u64> {
    let rows = rows.iter().filter(|row| row.measurement == MEASUREMENT);
    rows.map(|row| u64::try_from(row.time).unwrap() - 1).collect()
}

fn lines(numbers: Range<u64>, words: u64) -> String {
    let mut body = String::new();
    for n in numbers {
        write!(body, "{MEASUREMENT},device=f{} text=\"", n % 7).unwrap();
        for word in 0..words {
            write!(body, "{:016x}", noise(n * words + word)).unwrap();
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
