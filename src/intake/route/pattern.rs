//! A rule's topic, read: `garden/{device}/{field}`.
//!
//! A level is a literal, `+` (any one level), `#` (all that follows, nothing included), `{name}`
//! (one level that is not empty, captured) or `{name..}` (one level or several, not empty, captured:
//! the tail of a topic, or what stands before the levels that come after it). Captures are tags, but
//! for `{measurement}` and `{field}`; `{device}` is the tag that says who sent it.

/// Topics with more levels than this can only be matched by what ends in a tail.
pub(super) const LEVELS_MAX: usize = 64;

const RESERVED: [&str; 3] = ["measurement", "field", "device"];

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Level {
    Literal(Box<str>),
    Any,
    Capture(Capture),
    AnyTail,
    CaptureTail(Capture),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Capture {
    Measurement,
    Field,
    Tag(Box<str>),
}

impl Level {
    /// It may stand for several levels. A topic has one such level at most.
    pub(super) fn is_tail(&self) -> bool {
        matches!(self, Self::AnyTail | Self::CaptureTail(_))
    }
}

impl Capture {
    fn new(name: &str) -> Self {
        match name {
            "measurement" => Self::Measurement,
            "field" => Self::Field,
            tag => Self::Tag(tag.into()),
        }
    }

    pub(super) fn name(&self) -> &str {
        match self {
            Self::Measurement => "measurement",
            Self::Field => "field",
            Self::Tag(tag) => tag,
        }
    }
}

/// What is wrong with a rule's topic, and at which byte of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PatternError {
    pub(super) at: usize,
    pub(super) what: String,
}

pub(super) fn parse(topic: &str) -> Result<Vec<Level>, PatternError> {
    let fail = |at: usize, what: String| Err(PatternError { at, what });
    if topic.is_empty() {
        return fail(0, "a rule's topic is empty; `#` takes every topic".into());
    }
    let mut levels: Vec<Level> = Vec::new();
    let mut at = 0;
    for text in topic.split('/') {
        if levels.len() == LEVELS_MAX {
            return fail(at, format!("more than {LEVELS_MAX} levels; end in `{{rest..}}` or `#`"));
        }
        if let Some(Level::AnyTail) = levels.last() {
            return fail(at, "nothing may come after `#`".into());
        }
        let level = parse_level(text).map_err(|error| error.moved(at))?;
        if level.is_tail() && levels.iter().any(Level::is_tail) {
            return fail(at, "only one of a topic's levels can stand for several".into());
        }
        if let Level::Capture(capture) | Level::CaptureTail(capture) = &level
            && captures(&levels).any(|earlier| earlier == capture)
        {
            return fail(at, format!("`{{{}}}` is captured twice", capture.name()));
        }
        levels.push(level);
        at += text.len() + 1;
    }
    Ok(levels)
}

/// What stands before the level that may be several, that level, and what comes after it.
pub(super) fn around_tail(levels: &[Level]) -> (&[Level], Option<&Level>, &[Level]) {
    let at = levels.iter().position(Level::is_tail).unwrap_or(levels.len());
    let (before, rest) = levels.split_at_checked(at).unwrap_or((levels, &[]));
    match rest.split_first() {
        Some((tail, after)) => (before, Some(tail), after),
        None => (before, None, &[]),
    }
}

pub(super) fn captures(levels: &[Level]) -> impl Iterator<Item = &Capture> {
    levels.iter().filter_map(|level| match level {
        Level::Capture(capture) | Level::CaptureTail(capture) => Some(capture),
        Level::Literal(_) | Level::Any | Level::AnyTail => None,
    })
}

fn parse_level(text: &str) -> Result<Level, PatternError> {
    match text {
        "+" => return Ok(Level::Any),
        "#" => return Ok(Level::AnyTail),
        _ => {}
    }
    if let Some(meant) = look_alike(text) {
        return Err(PatternError { at: 0, what: format!("did you mean `{meant}`?") });
    }
    if let Some(inside) = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
        return parse_capture(inside).map_err(|error| error.moved(1));
    }
    if let Some((at, found)) = text.char_indices().find(|(_, c)| "{}+#".contains(*c)) {
        return Err(misplaced(text, at, found));
    }
    match text.char_indices().find(|(_, c)| c.is_control()) {
        Some((at, _)) => Err(PatternError { at, what: "a control character".into() }),
        None => Ok(Level::Literal(text.into())),
    }
}

