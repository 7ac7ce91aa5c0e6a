//! The five types a field can have, as InfluxDB knows them.

/// A field's value, borrowed from the payload or frame it was read from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ValueRef<'a> {
    Float(f64),
    Signed(i64),
    Unsigned(u64),
    Boolean(bool),
    Text(&'a str),
}

/// A field's value, owned: for tests, rules and window state.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Float(f64),
    Signed(i64),
    Unsigned(u64),
    Boolean(bool),
    Text(String),
}
