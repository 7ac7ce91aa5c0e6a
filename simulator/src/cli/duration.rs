//! Durations as one types them: `500ms`, `30s`, `10m`, `2h`.

use std::time::Duration;

pub(super) fn parse(text: &str) -> Result<Duration, String> {
    let unit_at = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let seconds = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err("a number with ms, s, m or h is needed, such as 30s".to_owned()),
    };
    let number: f64 = number.trim().parse().map_err(|_| format!("{number:?} is not a number"))?;
    Duration::try_from_secs_f64(number * seconds).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_one_types() {
        assert_eq!(parse("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse("1.5h"), Ok(Duration::from_mins(90)));
        for wrong in ["", "30", "s", "-1s", "3 days", "1e999s"] {
            assert!(parse(wrong).is_err(), "took {wrong:?}");
        }
    }
}
