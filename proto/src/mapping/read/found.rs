//! A reading's tags and time, wherever they stand in the payload; what they took is no field any more.

use super::{Reader, Subject};
use crate::{
    Kind, Reason, Time,
    mapping::{Path, nested::Content},
    timestamp::text::age_from_millis_text,
    tree::{Scalar, is_time, time_of},
};

/// What was found of a reading, before its fields are seen.
#[derive(Default)]
pub(super) struct Found<'r> {
    pub(super) tags: Vec<(&'r str, &'r str)>,
    pub(super) time: Option<Time>,
    /// Nodes that are no fields any more.
    pub(super) used: Vec<usize>,
}

impl<'r> Reader<'r, '_> {
    pub(super) fn found<'f>(&self, subject: Subject<'f>) -> Result<Found<'f>, Reason>
    where
        'r: 'f,
    {
        let mut found = Found::default();
        self.find_tags(subject, &mut found);
        found.time = match &subject.case.times {
            Some(paths) => self.time_at(subject, paths, &mut found.used)?,
            None => match self.time_by_name(subject.at, &mut found.used)? {
                Some(time) => Some(time),
                None => match subject.around {
                    Some(around) => self.time_by_name(around, &mut found.used)?,
                    None => None,
                },
            },
        };
        Ok(found)
    }

    fn find_tags<'f>(&self, subject: Subject<'f>, found: &mut Found<'f>)
    where
        'r: 'f,
    {
        let nested = self.nested;
        for (tag, path) in &subject.case.tags {
            let Some(at) = self.resolve(subject, path) else { continue };
            if let Some(text) = self.tag_text(at) {
                found.tags.push((tag, text));
            }
            found.used.push(at);
        }
        if let (Some(tag), Some(_)) = (&subject.case.split, subject.around)
            && let Some(part) = nested.get(subject.at)
        {
            found.tags.push((tag, nested.text(&part.key)));
        }
        let names_device = subject.case.tags.iter().any(|(tag, _)| tag == "device");
        if names_device || self.offers.context.tags.iter().any(|(tag, _)| *tag == "device") {
            return;
        }
        for owner in [Some(subject.at), subject.around].into_iter().flatten() {
            let device = nested.find(owner, &["device".into()]);
            if let Some(at) = device.filter(|at| self.text_at(*at).is_some()) {
                found.tags.extend(self.text_at(at).map(|text| ("device", text)));
                found.used.push(at);
                return;
            }
        }
    }

    /// The first that can be trusted.
    fn time_at(
        &self,
        subject: Subject<'_>,
        paths: &[Path],
        used: &mut Vec<usize>,
    ) -> Result<Option<Time>, Reason> {
        let mut time = None;
        for path in paths {
            let Some(at) = self.resolve(subject, path) else { continue };
            used.push(at);
            if time.is_none() {
                time = self.scalar(at).map_or(Ok(None), |value| self.time_of(value))?;
            }
        }
        Ok(time)
    }

    /// `ts`, `time`, `timestamp`; of several the last counts, and all of them before an age.
    fn time_by_name(&self, owner: usize, used: &mut Vec<usize>) -> Result<Option<Time>, Reason> {
        let (mut time, mut age) = (None, None);
        for (at, node) in self.nested.children(owner) {
            let Content::Scalar(value) = &node.content else { continue };
            match (self.nested.text(&node.key), value) {
                ("age_ms", Scalar::Number(text)) => {
                    age = Some(Time::Age(age_from_millis_text(self.nested.text(text))?));
                    used.push(at);
                }
                (_, Scalar::Boolean(_)) => {}
                (name, value) if is_time(name) => {
                    time = self.time_of(value)?.or(time);
                    used.push(at);
                }
                _ => {}
            }
        }
        Ok(time.or(age))
    }

    fn time_of(&self, value: &Scalar<'_>) -> Result<Option<Time>, Reason> {
        match time_of(value, &self.nested.arena, self.offers.context)? {
            Some(Ok(at)) => Ok(Some(Time::At(at))),
            Some(Err(why)) => {
                self.offers.distrust(why);
                Ok(None)
            }
            None => Ok(None),
        }
    }

    /// A rule that says where the device stands must find one: unnamed ones would meet in one series.
    pub(super) fn check_device(
        &self,
        subject: Subject<'_>,
        found: &Found<'_>,
    ) -> Result<(), Reason> {
        let Some((_, path)) = subject.case.tags.iter().find(|(tag, _)| tag == "device") else {
            return Ok(());
        };
        let given = found.tags.iter().chain(self.offers.context.tags);
        if given.into_iter().any(|(tag, value)| *tag == "device" && !value.is_empty()) {
            return Ok(());
        }
        let text = format!("nothing at `{path}` says which device sent it");
        Err(Reason::new(Kind::NoDevice, text))
    }

    fn text_at(&self, at: usize) -> Option<&'r str> {
        match self.scalar(at)? {
            Scalar::Text(piece) => Some(self.nested.text(piece)),
            _ => None,
        }
    }

    fn tag_text(&self, at: usize) -> Option<&'r str> {
        match self.scalar(at)? {
            Scalar::Text(piece) | Scalar::Number(piece) => Some(self.nested.text(piece)),
            Scalar::Boolean(true) => Some("true"),
            Scalar::Boolean(false) => Some("false"),
            _ => None,
        }
    }
}
