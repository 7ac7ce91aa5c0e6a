//! Times and sizes as the gateway's configuration has them, `"500ms"` and `"4GiB"`; `None` for what is
//! neither, which the gateway will complain of itself.

use std::time::Duration;

const TIMES: [(&str, u64); 6] =
    [("ms", 1), ("s", 1_000), ("m", 60_000), ("min", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
const SIZES: [(&str, u64); 9] = [
    ("B", 1),
    ("kB", 1_000),
    ("KiB", 1 << 10),
    ("MB", 1_000_000),
    ("MiB", 1 << 20),
    ("GB", 1_000_000_000),
    ("GiB", 1 << 30),
    ("TB", 1_000_000_000_000),
    ("TiB", 1 << 40),
];

pub(super) fn duration(text: &str) -> Option<Duration> {
    quantity(text, &TIMES).and_then(|ms| Duration::try_from_secs_f64(ms / 1_000.0).ok())
}

/// To the next whole byte; what is larger than any disk is the largest.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "never negative, and an `as` cast saturates"
)]
pub(super) fn bytes(text: &str) -> Option<u64> {
    quantity(text, &SIZES).map(|bytes| bytes.round() as u64)
}

#[expect(clippy::cast_precision_loss, reason = "units are powers that a float holds exactly")]
fn quantity(text: &str, units: &[(&str, u64)]) -> Option<f64> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '_')?;
    let (number, unit) = text.split_at_checked(end)?;
    let (_, factor) = units.iter().find(|(name, _)| *name == unit.trim_start())?;
    let number: f64 = number.replace('_', "").parse().ok()?;
    Some(number * *factor as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_gateway_reads() {
        assert_eq!(duration("1.5s"), Some(Duration::from_millis(1_500)));
        assert_eq!(duration("2 h"), Some(Duration::from_hours(2)));
        assert_eq!(bytes("64KiB"), Some(65_536));
        assert_eq!(bytes("1_000B"), Some(1_000));
        for wrong in ["", "10", "s", "10 apples", "1.2.3s"] {
            assert_eq!((duration(wrong), bytes(wrong)), (None, None), "{wrong:?}");
        }
    }
}