/// Other notations for the same idea: never a topic that anyone publishes to.
fn look_alike(text: &str) -> Option<String> {
    let between = |open: &str, close: &str| {
        let inside = text.strip_prefix(open)?.strip_suffix(close)?;
        is_name(inside).then(|| format!("{{{inside}}}"))
    };
    match text {
        "*" => Some("+".into()),
        "**" => Some("#".into()),
        _ => between("<", ">").or_else(|| between("${", "}")).or_else(|| between("{{", "}}")),
    }
}

fn misplaced(text: &str, at: usize, found: char) -> PatternError {
    let rest = text.get(at + 1..).unwrap_or_default();
    let what = match found {
        '{' if at == 0 && !rest.contains('}') => {
            let name: String = rest.chars().take_while(|c| c.is_alphanumeric()).collect();
            format!("`{{` is not closed; did you mean `{{{name}}}`?")
        }
        '{' | '}' => "a capture is a whole level, between slashes, as in `a/{device}/b`".into(),
        other => format!("`{other}` stands for a whole level, between slashes"),
    };
    PatternError { at, what }
}

fn parse_capture(inside: &str) -> Result<Level, PatternError> {
    let fail = |at: usize, what: String| Err(PatternError { at, what });
    let (name, is_tail) = match inside.strip_suffix("..") {
        Some(name) => (name, true),
        None => (inside, false),
    };
    if name.is_empty() {
        return fail(0, "a capture needs a name, as in `{device}`".into());
    }
    if let Some((at, found)) = name.char_indices().find(|(_, c)| !is_name_char(*c)) {
        let what = match found {
            '.' => format!("did you mean `{{{}..}}`, several levels?", name.trim_end_matches('.')),
            '{' | '}' => "a capture is a whole level, between slashes".into(),
            other => format!("`{}` in a capture's name", other.escape_default()),
        };
        return fail(at, what);
    }
    if let Some(meant) = RESERVED.iter().find(|reserved| is_nearly(name, reserved)) {
        return fail(0, format!("did you mean `{{{meant}}}`?"));
    }
    if let Some(what) = tag_name_problem(name) {
        return fail(0, what);
    }
    let capture = Capture::new(name);
    Ok(if is_tail { Level::CaptureTail(capture) } else { Level::Capture(capture) })
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(is_name_char)
}

fn is_name_char(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '-'
}

/// Why `name` cannot be a tag's name in the database, if it cannot.
pub(crate) fn tag_name_problem(name: &str) -> Option<String> {
    match name {
        "" => Some("a tag needs a name".into()),
        "time" | "_measurement" | "_field" => Some(format!("InfluxDB keeps `{name}` for itself")),
        _ if name.chars().any(char::is_control) => Some("a control character in a name".into()),
        _ => None,
    }
}

/// Why `name` cannot be a field's name, if it cannot.
pub(crate) fn field_name_problem(name: &str) -> Option<String> {
    match name {
        "" => Some("a field needs a name".into()),
        "time" => Some("InfluxDB keeps `time` for itself".into()),
        _ if name.chars().any(char::is_control) => Some("a control character in a name".into()),
        _ => None,
    }
}

/// Why `value` cannot be a tag's value, if it cannot.
pub(crate) fn tag_value_problem(value: &str) -> Option<String> {
    let is_illegal = value.is_empty() || value.chars().any(char::is_control);
    is_illegal.then(|| "a tag's value must not be empty or hold control characters".into())
}

/// One slip of the finger (or of the shift key) away, but not the same.
fn is_nearly(name: &str, reserved: &str) -> bool {
    name != reserved && is_slip(&name.to_lowercase(), reserved)
}

