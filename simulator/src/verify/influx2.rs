//! Reads an InfluxDB 2 back by Flux, through the `influxdb2` crate.
//!
//! Not pivoted: that crate panics on an empty number, which a pivot makes of a missing field. The
//! fields of a point are put together here instead. It also holds a whole answer in memory, so
//! the time is cut into pieces of bounded size; before and after them everything else is asked
//! for as well, lest a wrong time hide a point.

use std::{
    collections::{BTreeMap, HashMap},
    io,
};

use influxdb2::{Client, models::Query};
use influxdb2_structmap::value::Value as Flux;
use proto::Value;

use super::Row;
use crate::{ledger::Ledger, signals::Kind};

#[derive(Clone, Debug)]
pub struct Influx2 {
    /// `http://host:port`
    pub url: String,
    pub org: String,
    pub token: String,
    pub bucket: String,
    /// What is compared: by default the measurements of simulated devices.
    pub measurements: Vec<String>,
    /// About so many readings are asked for at once.
    pub readings_per_query: u64,
}

impl Influx2 {
    pub fn new(url: &str, org: &str, token: &str, bucket: &str) -> Self {
        Self {
            url: url.to_owned(),
            org: org.to_owned(),
            token: token.to_owned(),
            bucket: bucket.to_owned(),
            measurements: Kind::ALL.map(|kind| kind.measurement().to_owned()).to_vec(),
            readings_per_query: 20_000,
        }
    }

    /// Hands every point to `each`, and before each query the part of the whole that is done.
    pub async fn read(
        &self,
        ledger: &Ledger,
        mut each: impl FnMut(Row),
        mut progress: impl FnMut(f64),
    ) -> io::Result<()> {
        let client = Client::new(&self.url, &self.org, &self.token);
        let pieces = pieces(ledger, self.readings_per_query);
        for (done, &(from, to)) in pieces.iter().enumerate() {
            #[expect(clippy::cast_precision_loss, reason = "for a progress bar")]
            progress(done as f64 / pieces.len() as f64);
            // By measurement, for a point's fields must lie in one answer.
            for measurement in &self.measurements {
                let query = Query::new(self.flux(measurement, from, to));
                let answer = client.query_raw_iter(Some(query)).await.map_err(io::Error::other)?;
                for row in points(&answer)? {
                    each(row);
                }
            }
        }
        Ok(())
    }

    fn flux(&self, measurement: &str, from: i64, to: i64) -> String {
        let (bucket, measurement) = (quoted(&self.bucket), quoted(measurement));
        format!(
            "from(bucket: {bucket}) |> range(start: time(v: {from}), stop: time(v: {to})) \
             |> filter(fn: (r) => r._measurement == {measurement})"
        )
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Spans of time that cover everything, each with about `readings` of the ledger's readings: all
/// before the first, the time between in equal parts, all after the last.
fn pieces(ledger: &Ledger, readings: u64) -> Vec<(i64, i64)> {
    let (mut first, mut last) = (i64::MAX, i64::MIN);
    for (index, device) in ledger.devices().enumerate() {
        let sent = ledger.marks(index).sent;
        if let (Some(oldest), Some(newest)) = (sent.ranges().first(), sent.ranges().last()) {
            first = first.min(device.time(oldest.start).nanos());
            last = last.max(device.time(newest.end - 1).nanos() + 1);
        }
    }
    if first > last {
        return vec![(TIME_MIN, TIME_MAX)];
    }
    let count = i64::try_from(ledger.totals().sent / readings.max(1) + 1).unwrap_or(i64::MAX);
    let step = (last - first) / count + 1;
    let mut pieces = vec![(TIME_MIN, first)];
    let mut from = first;
    while from < last {
        let to = from.saturating_add(step).min(last);
        pieces.push((from, to));
        from = to;
    }
    pieces.push((last, TIME_MAX));
    pieces
}

/// What InfluxDB can hold.
const TIME_MIN: i64 = i64::MIN + 2;
const TIME_MAX: i64 = i64::MAX - 1;

/// A point's place: its tags, its time.
type Place = (BTreeMap<String, String>, i64);

fn points(answer: &influxdb2::api::query::QueryTableIter) -> io::Result<Vec<Row>> {
    use fallible_iterator::FallibleIterator as _;
    let mut rows: HashMap<Place, Row> = HashMap::new();
    let mut records = answer.result();
    while let Some(record) = records.next().map_err(io::Error::other)? {
        let mut cells = record.values;
        let Some(Flux::TimeRFC(time)) = cells.remove("_time") else {
            return Err(io::Error::other("a record without a time"));
        };
        let time = time.timestamp_nanos_opt().ok_or_else(|| io::Error::other("a time too far"))?;
        let field = text(cells.remove("_field"));
        let value = value(cells.remove("_value"));
        let measurement = text(cells.remove("_measurement"));
        let tags: BTreeMap<String, String> = cells
            .into_iter()
            .filter(|(name, _)| !["result", "table", "_start", "_stop"].contains(&name.as_str()))
            .map(|(name, tag)| (name, text(Some(tag))))
            .collect();
        let device = tags.get("device").cloned().unwrap_or_default();
        let row = rows.entry((tags, time)).or_insert_with(|| Row {
            measurement,
            device,
            time,
            fields: Vec::new(),
        });
        row.fields.push((field, value));
    }
    Ok(rows.into_values().collect())
}

fn text(cell: Option<Flux>) -> String {
    match cell {
        Some(Flux::String(text)) => text,
        _ => String::new(),
    }
}

fn value(cell: Option<Flux>) -> Value {
    match cell {
        Some(Flux::Double(value)) => Value::Float(value.into_inner()),
        Some(Flux::Long(value)) => Value::Signed(value),
        Some(Flux::UnsignedLong(value)) => Value::Unsigned(value),
        Some(Flux::Bool(value)) => Value::Boolean(value),
        other => Value::Text(text(other)),
    }
}
