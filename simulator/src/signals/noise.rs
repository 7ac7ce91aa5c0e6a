//! Randomness without state: the same question always gets the same answer.
#![expect(clippy::cast_precision_loss, reason = "53 random bits fit a float exactly")]

/// The finalizer of `SplitMix64` (Steele, Lea, Flood 2014).
pub(super) const fn mix(seed: u64) -> u64 {
    let z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A number in `0.0 .. 1.0` for this seed, channel and position.
pub(super) fn part(seed: u64, channel: u64, at: u64) -> f64 {
    (mix(seed ^ mix(channel ^ mix(at))) >> 11) as f64 / (1_u64 << 53) as f64
}

/// A number in `-1.0 .. 1.0` that jumps from one position to the next: a sensor's own noise.
pub(super) fn rough(seed: u64, channel: u64, at: u64) -> f64 {
    part(seed, channel, at) * 2.0 - 1.0
}

/// A number in `-1.0 ..= 1.0` that drifts, with a new direction every `span` positions.
pub(super) fn drift(seed: u64, channel: u64, at: u64, span: u64) -> f64 {
    let knot = at / span;
    let way = (at % span) as f64 / span as f64;
    let ease = way * way * (3.0 - 2.0 * way);
    let (from, to) = (rough(seed, channel, knot), rough(seed, channel, knot + 1));
    from + (to - from) * ease
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_fills_its_range_and_no_more() {
        let values: Vec<f64> = (0..10_000).map(|at| rough(3, 1, at)).collect();
        assert!(values.iter().all(|v| (-1.0..1.0).contains(v)));
        assert!(values.iter().any(|v| *v < -0.99) && values.iter().any(|v| *v > 0.99));
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        assert!(mean.abs() < 0.03, "{mean}");
    }

    #[test]
    fn drift_moves_in_small_steps() {
        let largest = (0..10_000)
            .map(|at| (drift(9, 2, at + 1, 100) - drift(9, 2, at, 100)).abs())
            .fold(0.0, f64::max);
        assert!(largest > 0.0 && largest < 0.04, "{largest}");
    }
}
