//! One table of the text, read key by key.
//!
//! Whoever reads a table asks for each key it knows by name and meaning. What does not fit is a
//! problem at the value's place, and reading goes on with the default, so that one run finds every
//! problem. Keys that nobody asked for are problems too, with the known key that was likely meant:
//! what is known is what was asked for, so the two cannot drift apart.
//!
//! (Not serde: it stops at the first problem.)

use std::{
    cell::RefCell,
    fmt::Display,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    ops::{Range, RangeInclusive},
    path::PathBuf,
    time::Duration,
};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::nearest::nearest;
use super::place::Problems;
use super::value::{article, list, text, with_unit};
use super::{Surroundings, units};

/// What reading needs beside the text.
#[derive(Debug)]
pub(super) struct Desk<'t> {
    pub(super) problems: Problems<'t>,
    pub(super) around: &'t Surroundings<'t>,
}

/// A table, or the lack of it: then every key has its default.
#[derive(Debug)]
pub(super) struct Table<'t> {
    desk: &'t Desk<'t>,
    /// As it is written: `[mqtt]`.
    name: String,
    entries: Option<&'t DeTable<'t>>,
    span: Option<Range<usize>>,
    asked: RefCell<Vec<&'static str>>,
}

impl<'t> Table<'t> {
    pub(super) fn root(desk: &'t Desk<'t>, entries: &'t DeTable<'t>) -> Self {
        let asked = RefCell::default();
        Self { desk, name: "the top level".into(), entries: Some(entries), span: None, asked }
    }

    pub(super) fn is_there(&self) -> bool {
        self.entries.is_some()
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.is_some_and(|entries| entries.contains_key(key))
    }

    /// The table of that name in this one, there or not.
    pub(super) fn table(&self, key: &'static str) -> Self {
        let found = self.value(key);
        let entries = found.and_then(|value| match value.get_ref() {
            DeValue::Table(entries) => Some(entries),
            DeValue::Array(_) => {
                let name = self.name_of(key);
                self.problem(
                    value,
                    format!("write `[{name}]`, not `[[{name}]]`: there is only one"),
                );
                None
            }
            other => {
                self.problem(value, format!("expected a table, found {}", article(other)));
                None
            }
        });
        let span = found.map(Spanned::span);
        let name = format!("[{}]", self.name_of(key));
        Self { desk: self.desk, name, entries, span, asked: RefCell::default() }
    }

