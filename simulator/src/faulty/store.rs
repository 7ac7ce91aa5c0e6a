//! Points as InfluxDB keeps them: one a series and time; of one field the last value wins; the
//! first value of a field fixes its type for its measurement.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    fmt,
    sync::Arc,
};

use proto::Value;

use super::line::Point;
use crate::verify::Row;

/// Changed values and writes kept for a test to look at; older ones make room.
const KEPT_MAX: usize = 100_000;

#[derive(Debug)]
pub struct Store {
    series: HashMap<String, Series>,
    /// Field names are kept once, with the type that each has in its measurement.
    fields: HashMap<(Arc<str>, Arc<str>), Type>,
    names: HashMap<Box<str>, Arc<str>>,
    points: usize,
    points_max: usize,
    pub(super) changes: VecDeque<Change>,
    /// Present once somebody wants to know the order of writes.
    pub(super) trace: Option<VecDeque<Write>>,
}

#[derive(Debug)]
struct Series {
    measurement: Arc<str>,
    device: String,
    points: BTreeMap<i64, Vec<(Arc<str>, Value)>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    Float,
    Integer,
    Unsigned,
    Boolean,
    String,
}

/// A value that was overwritten by another one: what an output that reorders its writes would do.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    pub series: String,
    pub time: i64,
    pub field: String,
    pub from: Value,
    pub to: Value,
    /// The number of the request that did it, counted from 1.
    pub request: u64,
}

/// One point as it was written.
#[derive(Clone, Debug, PartialEq)]
pub struct Write {
    pub request: u64,
    pub series: String,
    pub time: i64,
    pub fields: Vec<(String, Value)>,
}

/// Why a point is not stored, in InfluxDB's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    Conflict { field: String, measurement: String, is: Type, exists: Type },
    BeyondRetention,
    Full,
}

impl Store {
    pub fn new(points_max: usize) -> Self {
        Self {
            series: HashMap::new(),
            fields: HashMap::new(),
            names: HashMap::new(),
            points: 0,
            points_max,
            changes: VecDeque::new(),
            trace: None,
        }
    }

    /// Stores a point whole or not at all.
    pub fn apply(&mut self, point: &Point, time: i64, request: u64) -> Result<(), Refusal> {
        if self.points >= self.points_max {
            return Err(Refusal::Full);
        }
        let measurement = self.name(&point.measurement);
        let mut fields = Vec::with_capacity(point.fields.len());
        for (name, value) in &point.fields {
            let name = self.name(name);
            self.check_type(&measurement, &name, value)?;
            fields.push((name, value.clone()));
        }
        for (name, value) in &fields {
            let key = (Arc::clone(&measurement), Arc::clone(name));
            self.fields.entry(key).or_insert_with(|| Type::of(value));
        }
        let key = point.series();
        if let Some(trace) = &mut self.trace {
            let series = key.clone();
            push(trace, Write { request, series, time, fields: point.fields.clone() });
        }
        let series = self.series.entry(key.clone()).or_insert_with(|| Series {
            measurement,
            device: tag(point, "device").to_owned(),
            points: BTreeMap::new(),
        });
        let stored = series.points.entry(time).or_default();
        self.points += usize::from(stored.is_empty());
        for (name, to) in fields {
            match stored.iter_mut().find(|(known, _)| *known == name) {
                None => stored.push((name, to)),
                Some((_, from)) if *from == to => {}
                Some((_, value)) => {
                    let from = std::mem::replace(value, to.clone());
                    let (series, field) = (key.clone(), name.to_string());
                    push(&mut self.changes, Change { series, time, field, from, to, request });
                }
            }
        }
        Ok(())
    }

    fn check_type(
        &self,
        measurement: &Arc<str>,
        name: &Arc<str>,
        value: &Value,
    ) -> Result<(), Refusal> {
        let key = (Arc::clone(measurement), Arc::clone(name));
        match self.fields.get(&key) {
            Some(&exists) if exists != Type::of(value) => Err(Refusal::Conflict {
                field: name.to_string(),
                measurement: measurement.to_string(),
                is: Type::of(value),
                exists,
            }),
            _ => Ok(()),
        }
    }

    fn name(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.names.get(name) {
            return Arc::clone(known);
        }
        let new: Arc<str> = Arc::from(name);
        self.names.insert(name.into(), Arc::clone(&new));
        new
    }

    pub fn points(&self) -> usize {
        self.points
    }

    /// How many series there are, by name.
    pub fn series(&self) -> impl ExactSizeIterator<Item = &str> {
        self.series.keys().map(String::as_str)
    }

