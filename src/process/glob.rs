//! Patterns for names: `*` any characters, `?` one; a list of them, in which `!` takes away.
//!
//! Of a list the last pattern that fits decides. A list that begins with `!` begins with everything.

/// One pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob(Box<str>);

impl Glob {
    pub fn new(pattern: &str) -> Self {
        Self(pattern.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Goes back to the last `*` only, so it takes at most `pattern * name` steps.
    pub fn fits(&self, name: &str) -> bool {
        let (mut pattern, mut name) = (self.0.chars(), name.chars());
        let mut star = None;
        loop {
            let before = name.clone();
            let (wanted, given) = (pattern.next(), name.next());
            match (wanted, given) {
                (None, None) => return true,
                (Some('*'), _) => {
                    star = Some((pattern.clone(), before.clone()));
                    name = before;
                }
                (Some('?'), Some(_)) => {}
                (Some(wanted), Some(given)) if wanted == given => {}
                _ => {
                    // The last `*` takes one character more.
                    let Some((after, taken)) = &mut star else { return false };
                    if taken.next().is_none() {
                        return false;
                    }
                    (pattern, name) = (after.clone(), taken.clone());
                }
            }
        }
    }
}

/// Patterns in the order in which they were written. None at all: everything fits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Globs(Vec<(bool, Glob)>);

impl Globs {
    pub fn new<'p>(patterns: impl IntoIterator<Item = &'p str>) -> Self {
        let one = |pattern: &str| match pattern.strip_prefix('!') {
            Some(rest) => (false, Glob::new(rest)),
            None => (true, Glob::new(pattern)),
        };
        Self(patterns.into_iter().map(one).collect())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn fits(&self, name: &str) -> bool {
        let last = self.0.iter().rev().find(|(_, glob)| glob.fits(name));
        last.map_or_else(|| self.0.first().is_none_or(|(takes, _)| !takes), |(takes, _)| *takes)
    }

    /// As they were written.
    pub(super) fn patterns(&self) -> impl Iterator<Item = String> {
        let sign = |takes: &bool| if *takes { "" } else { "!" };
        self.0.iter().map(move |(takes, glob)| format!("{}{}", sign(takes), glob.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_take_any_run_of_characters_and_question_marks_one() {
        for (pattern, name, fits) in [
            ("climate", "climate", true),
            ("climate", "climates", false),
            ("*", "", true),
            ("*", "x", true),
            ("c*e", "climate", true),
            ("c*e", "ce", true),
            ("c*e", "climates", false),
            ("*_*_*", "a_b_c", true),
            ("*_*_*", "a_b", false),
            ("?", "ö", true),
            ("?", "", false),
            ("a?c*", "abcd", true),
            ("*ab", "aab", true),
            ("", "", true),
            ("", "a", false),
        ] {
            assert_eq!(Glob::new(pattern).fits(name), fits, "{pattern} {name}");
        }
    }

    #[test]
    fn a_pattern_made_to_be_slow_is_not() {
        let pattern = "*a".repeat(100);
        assert!(!Glob::new(&pattern).fits(&"b".repeat(10_000)));
    }

    #[test]
    fn the_last_pattern_that_fits_decides() {
        let globs = Globs::new(["t*", "!tmp_*", "tmp_kept"]);
        for (name, fits) in [("t1", true), ("tmp_x", false), ("tmp_kept", true), ("other", false)] {
            assert_eq!(globs.fits(name), fits, "{name}");
        }
        let all_but = Globs::new(["!debug*"]);
        assert!(all_but.fits("t") && !all_but.fits("debug_1"));
        assert!(Globs::default().fits("anything"));
    }
}
