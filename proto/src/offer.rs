//! What every decoder does with a reading it has taken apart: fills in what the context knows and
//! offers it to the encoder.

use std::{cell::Cell, mem, time::Duration};

use crate::{
    Beyond, Context, Kind, Limits, Mapping, Place, ReadingRef, Readings, Reason, Rejects, Time,
    Untrusted, ValueRef, WhenBeyond,
    mapping::fields::{Fields, Raw},
    names::short,
    scratch::{Scratch, reuse},
};

/// A reading taken apart by its decoder, its lists being scratch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parts<'l, 'r> {
    /// Empty: the context's.
    pub(crate) measurement: &'r str,
    pub(crate) tags: &'l [(&'r str, &'r str)],
    pub(crate) fields: &'l [(&'r str, ValueRef<'r>)],
    pub(crate) time: Time,
}

/// Where a decoder hands over its readings, and what it had to refuse.
#[derive(Debug)]
pub(crate) struct Offers<'o> {
    pub(crate) context: &'o Context<'o>,
    out: &'o mut Readings,
    bad: &'o mut Rejects,
    /// Of the reading that is being taken apart.
    untrusted: Cell<Option<Untrusted>>,
    /// Lent by `out`.
    pub(crate) scratch: Scratch,
}

impl Drop for Offers<'_> {
    fn drop(&mut self) {
        self.scratch.trim();
        self.out.scratch = mem::take(&mut self.scratch);
    }
}

impl<'o> Offers<'o> {
    pub(crate) fn new(
        context: &'o Context<'o>,
        out: &'o mut Readings,
        bad: &'o mut Rejects,
    ) -> Self {
        let scratch = mem::take(&mut out.scratch);
        Self { context, out, bad, untrusted: Cell::new(None), scratch }
    }

    /// The next reading's payload names a time that counts for nothing.
    pub(crate) fn distrust(&self, why: Untrusted) {
        self.untrusted.set(Some(why));
    }

    pub(crate) fn limits(&self) -> Limits {
        *self.out.limits()
    }

    /// What a format without structure found: the rule's fields are still to be seen to. True if the
    /// reading was taken.
    pub(crate) fn offer(&mut self, parts: Parts<'_, '_>, place: Place) -> bool {
        let rules = self.context.mapping.and_then(Mapping::flat_fields);
        match rules {
            None => self.put(parts, place),
            Some(rules) => self.offer_by(rules, parts, place),
        }
    }

    fn offer_by(&mut self, rules: &Fields, parts: Parts<'_, '_>, place: Place) -> bool {
        let index = place.index;
        let (mut kept, mut bad) = (Vec::with_capacity(parts.fields.len()), Vec::new());
        for &(name, value) in parts.fields.iter().filter(|(name, _)| rules.takes(name)) {
            match rules.value(name, Raw::Value(value)) {
                Ok(value) => kept.push((rules.name(name), value)),
                Err(reason) => bad.push((name, reason)),
            }
        }
        if kept.is_empty() && !parts.fields.is_empty() {
            match bad.into_iter().next() {
                Some((_, reason)) => self.refuse(place, reason),
                None => self.nothing(),
            }
            return false;
        }
        let fields: Vec<_> = kept.iter().map(|(name, value)| (*name, value.value())).collect();
        let taken = self.put(Parts { fields: &fields, ..parts }, place);
        for (name, reason) in bad.into_iter().filter(|_| taken) {
            self.leave_out(index, name, reason);
        }
        taken
    }

    /// A reading whose fields are as they are to be stored.
    pub(crate) fn put(&mut self, parts: Parts<'_, '_>, place: Place) -> bool {
        let time = match self.judge_time(parts.time) {
            Ok(time) => time,
            Err(reason) => {
                self.refuse(place, reason);
                return false;
            }
        };
        let mut tags = reuse(mem::take(&mut self.scratch.merged));
        let taken = match self.merge_tags(parts.tags, &mut tags) {
            Ok(()) => {
                let measurement = match parts.measurement {
                    "" => self.context.measurement,
                    named => named,
                };
                let fields = parts.fields;
                let reading = ReadingRef { measurement, tags: &tags, fields, time, series: &[] };
                self.out.offer(&reading, self.context.arrival, place, self.bad)
            }
            Err(reason) => {
                self.refuse(place, reason);
                false
            }
        };
        self.scratch.merged = reuse(tags);
        taken
    }

    /// The time that a reading goes on with.
    fn judge_time(&mut self, time: Time) -> Result<Time, Reason> {
        if let (Some(why), Time::Unknown) = (self.untrusted.take(), time) {
            self.bad.note_untrusted(why);
        }
        let arrival = self.context.arrival;
        let beyond = self.context.times.and_then(|times| times.beyond(time, arrival));
        let Some((which, far, then)) = beyond else { return Ok(time) };
        self.bad.note_beyond(which);
        match then {
            WhenBeyond::Keep => Ok(time),
            WhenBeyond::Stamp => Ok(Time::Unknown),
            WhenBeyond::Reject => Err(too_far(which, far)),
        }
    }

    pub(crate) fn refuse(&mut self, place: Place, reason: Reason) {
        self.untrusted.set(None);
        self.bad.reading(place.index, place.span, reason);
    }

    /// Of a reading that was taken.
    pub(crate) fn leave_out(&mut self, index: u32, field: &str, reason: Reason) {
        self.bad.field(index, &short(field), reason);
    }

    /// A reading whose every value says "no value".
    pub(crate) fn nothing(&mut self) {
        self.untrusted.set(None);
        self.bad.nothing();
    }

    /// The context's tags win over the payload's own, and among those none may come twice.
    fn merge_tags<'r>(
        &self,
        own: &[(&'r str, &'r str)],
        tags: &mut Vec<(&'r str, &'r str)>,
    ) -> Result<(), Reason>
    where
        'o: 'r,
    {
        let tags_max = self.out.limits().tags_max;
        if own.len() > tags_max {
            let text = format!("more than {tags_max} tags, the most allowed");
            return Err(Reason::new(Kind::Limit, text));
        }
        tags.extend_from_slice(self.context.tags);
        for &(key, value) in own {
            match tags.iter().position(|(earlier, _)| *earlier == key) {
                None => tags.push((key, value)),
                Some(at) if at < self.context.tags.len() => {}
                Some(_) => return Err(twice(key)),
            }
        }
        let device = |&(key, value): &(&str, &str)| key == "device" && !value.is_empty();
        if self.context.device_required && !tags.iter().any(device) {
            return Err(no_device());
        }
        Ok(())
    }
}

fn too_far(which: Beyond, far: Duration) -> Reason {
    let far = match far.as_secs() {
        seconds @ 0..600 => format!("{seconds} s"),
        seconds @ 600..172_800 => format!("{} min", seconds / 60),
        seconds => format!("{} days", seconds / 86_400),
    };
    match which {
        Beyond::Past => {
            Reason::new(Kind::Past, format!("its time is {far} back, more than `past_max`"))
        }
        Beyond::Future => {
            Reason::new(Kind::Future, format!("its time is {far} ahead, more than `future_max`"))
        }
    }
}

fn twice(key: &str) -> Reason {
    Reason::new(Kind::Name, format!("tag `{}` is given twice", short(key)))
}

fn no_device() -> Reason {
    let text = "nothing says which device sent it: give a `device` in the reading, \
                `?device=` in the URL, or log in as a user";
    Reason::new(Kind::NoDevice, text)
}
