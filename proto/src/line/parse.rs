//! One line of line protocol, taken apart.

use crate::{
    Kind, Limits, Place, Precision, Reason, Time, Timestamp, ValueRef,
    line::number::{self, Fault},
    scratch::Piece,
    timestamp::text::out_of_range,
};

/// The line that is being taken apart, and how far the payload is read.
#[derive(Debug)]
pub(super) struct Line<'p> {
    bytes: &'p [u8],
    /// The payload, if all of it is UTF-8: then no part has to be looked at again.
    text: Option<&'p str>,
    pub(super) at: usize,
    /// Lines read so far, and those that quoted texts of this one brought.
    number: u32,
    feeds: u32,
    precision: Precision,
    limits: Limits,
    pub(super) measurement: Piece<'p>,
    pub(super) tags: Vec<(Piece<'p>, Piece<'p>)>,
    pub(super) fields: Vec<(Piece<'p>, Value<'p>)>,
    pub(super) left_out: Vec<(Piece<'p>, Reason)>,
    pub(super) time: Time,
    /// What had to be unescaped.
    pub(super) arena: String,
}

#[derive(Clone, Debug)]
pub(super) enum Value<'p> {
    Number(ValueRef<'static>),
    Text(Piece<'p>),
}

/// A broken line: where, why, and from where its end is to be looked for.
#[derive(Debug)]
pub(super) struct Broken {
    pub(super) at: usize,
    pub(super) resume: usize,
    /// The payload ends inside a quoted text: more of it might close the text.
    pub(super) is_open: bool,
    pub(super) reason: Reason,
}

impl Broken {
    fn new(at: usize, resume: usize, reason: Reason) -> Self {
        Self { at, resume, is_open: false, reason }
    }
}

impl<'p> Line<'p> {
    pub(super) fn new(bytes: &'p [u8], precision: Option<Precision>, limits: Limits) -> Self {
        Self {
            bytes,
            text: std::str::from_utf8(bytes).ok(),
            at: 0,
            number: 0,
            feeds: 0,
            precision: precision.unwrap_or_default(),
            limits,
            measurement: Piece::Plain(""),
            tags: Vec::new(),
            fields: Vec::new(),
            left_out: Vec::new(),
            time: Time::Unknown,
            arena: String::new(),
        }
    }

    /// Goes to the next line that is neither blank nor a comment.
    pub(super) fn begin(&mut self) -> Option<Place> {
        loop {
            self.skip_while(|byte| matches!(byte, b' ' | b'\t'));
            match self.peek()? {
                b'#' => self.skip_while(|byte| byte != b'\n'),
                _ if self.at_end() => self.end(),
                _ => {
                    let span = self.at..self.bytes.len();
                    return Some(Place { index: self.number, span });
                }
            }
        }
    }

    /// Takes the whole line apart; returns where it ends.
    pub(super) fn parse(&mut self) -> Result<usize, Broken> {
        self.feeds = 0;
        self.tags.clear();
        self.fields.clear();
        self.left_out.clear();
        self.arena.clear();
        self.measurement = self.measurement()?;
        while self.take(b',') {
            self.tag()?;
        }
        self.skip_while(|byte| byte == b' ');
        if self.at_end() {
            return self.broken("missing fields");
        }
        self.field()?;
        while self.take(b',') {
            self.field()?;
        }
        self.time = self.time()?;
        self.check_counts()?;
        let end = self.at;
        self.number = self.number.saturating_add(self.feeds);
        self.end();
        Ok(end)
    }

    fn tag(&mut self) -> Result<(), Broken> {
        let key = self.name("missing tag key")?;
        if !self.take(b'=') {
            return self.broken("missing tag value");
        }
        let value = self.name("missing tag value")?;
        if self.peek() == Some(b'=') {
            return self.broken("an = in a tag value needs a backslash before it");
        }
        // One too many is kept, so that it is seen; more only cost memory.
        if self.tags.len() <= self.limits.tags_max {
            self.tags.push((key, value));
        }
        Ok(())
    }

    fn field(&mut self) -> Result<(), Broken> {
        let name = self.field_name()?;
        if !self.take(b'=') {
            return self.broken("invalid field format: no = after the field key");
        }
        let value = if self.peek() == Some(b'"') {
            Ok(Value::Text(self.quoted()?))
        } else {
            self.unquoted()?
        };
        match value {
            Ok(value) if self.fields.len() <= self.limits.fields_max => {
                self.fields.push((name, value));
            }
            Err(reason) if self.left_out.len() <= self.limits.fields_max => {
                self.left_out.push((name, reason));
            }
            _ => {}
        }
        Ok(())
    }

    /// A number or boolean; the inner error costs only the field.
    fn unquoted(&mut self) -> Result<Result<Value<'p>, Reason>, Broken> {
        let start = self.at;
        self.skip_while_in_line(|byte| !matches!(byte, b',' | b' '));
        let token = self.bytes.get(start..self.at).unwrap_or_default();
        match number::parse(token) {
            Ok(value) => Ok(Ok(Value::Number(value))),
            Err(Fault::Field(reason)) => Ok(Err(reason)),
            Err(Fault::Line(what)) => {
                self.at = start;
                self.broken(what)
            }
        }
    }

    fn quoted(&mut self) -> Result<Piece<'p>, Broken> {
        let open = self.at;
        // The same words for both: whether more quotes follow must not change what is said.
        let what = "unbalanced quotes, or something behind the closing one";
        let unclosed = || Broken::new(open, open, Reason::new(Kind::Undecodable, what));
        let start = open + 1;
        let (mut end, mut escaped, mut feeds) = (start, false, 0);
        loop {
            match self.bytes.get(end) {
                None => return Err(Broken { is_open: true, ..unclosed() }),
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    end += 1;
                }
                Some(b'\n') => feeds += 1,
                Some(_) => {}
            }
            end += 1;
        }
        self.at = end + 1;
        if !(self.at_end() || matches!(self.peek(), Some(b',' | b' '))) {
            return Err(unclosed());
        }
        self.feeds = self.feeds.saturating_add(feeds);
        self.piece(start, end, escaped, |byte| matches!(byte, b'"' | b'\\'))
    }

    /// Here the backslash is taken from a quote as well.
    fn measurement(&mut self) -> Result<Piece<'p>, Broken> {
        let start = self.at;
        let escaped = self.skip_escaping(|byte| matches!(byte, b',' | b' '), is_separator);
        if self.at == start {
            return self.broken("missing measurement");
        }
        self.piece(start, self.at, escaped, |byte| is_separator(byte) || byte == b'"')
    }

    /// Up to a byte that ends it; a backslash takes that meaning from comma, space and `=`.
    fn name(&mut self, if_empty: &'static str) -> Result<Piece<'p>, Broken> {
        let start = self.at;
        let escaped = self.skip_escaping(is_separator, is_separator);
        if self.at == start {
            return self.broken(if_empty);
        }
        self.piece(start, self.at, escaped, is_separator)
    }

    /// As influxd has it, a backslash gives its meaning away to another one as well, and it is taken
    /// from a quote.
    fn field_name(&mut self) -> Result<Piece<'p>, Broken> {
        let start = self.at;
        let escaped = self.skip_escaping(is_separator, |byte| is_separator(byte) || byte == b'\\');
        if self.at == start {
            return self.broken("missing field key");
        }
        self.piece(start, self.at, escaped, |byte| is_separator(byte) || byte == b'"')
    }

    /// True if there is a backslash.
    fn skip_escaping(&mut self, ends: impl Fn(u8) -> bool, escapable: impl Fn(u8) -> bool) -> bool {
        let mut escaped = false;
        loop {
            self.skip_while_in_line(|byte| byte != b'\\' && !ends(byte));
            if !self.take(b'\\') {
                return escaped;
            }
            escaped = true;
            if self.peek().is_some_and(&escapable) {
                self.at += 1;
            }
        }
    }

    fn time(&mut self) -> Result<Time, Broken> {
        self.skip_while(|byte| byte == b' ');
        let start = self.at;
        self.skip_while_in_line(|byte| byte != b' ');
        let token = self.bytes.get(start..self.at).unwrap_or_default();
        self.skip_while(|byte| byte == b' ');
        if !self.at_end() {
            return self.broken("something follows the timestamp");
        }
        if token.is_empty() {
            return Ok(Time::Unknown);
        }
        let reason = match number::parse_timestamp(token) {
            Some(units) => {
                let nanos = units.checked_mul(self.precision.nanos()).map(Timestamp::from_nanos);
                match nanos {
                    Some(at) if at.is_storable() => return Ok(Time::At(at)),
                    _ => out_of_range(),
                }
            }
            None => Reason::new(Kind::Timestamp, "bad timestamp"),
        };
        Err(Broken::new(start, self.at, reason))
    }

    fn check_counts(&self) -> Result<(), Broken> {
        let allowed = self.limits.fields_max;
        if self.fields.len().max(self.left_out.len()) <= allowed {
            return Ok(());
        }
        let reason = Reason::new(Kind::Limit, format!("more than {allowed} fields"));
        Err(Broken::new(self.at, self.at, reason))
    }

    fn piece(
        &mut self,
        start: usize,
        end: usize,
        escaped: bool,
        escapable: impl Fn(u8) -> bool,
    ) -> Result<Piece<'p>, Broken> {
        let known = self.text.and_then(|text| text.get(start..end));
        let found = known.or_else(|| std::str::from_utf8(self.bytes.get(start..end)?).ok());
        let Some(text) = found else {
            let reason = Reason::new(Kind::Undecodable, "a text that is not UTF-8");
            return Err(Broken::new(start, end, reason));
        };
        if !escaped {
            return Ok(Piece::Plain(text));
        }
        let from = self.arena.len();
        let mut chars = text.chars().peekable();
        while let Some(char) = chars.next() {
            let next = chars.peek().and_then(|&next| u8::try_from(next).ok());
            if char != '\\' || !next.is_some_and(&escapable) {
                self.arena.push(char);
            } else if let Some(next) = chars.next() {
                self.arena.push(next);
            }
        }
        Ok(Piece::Made(from..self.arena.len()))
    }

    /// Goes behind the next line feed at or after `resume`; returns where the broken line ends.
    pub(super) fn skip_broken(&mut self, start: usize, resume: usize) -> usize {
        self.at = resume;
        self.skip_while(|byte| byte != b'\n');
        let line = self.bytes.get(start..self.at).unwrap_or_default();
        let feeds = line.iter().fold(0_u32, |feeds, byte| feeds + u32::from(*byte == b'\n'));
        self.number = self.number.saturating_add(feeds);
        let end = self.at - usize::from(line.last() == Some(&b'\r'));
        self.end();
        end
    }

    /// At a line feed, `\r\n`, or the end of the payload.
    fn at_end(&self) -> bool {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        matches!(rest, [] | [b'\n', ..] | [b'\r'] | [b'\r', b'\n', ..])
    }

    fn end(&mut self) {
        self.skip_while(|byte| byte == b'\r');
        if self.take(b'\n') {
            self.number = self.number.saturating_add(1);
        }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let here = self.peek() == Some(byte);
        self.at += usize::from(here);
        here
    }

    fn skip_while(&mut self, matches: impl Fn(u8) -> bool) {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        self.at += rest.iter().position(|byte| !matches(*byte)).unwrap_or(rest.len());
    }

    /// A carriage return ends a line only together with its line feed.
    fn skip_while_in_line(&mut self, matches: impl Fn(u8) -> bool) {
        loop {
            self.skip_while(|byte| !matches!(byte, b'\n' | b'\r') && matches(byte));
            if self.peek() != Some(b'\r') || self.at_end() {
                return;
            }
            self.at += 1;
        }
    }

    fn broken<T>(&self, what: &'static str) -> Result<T, Broken> {
        let reason = Reason::new(Kind::Undecodable, what);
        Err(Broken::new(self.at, self.at, reason))
    }
}

/// What names must escape.
fn is_separator(byte: u8) -> bool {
    matches!(byte, b',' | b'=' | b' ')
}