/// At most one letter more, less, other or swapped with its neighbour.
fn is_slip(name: &str, meant: &str) -> bool {
    let (name, meant): (Vec<char>, Vec<char>) = (name.chars().collect(), meant.chars().collect());
    let same = name.iter().zip(&meant).take_while(|(one, other)| one == other).count();
    match (name.get(same..).unwrap_or_default(), meant.get(same..).unwrap_or_default()) {
        ([], []) => true,
        ([_, name @ ..], meant) if name == meant => true,
        (name, [_, meant @ ..]) if name == meant => true,
        ([_, name @ ..], [_, meant @ ..]) if name == meant => true,
        ([first, second, name @ ..], [one, other, meant @ ..]) => {
            name == meant && first == other && second == one
        }
        _ => false,
    }
}

impl PatternError {
    fn moved(self, by: usize) -> Self {
        Self { at: self.at + by, what: self.what }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(name: &str) -> Capture {
        Capture::Tag(name.into())
    }

    #[test]
    fn reads_every_kind_of_level() {
        assert_eq!(
            parse("garden//{device}/+/{field}/{rest..}").unwrap(),
            [
                Level::Literal("garden".into()),
                Level::Literal("".into()),
                Level::Capture(tag("device")),
                Level::Any,
                Level::Capture(Capture::Field),
                Level::CaptureTail(tag("rest")),
            ]
        );
        assert_eq!(
            parse("{measurement}/#").unwrap(),
            [Level::Capture(Capture::Measurement), Level::AnyTail]
        );
        assert_eq!(parse("$SYS/+").unwrap(), [Level::Literal("$SYS".into()), Level::Any]);
    }

    #[test]
    fn says_where_a_topic_is_wrong_and_what_was_meant() {
        let many = "a/".repeat(LEVELS_MAX);
        for (topic, at, what) in [
            ("", 0, "a rule's topic is empty; `#` takes every topic"),
            ("a/{device", 2, "`{` is not closed; did you mean `{device}`?"),
            ("a/x{device}", 3, "a capture is a whole level, between slashes, as in `a/{device}/b`"),
            ("a/{device}x", 2, "a capture is a whole level, between slashes, as in `a/{device}/b`"),
            ("a/{a}-{b}", 4, "a capture is a whole level, between slashes"),
            ("a/{}", 3, "a capture needs a name, as in `{device}`"),
            ("a/{..}", 3, "a capture needs a name, as in `{device}`"),
            ("a/{Device}/b", 3, "did you mean `{device}`?"),
            ("a/{devcie}", 3, "did you mean `{device}`?"),
            ("a/{fields}", 3, "did you mean `{field}`?"),
            ("a/{measurment}", 3, "did you mean `{measurement}`?"),
            ("a/<device>", 2, "did you mean `{device}`?"),
            ("a/${room}", 2, "did you mean `{room}`?"),
            ("a/{{room}}", 2, "did you mean `{room}`?"),
            ("a/*", 2, "did you mean `+`?"),
            ("a/**", 2, "did you mean `#`?"),
            ("a/{room...}", 7, "did you mean `{room..}`, several levels?"),
            ("a/{room.}", 7, "did you mean `{room..}`, several levels?"),
            ("a/{the room}", 6, "` ` in a capture's name"),
            ("a/b+", 3, "`+` stands for a whole level, between slashes"),
            ("a/#/b", 4, "nothing may come after `#`"),
            ("{x..}/b/{y..}", 8, "only one of a topic's levels can stand for several"),
            ("a/{x..}/#", 8, "only one of a topic's levels can stand for several"),
            ("{a}/{b}/{a}", 8, "`{a}` is captured twice"),
            ("a/{time}", 3, "InfluxDB keeps `time` for itself"),
            ("a/b\u{7}", 3, "a control character"),
            (many.as_str(), 128, "more than 64 levels; end in `{rest..}` or `#`"),
        ] {
            let error = parse(topic).expect_err(topic);
            assert_eq!((error.at, error.what.as_str()), (at, what), "{topic}");
        }
    }

    #[test]
    fn names_that_only_resemble_reserved_ones_are_tags() {
        for name in ["room", "dev", "site", "measure", "fieldname"] {
            assert_eq!(parse(&format!("{{{name}}}")).unwrap(), [Level::Capture(tag(name))]);
        }
    }
}