    /// All tables of that name: `[[output]]`.
    pub(super) fn tables(&self, key: &'static str) -> Vec<Self> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let DeValue::Array(items) = value.get_ref() else {
            let name = self.name_of(key);
            let advice = format!("write `[[{name}]]`, not `[{name}]`: there may be several");
            self.problem(value, advice);
            return Vec::new();
        };
        let table = |item: &'t Spanned<DeValue<'t>>| {
            let DeValue::Table(entries) = item.get_ref() else {
                self.problem(item, format!("expected a table, found {}", article(item.get_ref())));
                return None;
            };
            Some(Self {
                desk: self.desk,
                name: format!("[[{}]]", self.name_of(key)),
                entries: Some(entries),
                span: Some(item.span()),
                asked: RefCell::default(),
            })
        };
        items.iter().filter_map(table).collect()
    }

    /// The last word on this table: what nobody asked for is unknown.
    pub(super) fn done(self) {
        // In a broken text keys may have lost the header of their table.
        if self.span.is_none() && self.desk.problems.is_broken() {
            return;
        }
        let asked = self.asked.borrow();
        let unknown = self
            .entries
            .into_iter()
            .flatten()
            .filter(|(key, _)| !asked.contains(&key.get_ref().as_ref()));
        for (key, _) in unknown {
            let typed = key.get_ref();
            let hint = match nearest(typed, &asked) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("{} takes {}", self.name, list(&asked)),
            };
            let text = format!("unknown key `{}`; {hint}", typed.escape_debug());
            self.desk.problems.at(key.span().start, text);
        }
    }

    /// A problem with the value of a key; with the table, if the key is not there.
    pub(super) fn wrong(&self, key: &str, text: impl Into<String>) {
        match self.span_of(key).or_else(|| self.span.clone()) {
            Some(span) => self.desk.problems.at(span.start, text),
            None => self.desk.problems.missing(None, text),
        }
    }

    /// A problem inside a text value, at this byte of it.
    pub(super) fn wrong_inside(&self, key: &str, at: usize, text: impl Into<String>) {
        let is_plain = |span: &Range<usize>, value: &str| span.len() == value.len() + 2;
        let value = self.entries.and_then(|entries| entries.get(key));
        match value.map(|value| (value.span(), value.get_ref())) {
            // Byte for byte as typed: one pair of quotes, no escapes.
            Some((span, DeValue::String(value))) if is_plain(&span, value) => {
                self.desk.problems.at(span.start + 1 + at, text);
            }
            _ => self.wrong(key, text),
        }
    }

    /// A problem with the text as a whole.
    pub(super) fn nowhere(&self, text: &str) {
        self.desk.problems.missing(None, text);
    }

    pub(super) fn missing(&self, key: &str, advice: impl Display) {
        if !self.has(key) {
            let near = self.span.as_ref().map(|span| span.start);
            self.desk
                .problems
                .missing(near, format!("`{key}` is missing in {}: {advice}", self.name));
        }
    }

    pub(super) fn around(&self) -> &'t Surroundings<'t> {
        self.desk.around
    }

    pub(super) fn opt_text(&self, key: &'static str) -> Option<String> {
        self.read(key, text)
    }

    /// A text that must be there and not be empty.
    pub(super) fn need_text(&self, key: &'static str, advice: &str) -> Option<String> {
        let found = self.read(key, |value| match text(value)?.as_str() {
            "" => Err(format!("must not be empty: {advice}")),
            text => Ok(text.to_owned()),
        });
        self.missing(key, advice);
        found
    }

    pub(super) fn texts(&self, key: &'static str) -> Option<Vec<(String, usize)>> {
        self.read_spanned(key, |value, _| {
            let DeValue::Array(items) = value else {
                return Err(format!("expected a list of texts, found {}", article(value)));
            };
            let one = |item: &Spanned<DeValue<'_>>| {
                let at = item.span().start;
                text(item.get_ref()).map(|text| (text, at))
            };
            items.iter().map(one).collect()
        })
    }

    /// Names and texts, as in `tags = { site = "x" }`.
    pub(super) fn pairs(&self) -> Vec<(String, String)> {
        self.entries(text)
    }

    /// A table whose names are free, as in `scale = { voltage = 0.001 }`.
    pub(super) fn entries<T>(
        &self,
        meaning: impl Fn(&DeValue<'t>) -> Result<T, String>,
    ) -> Vec<(String, T)> {
        let mut entries = Vec::new();
        for (name, value) in self.entries.into_iter().flatten() {
            match meaning(value.get_ref()) {
                Ok(read) => entries.push((name.get_ref().to_string(), read)),
                Err(problem) => self.problem(value, problem),
            }
        }
        entries
    }

    /// A value, without asking for its key.
    pub(super) fn peek(&self, key: &str) -> Option<&'t DeValue<'t>> {
        self.entries.and_then(|entries| entries.get(key)).map(Spanned::get_ref)
    }

    pub(super) fn flag(&self, key: &'static str, target: &mut bool) {
        let read = self.read(key, |value| match value {
            DeValue::Boolean(value) => Ok(*value),
            other => Err(format!("expected true or false, found {}", article(other))),
        });
        *target = read.unwrap_or(*target);
    }

    /// A whole number within bounds.
    pub(super) fn count<T>(&self, key: &'static str, within: RangeInclusive<T>, target: &mut T)
    where
        T: TryFrom<i128> + PartialOrd + Display + Copy,
    {
        if let Some(read) = self.opt_count(key, within) {
            *target = read;
        }
    }

    pub(super) fn opt_count<T>(&self, key: &'static str, within: RangeInclusive<T>) -> Option<T>
    where
        T: TryFrom<i128> + PartialOrd + Display + Copy,
    {
        self.read(key, |value| {
            let DeValue::Integer(value) = value else {
                return Err(format!("expected a whole number, found {}", article(value)));
            };
            let number = i128::from_str_radix(value.as_str(), value.radix());
            let number = number.ok().and_then(|number| T::try_from(number).ok());
            number.filter(|number| within.contains(number)).ok_or_else(|| {
                format!("{value} is not between {} and {}", within.start(), within.end())
            })
        })
    }

    /// A size within bounds.
    pub(super) fn bytes<T>(&self, key: &'static str, within: RangeInclusive<u64>, target: &mut T)
    where
        T: TryFrom<u64>,
    {
        let read = self.opt_bytes(key, within).and_then(|read| T::try_from(read).ok());
        if let Some(read) = read {
            *target = read;
        }
    }

    pub(super) fn opt_bytes(&self, key: &'static str, within: RangeInclusive<u64>) -> Option<u64> {
        self.read(key, |value| {
            let size = units::bytes(&with_unit(value, "64MiB")?)?;
            let (least, most) = (within.start(), within.end());
            let bounds = || format!("must be between {least} and {most} bytes");
            within.contains(&size).then_some(size).ok_or_else(bounds)
        })
    }

    pub(super) fn duration(
        &self,
        key: &'static str,
        within: RangeInclusive<Duration>,
        target: &mut Duration,
    ) {
        let read = self.read(key, |value| {
            let time = units::duration(&with_unit(value, "10s")?)?;
            let bounds = || format!("must be between {:?} and {:?}", within.start(), within.end());
            within.contains(&time).then_some(time).ok_or_else(bounds)
        });
        *target = read.unwrap_or(*target);
    }

    /// One word out of a few.
    pub(super) fn choice<T: Copy>(
        &self,
        key: &'static str,
        words: &[(&'static str, T)],
    ) -> Option<T> {
        let names: Vec<_> = words.iter().map(|(word, _)| *word).collect();
        self.read(key, |value| {
            let typed = text(value)?;
            let found = words.iter().find(|(word, _)| *word == typed).map(|(_, meant)| *meant);
            found.ok_or_else(|| match nearest(&typed, &names) {
                Some(meant) => format!("`{typed}` is not known; did you mean `{meant}`?"),
                None => format!("`{typed}` is not known; it is one of {}", list(&names)),
            })
        })
    }

    /// An address to listen on.
    pub(super) fn address(&self, key: &'static str, target: &mut SocketAddr) {
        let read = self.read(key, |value| {
            let typed = text(value)?;
            let local = typed.strip_prefix("localhost:").and_then(|port| port.parse().ok());
            let local =
                local.map(|port: u16| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port));
            local.or_else(|| typed.parse().ok()).ok_or_else(|| {
                format!(
                    "`{typed}` is no address to listen on; write an IP address and a port, for \
                     example \"127.0.0.1:{}\" or \"[::]:{}\"",
                    target.port(),
                    target.port()
                )
            })
        });
        *target = read.unwrap_or(*target);
    }

    /// A path; a relative one counts from the directory of the config file.
    pub(super) fn opt_path(&self, key: &'static str) -> Option<PathBuf> {
        self.read(key, |value| match text(value)?.as_str() {
            "" => Err("a path must not be empty".into()),
            path => Ok(self.desk.around.dir.join(path)),
        })
    }

    pub(super) fn path(&self, key: &'static str, target: &mut PathBuf) {
        if let Some(path) = self.opt_path(key) {
            *target = path;
        }
    }

    /// Keys that are known here, though nobody reads them now.
    pub(super) fn ask(&self, keys: &[&'static str]) {
        let mut asked = self.asked.borrow_mut();
        for key in keys {
            if !asked.contains(key) {
                asked.push(key);
            }
        }
    }

    /// The value of a key, whatever it is.
    pub(super) fn value(&self, key: &'static str) -> Option<&'t Spanned<DeValue<'t>>> {
        self.ask(&[key]);
        self.entries.and_then(|entries| entries.get(key))
    }

    pub(super) fn problem(&self, value: &Spanned<DeValue<'_>>, text: impl Into<String>) {
        self.desk.problems.at(value.span().start, text);
    }

    pub(super) fn problem_at(&self, at: usize, text: impl Into<String>) {
        self.desk.problems.at(at, text);
    }

    pub(super) fn span_of(&self, key: &str) -> Option<Range<usize>> {
        self.entries.and_then(|entries| entries.get(key)).map(Spanned::span)
    }

    /// Reads a value, if it is there, or says at its place why that cannot be.
    pub(super) fn read<T>(
        &self,
        key: &'static str,
        meaning: impl FnOnce(&DeValue<'t>) -> Result<T, String>,
    ) -> Option<T> {
        self.read_spanned(key, |value, _| meaning(value))
    }

    fn read_spanned<T>(
        &self,
        key: &'static str,
        meaning: impl FnOnce(&'t DeValue<'t>, Range<usize>) -> Result<T, String>,
    ) -> Option<T> {
        let value = self.value(key)?;
        match meaning(value.get_ref(), value.span()) {
            Ok(read) => Some(read),
            Err(problem) => {
                self.problem(value, format!("`{key}`: {problem}"));
                None
            }
        }
    }

    fn name_of(&self, key: &str) -> String {
        match self.name.trim_matches(['[', ']']) {
            "the top level" => key.to_owned(),
            name => format!("{name}.{key}"),
        }
    }
}
