//! Exact decimals: `1624348482.25` seconds are 1624348482250000000 nanoseconds. Through an `f64`
//! they would end in 249999872.

/// `digits * 10^exponent`, as written; at most 30 digits count, what follows is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Decimal {
    negative: bool,
    digits: u128,
    /// How many digits `digits` has.
    len: i32,
    exponent: i32,
}

impl Decimal {
    /// `[+-] digits [. digits] [e [+-] digits]`, with a digit at least before or after the point.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (negative, text) = match text.as_bytes().first()? {
            b'-' => (true, text.get(1..)?),
            b'+' => (false, text.get(1..)?),
            _ => (false, text),
        };
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, parse_exponent(exponent)?),
            None => (text, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let mut decimal = Self { negative, digits: 0, len: 0, exponent };
        whole.bytes().try_for_each(|byte| decimal.push(byte, false))?;
        fraction.bytes().try_for_each(|byte| decimal.push(byte, true))?;
        Some(decimal)
    }

    pub(crate) fn is_negative(&self) -> bool {
        self.negative && self.digits != 0
    }

    /// Digits before the point: 0 for what is smaller than one.
    pub(crate) fn whole_digits(&self) -> i32 {
        if self.digits == 0 { 0 } else { self.len.saturating_add(self.exponent).max(0) }
    }

    /// The value times `10^power`, cut towards zero. `None` if that is too large.
    pub(crate) fn scaled(&self, power: i32) -> Option<i128> {
        if self.digits == 0 {
            return Some(0);
        }
        let power = self.exponent.saturating_add(power);
        let magnitude = if power >= 0 {
            self.digits.checked_mul(10_u128.checked_pow(power.unsigned_abs())?)?
        } else {
            10_u128.checked_pow(power.unsigned_abs()).map_or(0, |divisor| self.digits / divisor)
        };
        let magnitude = i128::try_from(magnitude).ok()?;
        Some(if self.negative { -magnitude } else { magnitude })
    }

    /// The float nearest to the exact sum. `None` if that has too many digits.
    pub(crate) fn plus(self, other: Self) -> Option<f64> {
        let exponent = self.exponent.min(other.exponent);
        let shift = exponent.checked_neg()?;
        let sum = self.scaled(shift)?.checked_add(other.scaled(shift)?)?;
        format!("{sum}e{exponent}").parse().ok()
    }

    fn push(&mut self, byte: u8, fraction: bool) -> Option<()> {
        const KEPT: i32 = 30;
        let digit = char::from(byte).to_digit(10)?;
        let kept = self.len < KEPT;
        if kept && (self.digits != 0 || digit != 0) {
            self.digits = self.digits * 10 + u128::from(digit);
            self.len += 1;
        }
        match (kept, fraction) {
            (true, true) => self.exponent = self.exponent.saturating_sub(1),
            (false, false) => self.exponent = self.exponent.saturating_add(1),
            (true, false) | (false, true) => {}
        }
        Some(())
    }
}

fn parse_exponent(text: &str) -> Option<i32> {
    let (sign, digits) = match text.as_bytes().first()? {
        b'-' => (-1, text.get(1..)?),
        b'+' => (1, text.get(1..)?),
        _ => (1, text),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // Beyond any meaning, but still a number: 0e99999999999 is zero.
    Some(sign * digits.parse().unwrap_or(1_000_000).min(1_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn scaled(text: &str, power: i32) -> Option<i128> {
        Decimal::parse(text).unwrap_or_else(|| panic!("{text} is a decimal")).scaled(power)
    }

    #[test]
    fn decimals_are_scaled_exactly() {
        assert_eq!(scaled("1624348482.25", 9), Some(1_624_348_482_250_000_000));
        assert_eq!(scaled("1.62434848225e9", 9), Some(1_624_348_482_250_000_000));
        assert_eq!(scaled("162434848225E-2", 9), Some(1_624_348_482_250_000_000));
        assert_eq!(scaled("-0.5", 3), Some(-500));
        assert_eq!(scaled("+.5", 3), Some(500));
        assert_eq!(scaled("5.", 0), Some(5));
        assert_eq!(scaled("0.0000000019", 9), Some(1), "cut towards zero");
        assert_eq!(scaled("-0.0000000019", 9), Some(-1));
        assert_eq!(scaled("0e99999999999999999999", 9), Some(0));
        assert_eq!(scaled("1e-99999999999999999999", 9), Some(0));
        assert_eq!(scaled("1e39", 0), None);
        assert_eq!(scaled("1e99999999999999999999", 9), None);
        assert_eq!(scaled(&"9".repeat(60), 0), None);
        assert_eq!(scaled(&format!("0.{}", "9".repeat(60)), 3), Some(999));
        assert_eq!(scaled(&format!("{}7", "0".repeat(60)), 0), Some(7));
        assert_eq!(scaled(&format!("0.{}7", "0".repeat(60)), 61), Some(7));
    }

    #[test]
    fn what_is_no_decimal_is_none() {
        for text in ["", "-", ".", "-.", "e5", "1e", "1e+", "1.2.3", "0x1", "1 ", "nan", "1e5.0"] {
            assert_eq!(Decimal::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_sum_is_exact_before_it_is_a_float() {
        let sum = |a, b| Decimal::parse(a).unwrap().plus(Decimal::parse(b).unwrap());
        assert_eq!(sum("0.1", "0.2"), Some(0.3));
        assert_eq!(sum("22.1", "10"), Some(32.1));
        assert_eq!(sum("-1e-3", "1e3"), Some(999.999));
        assert_eq!(sum("5", "-5"), Some(0.0));
        assert_eq!(sum("1e30", "1e-30"), None);
    }

    #[test]
    fn the_size_is_that_before_the_point() {
        let digits = |text| Decimal::parse(text).unwrap().whole_digits();
        assert_eq!(digits("1624348482.25"), 10);
        assert_eq!(digits("0001624348482"), 10);
        assert_eq!(digits("1.6e9"), 10);
        assert_eq!(digits("0.001"), 0);
        assert_eq!(digits("0.0"), 0);
    }

    proptest! {
        #[test]
        fn every_nanosecond_is_exact(nanos: i64) {
            let (whole, rest) = (nanos.unsigned_abs() / 1_000_000_000, nanos.unsigned_abs() % 1_000_000_000);
            let sign = if nanos < 0 { "-" } else { "" };
            prop_assert_eq!(scaled(&format!("{sign}{whole}.{rest:09}"), 9), Some(i128::from(nanos)));
        }
    }
}
