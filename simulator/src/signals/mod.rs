//! What simulated devices measure. Every value is a pure function of the device and the sequence
//! number, so that a wrong value in a database can be told from a right one without having kept it.
//!
//! Numbers carry at most four decimals and `seq` stays below 2^53: JSON, line protocol and
//! binary frames all carry them exactly. Every number is a float in every encoding, so devices of
//! one kind may use different encodings and still agree on the type of each field.

mod kinds;
mod noise;

use std::time::Duration;

use proto::{Reading, Time, Timestamp, Value};

/// What a device is; also the measurement it writes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Greenhouse,
    Energy,
    Weather,
    Machine,
    /// Sends a block of samples as text that hardly compresses: fills a disk with few readings.
    Recorder,
}

impl Kind {
    /// Those of an ordinary fleet.
    pub const ALL: [Self; 4] = [Self::Greenhouse, Self::Energy, Self::Weather, Self::Machine];

    pub const fn measurement(self) -> &'static str {
        match self {
            Self::Greenhouse => "greenhouse",
            Self::Energy => "energy",
            Self::Weather => "weather",
            Self::Machine => "machine",
            Self::Recorder => "recorder",
        }
    }

    pub fn from_measurement(name: &str) -> Option<Self> {
        let mut all = Self::ALL.into_iter().chain([Self::Recorder]);
        all.find(|kind| kind.measurement() == name)
    }

    /// The numeric field that a summary shows, and its unit.
    pub const fn headline(self) -> (&'static str, &'static str) {
        match self {
            Self::Greenhouse => ("temperature", "°C"),
            Self::Energy => ("power", "W"),
            Self::Weather => ("wind_speed", "m/s"),
            Self::Machine => ("rpm", "1/min"),
            Self::Recorder => ("peak", "V"),
        }
    }

    /// Its place in [`Kind::ALL`], or behind them.
    pub const fn index(self) -> usize {
        match self {
            Self::Greenhouse => 0,
            Self::Energy => 1,
            Self::Weather => 2,
            Self::Machine => 3,
            Self::Recorder => 4,
        }
    }
}

/// The unit in which a device writes its timestamps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    Nanoseconds,
    Milliseconds,
}

/// Everything that determines what a device sends: kept in the ledger's file.
#[derive(Clone, Debug, PartialEq)]
pub struct Device {
    /// The `device` tag: no white space, no control characters.
    pub name: String,
    pub kind: Kind,
    pub seed: u64,
    /// When reading 0 was measured.
    pub start: Timestamp,
    /// From one reading to the next; at least a millisecond.
    pub period: Duration,
    /// How far a reading may come after its turn, as a part of the period: 0.0 ..= 0.9.
    pub jitter: f64,
    pub clock: Clock,
}

impl Device {
    /// When reading `seq` is measured; strictly rising with `seq`.
    pub fn time(&self, seq: u64) -> Timestamp {
        let period = u64::try_from(self.period.as_nanos()).unwrap_or(u64::MAX);
        let late = noise::part(self.seed, 0, seq) * self.jitter.clamp(0.0, 0.9);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a part of the period: positive and below it"
        )]
        let late = (late * period as f64) as u64;
        let since = seq.saturating_mul(period).saturating_add(late);
        let nanos = self.start.nanos().saturating_add(i64::try_from(since).unwrap_or(i64::MAX));
        match self.clock {
            Clock::Nanoseconds => Timestamp::from_nanos(nanos),
            Clock::Milliseconds => Timestamp::from_nanos(nanos - nanos.rem_euclid(1_000_000)),
        }
    }

    /// The fields of reading `seq`, `seq` itself first.
    pub fn fields(&self, seq: u64) -> Vec<(&'static str, Value)> {
        let mut fields = Vec::with_capacity(8);
        #[expect(clippy::cast_precision_loss, reason = "below 2^53, see the head of this file")]
        fields.push(("seq", Value::Float(seq as f64)));
        kinds::measure(self, seq, &mut fields);
        fields
    }

    /// The tags, sorted.
    pub fn tags(&self) -> [(&'static str, String); 2] {
        [("device", self.name.clone()), ("place", format!("hall {}", self.seed % 7))]
    }

    pub fn reading(&self, seq: u64) -> Reading {
        Reading {
            measurement: self.kind.measurement().to_owned(),
            tags: self.tags().map(|(key, value)| (key.to_owned(), value)).to_vec(),
            fields: self.fields(seq).into_iter().map(|(k, v)| (k.to_owned(), v)).collect(),
            time: Time::At(self.time(seq)),
        }
    }

    /// The value that a summary shows.
    pub fn headline(&self, seq: u64) -> f64 {
        let (name, _) = self.kind.headline();
        let fields = self.fields(seq);
        match fields.iter().find(|(field, _)| *field == name) {
            Some((_, Value::Float(value))) => *value,
            _ => f64::NAN,
        }
    }
}

