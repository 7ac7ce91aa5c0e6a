//! What a window knows of one field: enough for every function, whichever are asked for.
//!
//! Sums are compensated (Neumaier), the spread of values is Welford's, so neither a long window nor
//! large values with small differences cost digits.

use proto::{Value, ValueRef};

use crate::process::bytes::{Input, StateError, put_f, put_s, put_v, put_z};

/// Longer texts are not taken into windows: they go on as they are.
pub(super) const TEXT_BYTES_MAX: usize = 256;

/// What a window says of a field. Each has one type for ever: `Count` is an integer, `First` and
/// `Last` are what came, all others are floats, whatever came. Booleans and texts have `Count`,
/// `First` and `Last` only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Function {
    Count,
    Sum,
    Mean,
    Min,
    Max,
    First,
    Last,
    /// Of a sample (n - 1), as InfluxDB has it; there is none of a single value.
    Stddev,
    /// Maximum minus minimum.
    Spread,
}

impl Function {
    pub const ALL: [Self; 9] = [
        Self::Count,
        Self::Sum,
        Self::Mean,
        Self::Min,
        Self::Max,
        Self::First,
        Self::Last,
        Self::Stddev,
        Self::Spread,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Sum => "sum",
            Self::Mean => "mean",
            Self::Min => "min",
            Self::Max => "max",
            Self::First => "first",
            Self::Last => "last",
            Self::Stddev => "stddev",
            Self::Spread => "spread",
        }
    }

    /// Whether it says something of such a value.
    pub(super) fn takes(self, value: ValueRef<'_>) -> bool {
        matches!(self, Self::Count | Self::First | Self::Last) || value.as_f64().is_some()
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Cell {
    /// Of values, and of those that are numbers.
    count: u64,
    numbers: u64,
    /// What the sum has lost so far is kept apart.
    sum: f64,
    lost: f64,
    mean: f64,
    /// Sum of squared distances from the mean.
    squares: f64,
    min: f64,
    max: f64,
    first: (i64, Value),
    last: (i64, Value),
    /// The first value that came was a text: there is room for more.
    is_text: bool,
}

impl Cell {
    pub(super) fn new(timestamp: i64, value: ValueRef<'_>) -> Self {
        let mut cell = Self {
            count: 0,
            numbers: 0,
            sum: 0.0,
            lost: 0.0,
            mean: 0.0,
            squares: 0.0,
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
            first: (timestamp, value.to_value()),
            last: (timestamp, Value::Boolean(false)),
            is_text: matches!(value, ValueRef::Text(_)),
        };
        cell.last = cell.first.clone();
        cell.count_in(value);
        cell
    }

    pub(super) fn is_text(&self) -> bool {
        self.is_text
    }

    pub(super) fn add(&mut self, timestamp: i64, value: ValueRef<'_>) {
        if timestamp < self.first.0 {
            self.first = (timestamp, value.to_value());
        }
        // Of one time, what came last: as in a database.
        if timestamp >= self.last.0 {
            self.last = (timestamp, value.to_value());
        }
        self.count_in(value);
    }

    #[expect(clippy::cast_precision_loss, reason = "no window holds 2^53 values")]
    fn count_in(&mut self, value: ValueRef<'_>) {
        self.count += 1;
        let Some(value) = value.as_f64() else { return };
        self.numbers += 1;
        let sum = self.sum + value;
        self.lost += if self.sum.abs() >= value.abs() {
            (self.sum - sum) + value
        } else {
            (value - sum) + self.sum
        };
        self.sum = sum;
        let distance = value - self.mean;
        self.mean += distance / self.numbers as f64;
        self.squares += distance * (value - self.mean);
        self.min = self.min.min(value);
        self.max = self.max.max(value);
    }

    /// `None`: it has nothing to say here, or nothing that can be written.
    #[expect(clippy::cast_precision_loss, reason = "no window holds 2^53 values")]
    pub(super) fn result(&self, function: Function) -> Option<ValueRef<'_>> {
        let number = match function {
            Function::Count => return i64::try_from(self.count).ok().map(ValueRef::Signed),
            Function::First => return Some(self.first.1.borrow()),
            Function::Last => return Some(self.last.1.borrow()),
            _ if self.numbers == 0 => return None,
            Function::Sum => self.sum + self.lost,
            Function::Mean => (self.sum + self.lost) / self.numbers as f64,
            Function::Min => self.min,
            Function::Max => self.max,
            Function::Spread => self.max - self.min,
            Function::Stddev if self.numbers < 2 => return None,
            Function::Stddev => (self.squares.max(0.0) / (self.numbers - 1) as f64).sqrt(),
        };
        number.is_finite().then_some(ValueRef::Float(number))
    }

    pub(super) fn put(&self, out: &mut Vec<u8>) {
        put_v(u64::from(self.is_text), out);
        put_v(self.count, out);
        put_v(self.numbers, out);
        if self.numbers > 0 {
            let numbers = [self.sum, self.lost, self.mean, self.squares, self.min, self.max];
            for number in numbers {
                put_f(number, out);
            }
        }
        for (timestamp, value) in [&self.first, &self.last] {
            put_z(*timestamp, out);
            put_value(value, out);
        }
    }

    pub(super) fn get(input: &mut Input<'_>) -> Result<Self, StateError> {
        let is_text = input.v()? != 0;
        let (count, numbers) = (input.v()?, input.v()?);
        let mut cell = Self::new(0, ValueRef::Boolean(false));
        (cell.is_text, cell.count, cell.numbers) = (is_text, count, numbers);
        if numbers > 0 {
            (cell.sum, cell.lost) = (input.f()?, input.f()?);
            (cell.mean, cell.squares) = (input.f()?, input.f()?);
            (cell.min, cell.max) = (input.f()?, input.f()?);
        }
        cell.first = (input.z()?, value(input)?);
        cell.last = (input.z()?, value(input)?);
        Ok(cell)
    }
}

