//! JSON in: an object, an array of objects, or objects line by line.
//!
//! ```text
//! {"device":"d1","t":21.5,"relay":{"on":true}}          t=21.5,relay_on=true, tag device=d1
//! {"device":"d1","measurement":"climate","tags":{"room":"a"},"fields":{"t":21.5},"ts":1700000000000}
//! {"device":"d1","readings":[{"fields":{"t":21.5},"age_ms":1500}, ...]}
//! ```
//!
//! Numbers are floats, texts are texts, `null` and words for it are skipped, names are joined with
//! `_`; `ts`, `time` or `timestamp` is the time. `docs/formats.md` has the whole of it.
//!
//! One value is flattened at a time, into lists that are used again: what a payload may cost is
//! bounded by depth and keys, whatever it holds. A broken element of an array costs itself as long
//! as its brackets close, a broken line itself as long as the next one begins with `{`.

pub(crate) mod flat;
mod nested;
pub(crate) mod scan;
#[cfg(test)]
mod tests;
mod texts;

use crate::{
    Context, Kind, Place, Readings, Reason, Rejects,
    fault::Fault,
    mapping::{nested::Nested, read},
    offer::Offers,
    tree::shape::{self, Defaults},
};
use flat::Flat;

pub use texts::texts;

pub fn decode(payload: &[u8], context: &Context<'_>, out: &mut Readings, bad: &mut Rejects) {
    let offers = Offers::new(context, out, bad);
    let flat = Flat::new(payload, context, &offers.limits());
    Decoder { flat, nested: None, offers, index: 0 }.run();
}

struct Decoder<'p, 'o> {
    flat: Flat<'p>,
    /// For rules that look inside.
    nested: Option<Nested<'p>>,
    offers: Offers<'o>,
    /// Of the next reading.
    index: u32,
}

impl Decoder<'_, '_> {
    fn run(&mut self) {
        self.flat.scan.skip_space();
        if self.flat.scan.peek().is_none() {
            let reason = Reason::new(Kind::Undecodable, "an empty payload");
            return self.offers.refuse(Place::default(), reason);
        }
        while self.flat.scan.peek().is_some() {
            let start = self.flat.scan.at;
            let (taken, is_array) = match self.flat.scan.peek() {
                Some(b'{') => (self.object(None), false),
                Some(b'[') if self.flat.scan.is_array_of_objects() => (self.array(None), true),
                _ => (self.lone_value(), false),
            };
            if let Err(fault) = taken {
                let next = self.flat.scan.next_object_line(fault.at.max(start + 1));
                let from = if is_array { fault.at } else { start };
                self.refuse(from, next.unwrap_or(self.flat.scan.len()), fault);
            }
            self.flat.scan.skip_space();
        }
    }

    fn array(&mut self, defaults: Option<&Defaults>) -> Result<(), Fault> {
        self.flat.scan.take(b'[');
        self.flat.scan.skip_space();
        if self.flat.scan.take(b']') {
            return Ok(());
        }
        loop {
            self.flat.scan.skip_space();
            let start = self.flat.scan.at;
            let taken = match self.flat.scan.peek() {
                Some(b'{') => self.object(defaults),
                _ => self.flat.scan.fault("expected an object"),
            };
            if let Err(fault) = taken {
                self.skip_broken_element(start, fault)?;
            }
            self.flat.scan.skip_space();
            if self.flat.scan.take(b']') {
                return Ok(());
            }
            if !self.flat.scan.take(b',') {
                return self.flat.scan.fault("expected a comma or ]");
            }
        }
    }

    /// An element that is no object is skipped too, if it is a value.
    fn skip_broken_element(&mut self, start: usize, fault: Fault) -> Result<(), Fault> {
        let end = match self.flat.scan.peek_at(start) {
            Some(b'{' | b'[') => self.flat.scan.balanced_end(start),
            _ => self.flat.lone_value("").is_ok().then_some(self.flat.scan.at),
        };
        match end {
            Some(end) => {
                self.refuse(start, end, fault);
                Ok(())
            }
            None => Err(fault),
        }
    }

    fn object(&mut self, defaults: Option<&Defaults>) -> Result<(), Fault> {
        let start = self.flat.scan.at;
        if defaults.is_none() && self.mapped_object()? {
            return Ok(());
        }
        self.flat.outermost_object(defaults.is_none())?;
        let end = self.flat.scan.at;
        let Some(batch) = self.flat.batch.take() else {
            let place = self.next_place(start, end);
            shape::offer(&self.flat.tree, defaults, place, &mut self.offers);
            return Ok(());
        };
        match shape::defaults(&self.flat.tree, self.index, &mut self.offers) {
            Ok(defaults) => {
                self.flat.scan.at = batch.start;
                if let Err(fault) = self.array(Some(&defaults)) {
                    self.refuse(fault.at, batch.end, fault);
                }
            }
            Err(reason) => {
                let place = self.next_place(start, end);
                self.offers.refuse(place, reason);
            }
        }
        self.flat.scan.at = end;
        Ok(())
    }

    /// What a rule says that looks inside. False: there is none, or it does not concern this object.
    fn mapped_object(&mut self) -> Result<bool, Fault> {
        let context = self.offers.context;
        let Some(mapping) = context.mapping.filter(|mapping| mapping.is_structural()) else {
            return Ok(false);
        };
        let start = self.flat.scan.at;
        let nested = self.nested.get_or_insert_with(|| Nested::new(context));
        nested::read(&mut self.flat.scan, nested)?;
        if mapping.takes_explicit() && nested.is_explicit() {
            self.flat.scan.at = start;
            return Ok(false);
        }
        let span = start..self.flat.scan.at;
        read::offer(nested, mapping, &span, &mut self.index, &mut self.offers);
        Ok(true)
    }

    fn lone_value(&mut self) -> Result<(), Fault> {
        let start = self.flat.scan.at;
        let name = self.offers.context.field;
        self.flat.lone_value(name)?;
        let place = self.next_place(start, self.flat.scan.at);
        shape::offer(&self.flat.tree, None, place, &mut self.offers);
        Ok(())
    }

    /// Refuses what lies there and goes on behind it.
    fn refuse(&mut self, start: usize, end: usize, fault: Fault) {
        let place = self.next_place(start, end);
        self.offers.refuse(place, fault.into());
        self.flat.scan.at = end;
    }

    fn next_place(&mut self, start: usize, end: usize) -> Place {
        let index = self.index;
        self.index = index.saturating_add(1);
        Place { index, span: start..end }
    }
}
