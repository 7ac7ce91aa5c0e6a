//! What is done to the gateway, a round each, in an order that the seed decides.

use std::{fmt, time::Duration};

use crate::{
    faulty::{Answer, Behaviour},
    proxy::Weather,
};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Nothing but the kill.
    Kill,
    /// Killed, and once more while it recovers.
    KillTwice,
    /// Stopped for seconds, not killed.
    Stop,
    Database(Sickness),
    /// Between the gateway and its databases.
    ToDatabase(Weather),
    FromDevices(Weather),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sickness {
    Away,
    Hangs,
    Busy,
    Fails,
    SwallowsAnswers,
    Slow,
}

const WEATHERS: [Weather; 5] = [
    Weather::Late(Duration::from_millis(150)),
    Weather::Drip(Duration::from_millis(1)),
    Weather::Hole,
    Weather::Swallow,
    Weather::Cut,
];

const SICKNESSES: [Sickness; 6] = [
    Sickness::Away,
    Sickness::Hangs,
    Sickness::Busy,
    Sickness::Fails,
    Sickness::SwallowsAnswers,
    Sickness::Slow,
];

/// All faults again and again, shuffled anew each time.
#[derive(Debug)]
pub(super) struct Faults {
    all: Vec<Fault>,
    left: Vec<Fault>,
}

impl Faults {
    /// Without a database there is none that could fail.
    pub(super) fn new(has_database: bool) -> Self {
        let mut all = vec![Fault::Kill, Fault::KillTwice, Fault::Stop];
        all.extend(WEATHERS.map(Fault::FromDevices));
        if has_database {
            all.extend(SICKNESSES.map(Fault::Database));
            all.extend(WEATHERS.map(Fault::ToDatabase));
        }
        Self { all, left: Vec::new() }
    }

    pub(super) fn next(&mut self, random: &mut fastrand::Rng) -> Fault {
        loop {
            if let Some(next) = self.left.pop() {
                return next;
            }
            self.left.clone_from(&self.all);
            random.shuffle(&mut self.left);
        }
    }
}

impl Sickness {
    pub(super) fn behaviour(self) -> Behaviour {
        let honest = Behaviour::default();
        match self {
            Self::Away => Behaviour { answer: Answer::Refuse, ..honest },
            Self::Hangs => Behaviour { answer: Answer::Hang, ..honest },
            Self::Busy => Behaviour { answer: Answer::Busy { retry_after_s: Some(1) }, ..honest },
            Self::Fails => Behaviour { answer: Answer::Status { code: 500 }, ..honest },
            Self::SwallowsAnswers => Behaviour { answer: Answer::ApplyThenClose, ..honest },
            Self::Slow => Behaviour { delay_ms: 700, ..honest },
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let weather = |weather: Weather| match weather {
            Weather::Clear => "clear",
            Weather::Late(_) => "late",
            Weather::Drip(_) => "in drips",
            Weather::Hole => "gone silent",
            Weather::Swallow => "without answers",
            Weather::Cut => "cut",
        };
        match self {
            Self::Kill => f.write_str("nothing else"),
            Self::KillTwice => f.write_str("once more while it recovers"),
            Self::Stop => f.write_str("process stands still"),
            Self::Database(sickness) => f.write_str(match sickness {
                Sickness::Away => "database away",
                Sickness::Hangs => "database hangs",
                Sickness::Busy => "database busy (503)",
                Sickness::Fails => "database fails (500)",
                Sickness::SwallowsAnswers => "database stores, then hangs up",
                Sickness::Slow => "database slow",
            }),
            Self::ToDatabase(now) => write!(f, "way to the database {}", weather(*now)),
            Self::FromDevices(now) => write!(f, "way from the devices {}", weather(*now)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_comes_once_before_any_comes_again() {
        let mut random = fastrand::Rng::with_seed(5);
        for has_database in [false, true] {
            let mut faults = Faults::new(has_database);
            let count = faults.all.len();
            let mut words: Vec<_> =
                (0..count).map(|_| faults.next(&mut random).to_string()).collect();
            words.sort_unstable();
            words.dedup();
            assert_eq!(words.len(), count, "{words:?}");
            assert_eq!(words.iter().any(|word| word.contains("database")), has_database);
        }
    }
}