    /// Every point, for a comparison.
    pub fn rows(&self) -> Vec<Row> {
        let all = self.series.values().flat_map(|series| {
            series.points.iter().map(|(&time, fields)| Row {
                measurement: series.measurement.to_string(),
                device: series.device.clone(),
                time,
                fields: fields.iter().map(|(k, v)| (k.to_string(), v.clone())).collect(),
            })
        });
        all.collect()
    }
}

fn tag<'a>(point: &'a Point, name: &str) -> &'a str {
    point.tags.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
}

fn push<T>(kept: &mut VecDeque<T>, new: T) {
    if kept.len() >= KEPT_MAX {
        kept.pop_front();
    }
    kept.push_back(new);
}

impl Type {
    /// Any other one: what a conflict made up on purpose claims to have stored.
    pub(super) fn another(self) -> Self {
        if self == Self::Integer { Self::Float } else { Self::Integer }
    }

    pub(super) fn of(value: &Value) -> Self {
        match value {
            Value::Float(_) => Self::Float,
            Value::Signed(_) => Self::Integer,
            Value::Unsigned(_) => Self::Unsigned,
            Value::Boolean(_) => Self::Boolean,
            Value::Text(_) => Self::String,
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Float => "float",
            Self::Integer => "integer",
            Self::Unsigned => "unsigned",
            Self::Boolean => "boolean",
            Self::String => "string",
        })
    }
}

/// As `tsdb` of InfluxDB 1.8 and 2.7 words them.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Conflict { field, measurement, is, exists } => write!(
                f,
                "field type conflict: input field \"{field}\" on measurement \"{measurement}\" \
                 is type {is}, already exists as type {exists}"
            ),
            Self::BeyondRetention => f.write_str("points beyond retention policy"),
            Self::Full => f.write_str("max-values-per-tag limit exceeded"),
        }
    }
}

impl Refusal {
    /// As InfluxDB 3 words it.
    pub(super) fn of_version_3(&self) -> String {
        let column = |of: &Type| match of {
            Type::Unsigned => "uinteger".to_owned(),
            other => other.to_string(),
        };
        match self {
            Self::Conflict { field, is, exists, .. } => format!(
                "invalid column type for column '{field}', expected iox::column_type::field::{}, \
                 got iox::column_type::field::{}",
                column(exists),
                column(is)
            ),
            Self::BeyondRetention => "outside of the database's retention period".to_owned(),
            Self::Full => "update to schema would exceed number of points".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faulty::line::points;

    fn apply(store: &mut Store, line: &str) -> Result<(), Refusal> {
        let point = points(line.as_bytes(), 1).next().unwrap().1.unwrap();
        let time = point.time.unwrap();
        store.apply(&point, time, 1)
    }

    #[test]
    fn fields_of_one_point_lie_side_by_side_and_the_last_value_wins() {
        let mut store = Store::new(10);
        apply(&mut store, "m,device=a x=1,y=2 5").unwrap();
        apply(&mut store, "m,device=a y=3,z=4 5").unwrap();
        apply(&mut store, "m,device=a y=3 5").unwrap();
        let rows = store.rows();
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0].device, "a");
        let of = |name: &str| rows[0].fields.iter().find(|(k, _)| k == name).unwrap().1.clone();
        assert_eq!(
            (of("x"), of("y"), of("z")),
            (Value::Float(1.0), Value::Float(3.0), Value::Float(4.0))
        );
        assert_eq!(store.changes.len(), 1);
        assert_eq!(store.changes[0].from, Value::Float(2.0));
    }

    #[test]
    fn the_first_value_fixes_the_type_for_its_measurement() {
        let mut store = Store::new(10);
        apply(&mut store, "m x=1i 5").unwrap();
        let refusal = apply(&mut store, "m,t=1 x=1.5,y=1 6").unwrap_err();
        assert_eq!(
            refusal.to_string(),
            "field type conflict: input field \"x\" on measurement \"m\" is type float, \
             already exists as type integer"
        );
        assert_eq!(store.points(), 1, "no part of the point was stored");
        apply(&mut store, "m y=true 7").unwrap();
        apply(&mut store, "other x=1.5 7").unwrap();
    }

    #[test]
    fn has_a_limit() {
        let mut store = Store::new(1);
        apply(&mut store, "m x=1 5").unwrap();
        assert_eq!(apply(&mut store, "m x=1 6"), Err(Refusal::Full));
    }
}
