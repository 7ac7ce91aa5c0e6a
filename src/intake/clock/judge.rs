//! Whether the machine's wall clock can be believed. Pure: what is seen is passed in.
//!
//! A small box without a battery-backed clock starts somewhere in the past, and is put right by the
//! network seconds or days later. An ordinary PC, virtual machine or container is right from the
//! start, often without saying so. So a clock is believed if anything vouches for it, and doubted
//! only where something could vouch and does not.

use std::{fmt, time::Duration};

use proto::Timestamp;

/// Nothing that tidegate stamps was before this: 2026-01-01.
pub const RELEASED: Timestamp = Timestamp::from_nanos(1_767_225_600_000_000_000);
/// Clocks that differ by less may mean the same time, in another zone.
const DAY: Duration = Duration::from_hours(24);

/// `[clock] believe`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Believe {
    /// If something vouches for it, or nothing on this machine could.
    #[default]
    Auto,
    /// Whatever it says.
    Always,
}

/// Who can say that a wall clock is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Vouchers {
    /// The kernel's word (NTP, PTP, a time daemon); `None`: it cannot be asked.
    pub synchronised: Option<bool>,
    /// The kernel itself read a clock that goes on without power, or its host's, before anything
    /// else ran.
    pub persistent: bool,
    /// What a battery-backed clock says now that set the time at the boot.
    pub rtc: Option<Timestamp>,
}

impl Vouchers {
    /// The time came from a clock that needs no network.
    pub fn has_battery(&self) -> bool {
        self.persistent || self.rtc.is_some()
    }
}

/// A look at the clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    pub wall: Timestamp,
    /// Nanoseconds since the boot, time asleep included: nobody sets this one.
    pub running_ns: i64,
    pub vouchers: Vouchers,
}

impl Seen {
    /// The wall clock as an offset to the time since boot.
    pub fn offset_ns(&self) -> i64 {
        self.wall.nanos().saturating_sub(self.running_ns)
    }
}

/// What is known beside what is seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// When the journal was last written, by a clock that need not have been right.
    pub last_begun: Option<Timestamp>,
    /// The right time as an offset to the time since boot, learnt earlier in this boot.
    pub offset_ns: Option<i64>,
}

/// Why a clock is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    Configured,
    Synchronised,
    /// As it was earlier in this boot.
    Earlier,
    Persistent,
    /// Nothing here could say, so nothing will.
    Unseen,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// Before this release was made.
    TooEarly,
    /// Before the journal was last written.
    BeforeJournal,
    /// Neither the network nor a battery-backed clock has set it.
    NotSet,
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooEarly => "that is before this release was made",
            Self::BeforeJournal => "that is long before the journal was last written",
            Self::NotSet => "neither the network nor a battery-backed clock has set it",
        })
    }
}

pub fn judge(believe: Believe, seen: &Seen, known: &Known) -> Result<Evidence, Doubt> {
    let Seen { wall, running_ns, vouchers } = *seen;
    if believe == Believe::Always {
        return Ok(Evidence::Configured);
    }
    if wall < RELEASED {
        return Err(Doubt::TooEarly);
    }
    if vouchers.synchronised == Some(true) {
        return Ok(Evidence::Synchronised);
    }
    let is_as_known =
        |offset: i64| is_near(wall, Timestamp::from_nanos(running_ns.saturating_add(offset)));
    if known.offset_ns.is_some_and(is_as_known) {
        return Ok(Evidence::Earlier);
    }
    // A box that was switched off for a year and whose battery died, say.
    if known.last_begun.is_some_and(|begun| wall < begun && !is_near(wall, begun)) {
        return Err(Doubt::BeforeJournal);
    }
    // A system may have moved the time on since (to when it was last up, say): then the battery's
    // clock is not what it comes from.
    let is_of_rtc = |rtc: Timestamp| rtc >= RELEASED && is_near(wall, rtc);
    if vouchers.persistent || vouchers.rtc.is_some_and(is_of_rtc) {
        return Ok(Evidence::Persistent);
    }
    match vouchers.synchronised {
        None if !vouchers.has_battery() => Ok(Evidence::Unseen),
        _ => Err(Doubt::NotSet),
    }
}

