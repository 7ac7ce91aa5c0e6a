//! Values with their unit: `"10s"`, `"500ms"`, `"64MiB"`.

use std::time::Duration;

const TIMES: &[(&str, u64)] =
    &[("ms", 1), ("s", 1_000), ("m", 60_000), ("min", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
const SIZES: &[(&str, u64)] = &[
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

/// A time with its unit, such as `10s`: milliseconds to days.
pub fn duration(text: &str) -> Result<Duration, String> {
    quantity(text, TIMES).map(Duration::from_millis).ok_or_else(|| {
        format!("`{text}` is no time; write for example \"500ms\", \"10s\" or \"5m\"")
    })
}

pub(super) fn bytes(text: &str) -> Result<u64, String> {
    quantity(text, SIZES).ok_or_else(|| {
        format!("`{text}` is no size; write for example \"64KiB\", \"16MiB\" or \"4GiB\"")
    })
}

/// Whole or decimal (`1.5GiB`), exactly; a blank before the unit is allowed.
fn quantity(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '_')?;
    let (number, unit) = text.split_at_checked(end)?;
    let unit = unit.trim_start();
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    let number = number.replace('_', "");
    let (whole, fraction) = number.split_once('.').unwrap_or((&number, "0"));
    let scale = 10_u64.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let fraction = fraction.parse::<u64>().ok()?.checked_mul(*factor)?;
    let fraction = (fraction % scale == 0).then_some(fraction / scale)?;
    whole.parse::<u64>().ok()?.checked_mul(*factor)?.checked_add(fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_their_unit() {
        for (text, ms) in [
            ("500ms", 500),
            ("10s", 10_000),
            ("1.5s", 1_500),
            ("5m", 300_000),
            ("5min", 300_000),
            ("2 h", 7_200_000),
            ("30d", 30 * 86_400_000),
            ("0s", 0),
            ("1_000ms", 1_000),
        ] {
            assert_eq!(duration(text).unwrap(), Duration::from_millis(ms), "{text}");
        }
    }

    #[test]
    fn sizes_are_read_with_their_unit() {
        for (text, size) in [
            ("512B", 512),
            ("64KiB", 65_536),
            ("1.5 GiB", 1_610_612_736),
            ("4GiB", 1 << 32),
            ("10MB", 10_000_000),
        ] {
            assert_eq!(bytes(text).unwrap(), size, "{text}");
        }
    }

    #[test]
    fn what_is_no_quantity_is_refused_with_an_example() {
        for text in ["", "s", "10", "10 s s", "-5s", "1.0001s", "10sec", "1..5s", "10S", "٣s"] {
            assert!(duration(text).is_err(), "{text}");
        }
        for text in ["64mib", "64M", "99999999999GiB", "1e3B", ".B", "18446744073709551616B"] {
            assert!(bytes(text).is_err(), "{text}");
        }
        assert_eq!(
            bytes("64M").unwrap_err(),
            "`64M` is no size; write for example \"64KiB\", \"16MiB\" or \"4GiB\""
        );
    }
}
