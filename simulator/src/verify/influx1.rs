//! Reads an InfluxDB 1.x (or a server with its `/query`) back by InfluxQL over plain HTTP.
//!
//! Its JSON writes the float 21 as `21`, so types are asked for separately (`SHOW FIELD KEYS`).

use std::{collections::HashMap, fmt::Write as _, io};

use proto::Value;
use serde::Deserialize;

use super::{Row, lines};
use crate::signals::Kind;

#[derive(Clone, Debug)]
pub struct Influx1 {
    /// `http://host:port`
    pub url: String,
    pub database: String,
    pub user: Option<(String, String)>,
    /// What is compared: by default the measurements of simulated devices.
    pub measurements: Vec<String>,
}

impl Influx1 {
    pub fn new(url: impl Into<String>, database: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            database: database.into(),
            user: None,
            measurements: Kind::ALL.map(|kind| kind.measurement().to_owned()).to_vec(),
        }
    }

    /// Hands every point to `each`. What was handed over before an error is a part of the whole.
    pub async fn read(&self, mut each: impl FnMut(Row)) -> io::Result<()> {
        let from = self.from();
        let mut types = HashMap::new();
        let keys = format!("SHOW FIELD KEYS FROM {from}");
        self.query(&keys, |series| {
            for value in &series.values {
                if let [serde_json::Value::String(field), serde_json::Value::String(kind)] =
                    value.as_slice()
                {
                    types.insert((series.name.clone(), field.clone()), kind.clone());
                }
            }
            Ok(())
        })
        .await?;
        self.query(&format!("SELECT * FROM {from} GROUP BY *"), |series| {
            for value in &series.values {
                each(row(&series, value, &types)?);
            }
            Ok(())
        })
        .await
    }

    fn from(&self) -> String {
        let quoted = |name: &String| format!("\"{}\"", name.replace('"', "\\\""));
        self.measurements.iter().map(quoted).collect::<Vec<_>>().join(",")
    }

    async fn query(
        &self,
        query: &str,
        mut each: impl FnMut(Series) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut url = format!("{}/query?epoch=ns&chunked=true", self.url.trim_end_matches('/'));
        parameter(&mut url, "db", &self.database);
        parameter(&mut url, "q", query);
        if let Some((name, password)) = &self.user {
            parameter(&mut url, "u", name);
            parameter(&mut url, "p", password);
        }
        let mut lines = lines::get(&url, None).await?;
        while let Some(line) = lines.next().await? {
            let answer: Answer = serde_json::from_slice(&line).map_err(io::Error::other)?;
            for result in answer.results {
                if let Some(error) = result.error.or(answer.error.clone()) {
                    return Err(io::Error::other(error));
                }
                result.series.into_iter().try_for_each(&mut each)?;
            }
        }
        Ok(())
    }
}

fn parameter(url: &mut String, name: &str, value: &str) {
    url.push('&');
    url.push_str(name);
    url.push('=');
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            url.push(char::from(byte));
        } else if write!(url, "%{byte:02X}").is_err() {
            unreachable!("a String takes every character");
        }
    }
}

#[derive(Debug, Deserialize)]
struct Answer {
    #[serde(default)]
    results: Vec<Answered>,
    error: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Answered {
    #[serde(default)]
    series: Vec<Series>,
    error: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Series {
    name: String,
    #[serde(default)]
    tags: HashMap<String, String>,
    columns: Vec<String>,
    #[serde(default)]
    values: Vec<Vec<serde_json::Value>>,
}

fn row(
    series: &Series,
    values: &[serde_json::Value],
    types: &HashMap<(String, String), String>,
) -> io::Result<Row> {
    let mut time = None;
    let mut fields = Vec::new();
    for (column, value) in series.columns.iter().zip(values) {
        if column == "time" {
            time = value.as_i64();
            continue;
        }
        let kind = types.get(&(series.name.clone(), column.clone())).map(String::as_str);
        let value = match (kind, value) {
            (_, serde_json::Value::Null) => continue,
            (_, serde_json::Value::Bool(value)) => Value::Boolean(*value),
            (_, serde_json::Value::String(text)) => Value::Text(text.clone()),
            (Some("integer"), number) => {
                number.as_i64().map_or(Value::Float(f64::NAN), Value::Signed)
            }
            (Some("unsigned"), number) => {
                number.as_u64().map_or(Value::Float(f64::NAN), Value::Unsigned)
            }
            (_, number) => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        };
        fields.push((column.clone(), value));
    }
    Ok(Row {
        measurement: series.name.clone(),
        device: series.tags.get("device").cloned().unwrap_or_default(),
        time: time.ok_or_else(|| io::Error::other("a row without a time"))?,
        fields,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_chunk_as_influxdb_1_8_sends_it() {
        let chunk = r#"{"results":[{"statement_id":0,"series":[{"name":"energy",
            "tags":{"device":"d-1","place":"hall 3"},"columns":["time","power","relay","seq","state"],
            "values":[[1790000000000000001,21,true,7,null],[1790000000000000002,0.5,null,8,"on"]],
            "partial":true}],"partial":true}]}"#;
        let answer: Answer = serde_json::from_str(chunk).unwrap();
        let series = &answer.results[0].series[0];
        let types = [(("energy".to_owned(), "seq".to_owned()), "integer".to_owned())].into();
        let first = row(series, &series.values[0], &types).unwrap();
        assert_eq!(
            first,
            Row {
                measurement: "energy".to_owned(),
                device: "d-1".to_owned(),
                time: 1_790_000_000_000_000_001,
                fields: vec![
                    ("power".to_owned(), Value::Float(21.0)),
                    ("relay".to_owned(), Value::Boolean(true)),
                    ("seq".to_owned(), Value::Signed(7)),
                ],
            }
        );
        let second = row(series, &series.values[1], &types).unwrap();
        assert_eq!(second.fields[2], ("state".to_owned(), Value::Text("on".to_owned())));
    }

    #[test]
    fn a_query_is_escaped() {
        let mut url = String::new();
        parameter(&mut url, "q", "SELECT * FROM \"a b\"");
        assert_eq!(url, "&q=SELECT%20%2A%20FROM%20%22a%20b%22");
    }
}
