//! Comma-separated values in (RFC 4180): every row of a table is a reading.
//!
//! ```text
//!  when,room,temperature,door        time = when   tags = room   measurement: the context's
//!  2024-05-01T10:00:00Z,hall,21.5,true
//!
//!  m,room=hall temperature=21.5,door=t 1714557600000000000
//! ```
//! What a column means is said once, by `Layout` and the header: `Columns`. A column that is neither
//! time, measurement nor tag is a field. A number is a float, `true` and `false` are booleans,
//! everything else is a text; an empty cell and a word for "no value" are left out. Whether a cell
//! stands in quotes says nothing about its type. Blanks around a cell do not count.
//!
//! A broken row costs itself only. So does one whose time cannot be read: the time of arrival in its
//! place would be a wrong one for ever.

mod columns;
mod rows;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use crate::{
    Context, Kind, Place, Readings, Reason, Rejects, Time, ValueRef,
    names::short,
    offer::{Offers, Parts},
    plain::scalar,
    value::is_empty_word,
};

pub use self::columns::{Columns, HeaderError, Layout, TimeColumn};
pub use self::rows::whole;

use self::columns::Role;
use self::rows::{Row, Rows};

/// Decodes whole rows; the header is not among them. `Rejects` carries their lines and bytes.
pub fn decode(
    payload: &[u8],
    columns: &Columns,
    context: &Context<'_>,
    out: &mut Readings,
    bad: &mut Rejects,
) {
    let mut offers = Offers::new(context, out, bad);
    let mut rows = Rows::new(payload, columns.delimiter());
    while let Some(row) = rows.next() {
        let place = Place { index: row.line, span: row.span.clone() };
        match Taken::apart(&row, columns, context) {
            Ok(taken) if taken.fields.is_empty() => offers.nothing(),
            Ok(taken) => {
                let Taken { measurement, tags, fields, time } = &taken;
                offers.offer(Parts { measurement, tags, fields, time: *time }, place);
            }
            Err(reason) => offers.refuse(place, reason),
        }
    }
}

/// What the cells of a row say.
#[derive(Debug)]
struct Taken<'r> {
    /// Empty: the context's.
    measurement: &'r str,
    tags: Vec<(&'r str, &'r str)>,
    fields: Vec<(&'r str, ValueRef<'r>)>,
    time: Time,
}

impl<'r> Taken<'r> {
    fn apart(
        row: &'r Row<'_>,
        columns: &'r Columns,
        context: &Context<'_>,
    ) -> Result<Self, Reason> {
        let cells = row
            .cells
            .as_ref()
            .map_err(|fault| Reason::new(Kind::Undecodable, Cow::Borrowed(fault.text())))?;
        if cells.len() != columns.len() {
            let (cells, header) = (cells.len(), columns.len());
            let text = format!("a row of {cells} cells, where the header has {header}");
            return Err(Reason::new(Kind::Undecodable, text));
        }
        let (mut tags, mut fields) = (Vec::new(), Vec::new());
        let (mut measurement, mut time) = ("", Time::Unknown);
        for (cell, (role, name)) in cells.iter().map(|cell| cell.trim()).zip(columns.iter()) {
            match role {
                Role::Time => time = Time::At(self::time(cell, name, context)?),
                Role::Measurement => measurement = cell,
                Role::Tag => tags.push((name, cell)),
                Role::Field if is_empty_word(cell) => {}
                Role::Field => fields.push((name, scalar(cell).unwrap_or(ValueRef::Text(cell)))),
                Role::Nothing => {}
            }
        }
        Ok(Self { measurement, tags, fields, time })
    }
}

fn time(cell: &str, column: &str, context: &Context<'_>) -> Result<crate::Timestamp, Reason> {
    if cell.is_empty() {
        let text = format!("no time in column `{}`", short(column));
        return Err(Reason::new(Kind::Timestamp, text));
    }
    context.time_of_text(cell)?.map_err(|_| {
        let text = format!(
            "`{}` is no time that says when: seconds or less since 1970, or RFC 3339; \
             one without an offset needs a time zone",
            short(cell)
        );
        Reason::new(Kind::Timestamp, text)
    })
}
