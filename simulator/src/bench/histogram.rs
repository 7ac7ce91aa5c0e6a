//! Latencies in microseconds, to within two parts in a hundred, in a fixed 16 kB.

use std::time::Duration;

/// Buckets to each doubling.
const FINE: u64 = 64;
const FINE_BITS: u32 = FINE.ilog2();
const BUCKETS: usize = 2048;

#[derive(Clone, Debug)]
pub struct Histogram {
    counts: Vec<u64>,
    count: u64,
    max: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; BUCKETS], count: 0, max: 0 }
    }
}

impl Histogram {
    pub fn add(&mut self, latency: Duration, times: u64) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        if let Some(count) = self.counts.get_mut(bucket(micros)) {
            *count += times;
        }
        self.count += times;
        self.max = self.max.max(micros);
    }

    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
        self.count += other.count;
        self.max = self.max.max(other.max);
    }

    pub fn count(&self) -> u64 {
        self.count
    }

    pub fn max(&self) -> Duration {
        Duration::from_micros(self.max)
    }

    /// The latency that `part` (0.0 ..= 1.0) of all did not exceed; zero if there were none.
    pub fn quantile(&self, part: f64) -> Duration {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a rank between 1 and the count"
        )]
        let rank = ((self.count as f64 * part).ceil() as u64).max(1);
        let mut below = 0;
        for (index, count) in self.counts.iter().enumerate() {
            below += count;
            if below >= rank {
                return Duration::from_micros(upper(index).min(self.max));
            }
        }
        self.max()
    }
}

/// Below `FINE` a bucket a microsecond; from there on `FINE / 2` buckets each doubling.
fn bucket(micros: u64) -> usize {
    if micros < FINE {
        return usize::try_from(micros).unwrap_or(0);
    }
    let shift = micros.ilog2() - (FINE_BITS - 1);
    let fine = (micros >> shift) - FINE / 2;
    let index = FINE + (u64::from(shift) - 1) * (FINE / 2) + fine;
    usize::try_from(index).unwrap_or(BUCKETS).min(BUCKETS - 1)
}

/// The largest latency that falls into this bucket.
fn upper(index: usize) -> u64 {
    let index = index as u64;
    if index < FINE {
        return index;
    }
    let shift = (index - FINE) / (FINE / 2) + 1;
    let fine = (index - FINE) % (FINE / 2) + FINE / 2;
    ((fine + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_latency_lies_in_its_bucket(micros in 0_u64..1_000_000_000_000) {
            let index = bucket(micros);
            prop_assert!(micros <= upper(index), "{} > {}", micros, upper(index));
            prop_assert!(index == 0 || micros > upper(index - 1));
            #[expect(clippy::cast_precision_loss, reason = "a test of precision")]
            let error = (upper(index) - micros) as f64 / micros.max(1) as f64;
            prop_assert!(error < 0.04);
        }
    }

    #[test]
    fn quantiles_of_a_known_spread() {
        let mut one = Histogram::default();
        let mut two = Histogram::default();
        for millis in 1..=1000 {
            let half = if millis % 2 == 0 { &mut one } else { &mut two };
            half.add(Duration::from_millis(millis), 1);
        }
        one.merge(&two);
        assert_eq!(one.count(), 1000);
        assert_eq!(one.max(), Duration::from_secs(1));
        for (part, millis) in [(0.5, 500.0), (0.99, 990.0), (1.0, 1000.0)] {
            let found = one.quantile(part).as_secs_f64() * 1000.0;
            assert!((found - millis).abs() / millis < 0.04, "{part}: {found}");
        }
        assert_eq!(Histogram::default().quantile(0.5), Duration::ZERO);
    }
}