fn put_value(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Float(value) => {
            out.push(0);
            put_f(*value, out);
        }
        Value::Signed(value) => {
            out.push(1);
            put_z(*value, out);
        }
        Value::Unsigned(value) => {
            out.push(2);
            put_v(*value, out);
        }
        Value::Boolean(value) => out.extend([3, u8::from(*value)]),
        Value::Text(text) => {
            out.push(4);
            put_s(text.as_bytes(), out);
        }
    }
}

fn value(input: &mut Input<'_>) -> Result<Value, StateError> {
    Ok(match input.byte()? {
        0 => Value::Float(input.f()?),
        1 => Value::Signed(input.z()?),
        2 => Value::Unsigned(input.v()?),
        3 => Value::Boolean(input.byte()? != 0),
        4 => Value::Text(input.text()?.to_owned()),
        _ => return Err(StateError::Damaged),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(values: &[f64]) -> Cell {
        let mut cell = Cell::new(0, ValueRef::Float(values[0]));
        for (at, value) in (1..).zip(&values[1..]) {
            cell.add(at, ValueRef::Float(*value));
        }
        cell
    }

    fn float(cell: &Cell, function: Function) -> f64 {
        match cell.result(function) {
            Some(ValueRef::Float(value)) => value,
            other => panic!("{function:?}: {other:?}"),
        }
    }

    #[test]
    fn large_values_with_small_differences_keep_their_digits() {
        let values = [1e9 + 4.0, 1e9 + 7.0, 1e9 + 13.0, 1e9 + 16.0];
        assert!((float(&cell(&values), Function::Stddev) - 30.0_f64.sqrt()).abs() < 1e-9);
        let small = [vec![1e16], vec![1.0; 1000], vec![-1e16]].concat();
        assert!((float(&cell(&small), Function::Sum) - 1000.0).abs() < 1e-9);
        let tenths = vec![0.1; 1_000_000];
        assert!((float(&cell(&tenths), Function::Sum) - 100_000.0).abs() < 1e-7);
    }

    #[test]
    fn what_cannot_be_said_is_left_out() {
        let huge = cell(&[f64::MAX, f64::MAX]);
        assert_eq!(huge.result(Function::Sum), None);
        assert_eq!(float(&huge, Function::Max).to_bits(), f64::MAX.to_bits());
        assert_eq!(cell(&[1.0]).result(Function::Stddev), None);
        let text = Cell::new(0, ValueRef::Text("on"));
        for function in Function::ALL {
            let said = text.result(function).is_some();
            assert_eq!(said, function.takes(ValueRef::Text("on")), "{function:?}");
        }
    }

    #[test]
    fn types_do_not_depend_on_what_came() {
        let mut whole = Cell::new(5, ValueRef::Signed(20));
        whole.add(6, ValueRef::Unsigned(21));
        for function in Function::ALL {
            let wanted = match function {
                Function::Count => ValueRef::Signed(2),
                Function::First => ValueRef::Signed(20),
                Function::Last => ValueRef::Unsigned(21),
                Function::Sum => ValueRef::Float(41.0),
                Function::Mean => ValueRef::Float(20.5),
                Function::Min => ValueRef::Float(20.0),
                Function::Max => ValueRef::Float(21.0),
                Function::Spread => ValueRef::Float(1.0),
                Function::Stddev => ValueRef::Float(0.5_f64.sqrt()),
            };
            assert_eq!(whole.result(function), Some(wanted));
        }
    }
}
