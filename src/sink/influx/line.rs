//! A reading as the line that a database of this version takes: `proto::line` writes it, and what it
//! leaves out becomes a refusal. InfluxDB 1.x has no unsigned type: a `u` goes as `i` up to the
//! largest `i`, and a field above that is lost, not the reading.

use proto::{ReadingRef, Reason, line::write::Dialect};

use crate::sink::{Body, Fault, LostField, Refusal, time_ns};

/// Appends one line.
pub(super) fn encode(
    reading: &ReadingRef<'_>,
    dialect: Dialect,
    body: &mut Body,
    lost: &mut Vec<LostField>,
) -> Result<(), Refusal> {
    let left_out = |name: &str, reason: Reason| lost.push((name.to_owned(), refusal(reason)));
    proto::line::write::write_as(reading, dialect, &mut body.bytes, left_out).map_err(refusal)?;
    body.end_line(time_ns(reading));
    Ok(())
}

fn refusal(reason: Reason) -> Refusal {
    Refusal::new(Fault::Value, reason.text)
}

#[cfg(test)]
mod tests {
    use proto::{Time, Timestamp, ValueRef};

    use super::*;

    fn encoded(
        fields: &[(&str, ValueRef<'_>)],
        dialect: Dialect,
    ) -> (String, Vec<LostField>, bool) {
        let tags = [("device", "d 1")];
        let time = Time::At(Timestamp::from_nanos(1_700_000_000_000_000_000));
        let reading = ReadingRef { measurement: "climate", tags: &tags, fields, time, series: &[] };
        let (mut body, mut lost) = (Body::default(), Vec::new());
        let written = encode(&reading, dialect, &mut body, &mut lost).is_ok();
        assert_eq!(body.lines(), u32::from(written));
        (String::from_utf8(body.bytes).unwrap(), lost, written)
    }

    #[test]
    fn an_unsigned_is_a_signed_where_there_is_no_other_type() {
        let fields = [("n", ValueRef::Unsigned(7)), ("t", ValueRef::Float(21.5))];
        let (line, lost, _) = encoded(&fields, Dialect::V1);
        assert_eq!(line, "climate,device=d\\ 1 n=7i,t=21.5 1700000000000000000\n");
        assert!(lost.is_empty());
        let (line, ..) = encoded(&fields, Dialect::V2);
        assert_eq!(line, "climate,device=d\\ 1 n=7u,t=21.5 1700000000000000000\n");
    }

    #[test]
    fn an_unsigned_beyond_that_costs_itself_only() {
        let fields = [("n", ValueRef::Unsigned(u64::MAX)), ("t", ValueRef::Float(21.5))];
        let (line, lost, _) = encoded(&fields, Dialect::V1);
        assert_eq!(line, "climate,device=d\\ 1 t=21.5 1700000000000000000\n");
        assert_eq!(lost.len(), 1);
        assert_eq!(lost[0].0, "n");
        let (line, _, written) = encoded(&fields[..1], Dialect::V1);
        assert!(!written);
        assert_eq!(line, "");
    }
}
