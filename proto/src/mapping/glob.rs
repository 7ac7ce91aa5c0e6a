//! Names with gaps: `*` stands for any run of characters, none included, `?` for one.

/// A name, or a pattern for names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob {
    /// What stands between the stars.
    pieces: Vec<Box<str>>,
}

impl Glob {
    pub fn new(pattern: &str) -> Self {
        Self { pieces: pattern.split('*').map(Into::into).collect() }
    }

    /// Time goes with the length of the name and of the pattern, one after the other: the first
    /// place where a piece fits is as good as any later one.
    pub fn matches(&self, name: &str) -> bool {
        let [first, between @ .., last] = self.pieces.as_slice() else {
            let only = self.pieces.first().map_or("", |only| only);
            return fits(only, name) == Some("");
        };
        let Some(mut rest) = fits(first, name) else { return false };
        for piece in between {
            let Some(after) = find(piece, rest) else { return false };
            rest = after;
        }
        ends_with(last, rest)
    }
}

/// What follows `piece` at the start of `text`.
fn fits<'t>(piece: &str, text: &'t str) -> Option<&'t str> {
    let mut text = text.chars();
    for wanted in piece.chars() {
        let found = text.next()?;
        if wanted != '?' && wanted != found {
            return None;
        }
    }
    Some(text.as_str())
}

fn find<'t>(piece: &str, text: &'t str) -> Option<&'t str> {
    text.char_indices()
        .map(|(at, _)| at)
        .chain([text.len()])
        .find_map(|at| fits(piece, text.get(at..).unwrap_or_default()))
}

fn ends_with(piece: &str, text: &str) -> bool {
    let (wanted, there) = (piece.chars().count(), text.chars().count());
    let Some(before) = there.checked_sub(wanted) else { return false };
    let at = text.char_indices().nth(before).map_or(text.len(), |(at, _)| at);
    fits(piece, text.get(at..).unwrap_or_default()) == Some("")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition, written down.
    fn naive(pattern: &[char], name: &[char]) -> bool {
        match (pattern, name) {
            ([], []) => true,
            (['*', rest @ ..], _) => (0..=name.len()).any(|at| naive(rest, &name[at..])),
            ([wanted, pattern @ ..], [found, name @ ..]) => {
                (*wanted == '?' || wanted == found) && naive(pattern, name)
            }
            _ => false,
        }
    }

    #[test]
    fn stars_and_question_marks_stand_for_what_they_do_in_a_shell() {
        for (pattern, name, is_match) in [
            ("temperature", "temperature", true),
            ("temperature", "temperatures", false),
            ("temp*", "temperature", true),
            ("temp*", "temp", true),
            ("*_raw", "t_raw", true),
            ("*_raw", "t_raw_", false),
            ("a?c", "aöc", true),
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("a*a", "a", false),
            ("*b*", "abc", true),
        ] {
            assert_eq!(Glob::new(pattern).matches(name), is_match, "{pattern} {name}");
        }
    }

    proptest! {
        #[test]
        fn it_matches_what_its_definition_matches(pattern in "[ab?*]{0,8}", name in "[abö]{0,8}") {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            let expected = naive(&chars(&pattern), &chars(&name));
            prop_assert_eq!(Glob::new(&pattern).matches(&name), expected);
        }
    }
}