/// A device's seed: the same fleet seed and name always give the same signals.
pub fn seed_of(fleet_seed: u64, name: &str) -> u64 {
    name.bytes().fold(noise::mix(fleet_seed), |hash, byte| noise::mix(hash ^ u64::from(byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(kind: Kind) -> Device {
        Device {
            name: "d-1".to_owned(),
            kind,
            seed: seed_of(7, "d-1"),
            start: Timestamp::from_nanos(1_790_000_000_000_000_123),
            period: Duration::from_millis(250),
            jitter: 0.5,
            clock: Clock::Nanoseconds,
        }
    }

    #[test]
    fn every_value_is_determined_by_device_and_sequence_number() {
        for kind in Kind::ALL {
            let (one, same) = (device(kind), device(kind));
            let backwards: Vec<_> = (0..500).rev().map(|seq| one.reading(seq)).collect();
            let forwards: Vec<_> = (0..500).map(|seq| same.reading(seq)).collect();
            assert!(backwards.into_iter().rev().eq(forwards));
        }
    }

    #[test]
    fn what_a_recorder_sends_differs_with_every_reading_and_is_known_by_name() {
        assert_eq!(Kind::from_measurement("recorder"), Some(Kind::Recorder));
        let recorder = device(Kind::Recorder);
        let samples = |seq| match recorder.fields(seq).pop() {
            Some(("samples", Value::Text(text))) => text,
            other => panic!("{other:?}"),
        };
        assert_eq!(samples(5), samples(5));
        assert_ne!(samples(5), samples(6));
        assert!(
            samples(5).bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        );
    }

    #[test]
    fn devices_differ_from_each_other() {
        let one = device(Kind::Weather);
        let other = Device { seed: seed_of(7, "d-2"), ..device(Kind::Weather) };
        assert_ne!(one.fields(100), other.fields(100));
    }

    #[test]
    fn time_rises_strictly_and_stays_in_its_turn() {
        for clock in [Clock::Nanoseconds, Clock::Milliseconds] {
            let device = Device { clock, jitter: 0.9, ..device(Kind::Energy) };
            for seq in 0..2_000 {
                let turn = device.start.nanos() + i64::try_from(seq).unwrap() * 250_000_000;
                let time = device.time(seq).nanos();
                assert!(time > turn - 1_000_000 && time < turn + 250_000_000, "seq {seq}");
                assert!(device.time(seq + 1) > device.time(seq));
            }
        }
        let device = Device { clock: Clock::Milliseconds, ..device(Kind::Energy) };
        assert_eq!(device.time(17).nanos() % 1_000_000, 0);
    }

    #[test]
    fn values_are_plausible_and_their_text_is_exact() {
        for kind in Kind::ALL {
            let device = device(kind);
            for seq in (0..100_000).step_by(97) {
                for (name, value) in device.fields(seq) {
                    let Value::Float(value) = value else { continue };
                    assert!(value.is_finite() && value.abs() < 1e9, "{name} {value}");
                    assert!(format!("{value:.4}").parse() == Ok(value), "{name} {value}");
                    let text = format!("{value}");
                    assert!(text.len() < 16, "{name} {text}");
                    assert_eq!(text.parse::<f64>().unwrap().to_bits(), value.to_bits());
                }
            }
            assert!(device.headline(3).is_finite());
        }
    }

    #[test]
    fn counters_never_run_backwards() {
        for (kind, counter) in [
            (Kind::Energy, "energy_total"),
            (Kind::Weather, "rain_total"),
            (Kind::Machine, "parts_total"),
        ] {
            let device = device(kind);
            let total = |seq| match device.fields(seq).into_iter().find(|(k, _)| *k == counter) {
                Some((_, Value::Float(value))) => value,
                other => panic!("{counter}: {other:?}"),
            };
            for seq in 0..3_000 {
                assert!(total(seq + 1) >= total(seq), "{counter} at {seq}");
            }
            assert!(total(3_000) > total(0), "{counter} stands still");
        }
    }
}
