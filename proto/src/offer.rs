//! What every decoder does with a reading it has taken apart: fills in what the context knows and
//! offers it to the encoder.

use crate::{Context, Kind, Limits, Place, ReadingRef, Readings, Reason, Rejects, Time, ValueRef};

/// A reading taken apart by its decoder, its lists being scratch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parts<'l, 'a> {
    /// Empty: the context's.
    pub(crate) measurement: &'a str,
    pub(crate) tags: &'l [(&'a str, &'a str)],
    pub(crate) fields: &'l [(&'a str, ValueRef<'a>)],
    pub(crate) time: Time,
}

/// Where a decoder hands over its readings. `'a`: the payload and its context.
#[derive(Debug)]
pub(crate) struct Offers<'a, 'o> {
    pub(crate) context: &'o Context<'a>,
    out: &'o mut Readings,
    bad: &'o mut Rejects,
    tags: Vec<(&'a str, &'a str)>,
}

impl<'a, 'o> Offers<'a, 'o> {
    pub(crate) fn new(
        context: &'o Context<'a>,
        out: &'o mut Readings,
        bad: &'o mut Rejects,
    ) -> Self {
        Self { context, out, bad, tags: Vec::new() }
    }

    pub(crate) fn limits(&self) -> Limits {
        *self.out.limits()
    }

    /// True if the reading was taken.
    pub(crate) fn offer(&mut self, parts: Parts<'_, 'a>, place: Place) -> bool {
        if let Err(reason) = self.merge_tags(parts.tags) {
            self.refuse(place, reason);
            return false;
        }
        let measurement = match parts.measurement {
            "" => self.context.measurement,
            named => named,
        };
        let reading = ReadingRef {
            measurement,
            tags: &self.tags,
            fields: parts.fields,
            time: parts.time,
            series: &[],
        };
        self.out.offer(&reading, self.context.arrival, place, self.bad)
    }

    pub(crate) fn refuse(&mut self, place: Place, reason: Reason) {
        self.bad.reading(place.index, place.span, reason);
    }

    /// The context's tags win over the payload's own, and among those none may come twice.
    fn merge_tags(&mut self, own: &[(&'a str, &'a str)]) -> Result<(), Reason> {
        let tags_max = self.out.limits().tags_max;
        if own.len() > tags_max {
            let text = format!("more than {tags_max} tags, the most allowed");
            return Err(Reason::new(Kind::Limit, text));
        }
        self.tags.clear();
        self.tags.extend_from_slice(self.context.tags);
        for &(key, value) in own {
            match self.tags.iter().position(|(earlier, _)| *earlier == key) {
                None => self.tags.push((key, value)),
                Some(at) if at < self.context.tags.len() => {}
                Some(_) => return Err(twice(key)),
            }
        }
        let device = |&(key, value): &(&str, &str)| key == "device" && !value.is_empty();
        if self.context.device_required && !self.tags.iter().any(device) {
            return Err(no_device());
        }
        Ok(())
    }
}

fn twice(key: &str) -> Reason {
    Reason::new(Kind::Name, format!("tag `{}` is given twice", crate::names::short(key)))
}

fn no_device() -> Reason {
    let text = "nothing says which device sent it: give a `device` in the reading, \
                `?device=` in the URL, or log in as a user";
    Reason::new(Kind::NoDevice, text)
}
