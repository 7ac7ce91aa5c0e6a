//! The gateway's own books against what was sent, in readings.
//!
//! ```text
//!   acknowledged <= journaled    every acknowledged one is in a frame; sent again, it may be in two
//!   received = journaled + refused + filtered + duplicate + dropped <= sent + sent again
//!   each output: journaled = confirmed + pending + dead + dropped + filtered + absorbed + quarantined
//!   intake, since the process began: received = returned + booked + on its way
//! ```
//! `/metrics` says the same, as far as the process that answers did it.
//!
//! The first two lines are no equations only where something was sent more than once: an
//! acknowledgement that got lost (a kill, a cut line) leaves a reading in the books that its sender
//! believes to be missing; and what was read from a socket when the process was killed is in no book at
//! all. Where nothing was sent again, they leave no room between them.

use std::{ops::RangeInclusive, time::Duration};

use simulator::{ledger::Ledger, verify::Row, watch::Watch};
use tidegate::app::status::{Output, Status};

use super::{
    gateway::Gateway,
    rig::{OUTPUT, Rig},
    wait_for,
};

/// For the last submissions and counts to be booked.
const BOOKED_MAX: Duration = Duration::from_secs(30);

/// How many readings came to the gateway.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sent {
    pub acknowledged: u64,
    /// Each as often as it was sent.
    pub sent_at_most: u64,
}

impl Sent {
    pub fn by(ledger: &Ledger, watch: &Watch) -> Self {
        let totals = ledger.totals();
        Self { acknowledged: totals.acknowledged, sent_at_most: totals.sent + watch.look().resent }
    }

    /// And so many more: from what was acknowledged to what was sent.
    pub fn and(self, more: RangeInclusive<u64>) -> Self {
        Self {
            acknowledged: self.acknowledged + more.start(),
            sent_at_most: self.sent_at_most + more.end(),
        }
    }

    pub fn and_by(self, ledger: &Ledger, watch: &Watch) -> Self {
        let more = Self::by(ledger, watch);
        self.and(more.acknowledged..=more.sent_at_most)
    }
}

/// Nothing is being sent any more: the books of every output and of intake balance.
pub fn balanced(gateway: &Gateway) -> Status {
    wait_for("balanced books", BOOKED_MAX, || {
        let status = gateway.status();
        let (books, intake) = (&status.books, &status.intake);
        let became =
            books.journaled + books.refused + books.filtered + books.duplicate + books.dropped;
        let is_whole = books.received == became
            && intake.received == intake.returned + intake.booked
            && status.outputs.iter().all(is_balanced);
        if is_whole { Ok(status) } else { Err(format!("{status:#?}")) }
    })
}

/// The metrics say what the status says of this process, and no more than it says of all of them.
pub fn metrics_agree(gateway: &Gateway, status: &Status) {
    let told = |name: &str, labels: &[&str]| gateway.count(&format!("tidegate_{name}"), labels);
    wait_for("metrics that agree", BOOKED_MAX, || {
        let (books, intake) = (&status.books, &status.intake);
        let came_in = [
            ("received", intake.received, Some(intake.received)),
            ("returned", intake.returned, Some(intake.returned)),
            ("refused", books.refused, None),
            ("filtered", books.filtered, None),
            ("duplicate", books.duplicate, None),
            ("dropped", books.dropped, None),
        ];
        for (what, at_most, exactly) in came_in {
            let counted = told(&format!("readings_{what}_total"), &[]);
            // The books are older than a process that was started again.
            let is_right = match exactly.or(gateway.is_first_life().then_some(at_most)) {
                Some(exactly) => counted == exactly,
                None => counted <= at_most,
            };
            if !is_right {
                return Err(format!("{what}: {at_most} in the status, {counted} in the metrics"));
            }
        }
        for output in &status.outputs {
            let of = format!("output=\"{}\"", output.id);
            let pending = told("output_pending_readings", &[&of]);
            let each = ["confirmed", "dead", "dropped", "filtered", "absorbed", "quarantined"];
            let counted =
                each.map(|fate| told("output_readings_total", &[&of, &format!("fate=\"{fate}\"")]));
            let [_, booked_pending, booked @ ..] = fates(output);
            // Books go on where the process before had come to; counters do not.
            let is_right = if gateway.is_first_life() {
                counted == booked
            } else {
                counted.iter().zip(booked).all(|(counted, booked)| *counted <= booked)
            };
            if pending != booked_pending || !is_right {
                return Err(format!("{output:?}: {pending} pending, {counted:?} in the metrics"));
            }
        }
        Ok(())
    });
}

/// In readings on its way.
pub fn is_balanced(output: &Output) -> bool {
    let [journaled, became @ ..] = fates(output);
    journaled == became.iter().sum::<u64>()
}

pub fn of<'a>(status: &'a Status, output: &str) -> &'a Output {
    let found = status.outputs.iter().find(|found| found.id == output);
    found.unwrap_or_else(|| panic!("no output {output} in {status:#?}"))
}

impl Rig {
    /// Everything was delivered, and nothing was lost by a policy: the books say so, and tell no more
    /// and no less than was sent.
    pub fn books_are_right(&self, sent: Sent) -> Status {
        let status = balanced(&self.gateway);
        metrics_agree(&self.gateway, &status);
        let (books, output) = (&status.books, of(&status, OUTPUT));
        let told = format!("{sent:?}\n{books:?}\n{output:?}");
        assert!(sent.acknowledged <= books.journaled, "acknowledged and not in the books: {told}");
        assert!(books.received <= sent.sent_at_most, "booked and never sent: {told}");
        // It was there when the first frame was written.
        assert_eq!(output.journaled, books.journaled, "{told}");
        assert_eq!(output.confirmed, output.journaled, "{told}");
        // The gateway's own probe points come beside, one for each time that it had to ask.
        let is_reading = |row: &Row| row.measurement != "tidegate_probe";
        let points = self.database.rows().iter().filter(|row| is_reading(row)).count() as u64;
        assert!(points <= output.confirmed, "{points} points: {told}");
        println!("{told}");
        status
    }

    /// Killed and started again, the books say what they said.
    pub fn books_survive_a_kill(&mut self, before: &Status) {
        self.gateway.kill();
        self.gateway.run();
        // What was confirmed less than a second before the kill is delivered, and counted, again.
        self.delivered();
        let after = balanced(&self.gateway);
        assert_eq!(after.books, before.books);
        for output in &before.outputs {
            assert_eq!(fates(of(&after, &output.id)), fates(output), "{}", output.id);
        }
    }
}

fn fates(output: &Output) -> [u64; 8] {
    let Output { journaled, pending, confirmed, dead, dropped, .. } = *output;
    let Output { filtered, absorbed, quarantined, .. } = *output;
    [journaled, pending, confirmed, dead, dropped, filtered, absorbed, quarantined]
}