fn is_near(one: Timestamp, other: Timestamp) -> bool {
    one.saturating_since(other) <= DAY && other.saturating_since(one) <= DAY
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_nanos(RELEASED.nanos() + 500 * DAY_NS);
    const DAY_NS: i64 = 86_400_000_000_000;

    fn seen(wall: Timestamp, vouchers: Vouchers) -> Seen {
        Seen { wall, running_ns: 60_000_000_000, vouchers }
    }

    fn auto(wall: Timestamp, vouchers: Vouchers) -> Result<Evidence, Doubt> {
        judge(Believe::Auto, &seen(wall, vouchers), &Known::default())
    }

    const NOBODY: Vouchers = Vouchers { synchronised: Some(false), persistent: false, rtc: None };

    #[test]
    fn a_box_without_a_battery_is_doubted_until_the_network_has_set_it() {
        assert_eq!(auto(NOW, NOBODY), Err(Doubt::NotSet));
        let set = Vouchers { synchronised: Some(true), ..NOBODY };
        assert_eq!(auto(NOW, set), Ok(Evidence::Synchronised));
    }

    #[test]
    fn a_pc_a_virtual_machine_and_a_sealed_container_are_believed_at_once() {
        let pc = Vouchers { persistent: true, ..NOBODY };
        assert_eq!(auto(NOW, pc), Ok(Evidence::Persistent));
        let arm = Vouchers { rtc: Some(NOW), ..NOBODY };
        assert_eq!(auto(NOW, arm), Ok(Evidence::Persistent));
        let sealed = Vouchers { synchronised: None, ..NOBODY };
        assert_eq!(auto(NOW, sealed), Ok(Evidence::Unseen));
    }

    #[test]
    fn nothing_vouches_for_a_time_before_the_release() {
        let all = Vouchers { synchronised: Some(true), persistent: true, rtc: Some(NOW) };
        let early = Timestamp::from_nanos(RELEASED.nanos() - 1);
        assert_eq!(auto(early, all), Err(Doubt::TooEarly));
        let always = judge(Believe::Always, &seen(early, NOBODY), &Known::default());
        assert_eq!(always, Ok(Evidence::Configured));
    }

    #[test]
    fn a_battery_whose_clock_says_something_else_did_not_set_this_time() {
        let far = Timestamp::from_nanos(NOW.nanos() - 2 * DAY_NS);
        assert_eq!(auto(NOW, Vouchers { rtc: Some(far), ..NOBODY }), Err(Doubt::NotSet));
        let other_zone = Timestamp::from_nanos(NOW.nanos() - DAY_NS / 2);
        let zone = Vouchers { rtc: Some(other_zone), ..NOBODY };
        assert_eq!(auto(NOW, zone), Ok(Evidence::Persistent));
        let dead = Vouchers { rtc: Some(Timestamp::UNIX_EPOCH), ..NOBODY };
        assert_eq!(auto(NOW, dead), Err(Doubt::NotSet));
    }

    #[test]
    fn what_was_believed_earlier_in_this_boot_is_believed_again_though_the_network_is_gone() {
        let known = |offset_ns| Known { offset_ns: Some(offset_ns), last_begun: None };
        let seen = seen(NOW, NOBODY);
        let judged = |known| judge(Believe::Auto, &seen, &known);
        assert_eq!(judged(known(seen.offset_ns())), Ok(Evidence::Earlier));
        assert_eq!(judged(known(seen.offset_ns() + 2 * DAY_NS)), Err(Doubt::NotSet));
    }

    #[test]
    fn a_time_long_before_the_journals_needs_the_network() {
        let known = Known {
            last_begun: Some(Timestamp::from_nanos(NOW.nanos() + 2 * DAY_NS)),
            offset_ns: None,
        };
        let pc = Vouchers { persistent: true, ..NOBODY };
        let judged = |vouchers| judge(Believe::Auto, &seen(NOW, vouchers), &known);
        assert_eq!(judged(pc), Err(Doubt::BeforeJournal));
        let set = Vouchers { synchronised: Some(true), ..pc };
        assert_eq!(judged(set), Ok(Evidence::Synchronised));
    }
}
