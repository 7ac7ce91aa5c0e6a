//! Problems, each at its line and column, in the order of the text.

use std::{cell::RefCell, fmt, ops::Range};

/// Every problem found in a configuration, not only the first: `tidegate.toml:4:16: ...`, a line
/// each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors {
    file_name: String,
    problems: Vec<Problem>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// From 1. `None`: about the file as a whole.
    pub place: Option<Place>,
    pub text: String,
}

/// Where in a text, as editors count: both from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub line: usize,
    pub column: usize,
}

impl ConfigErrors {
    /// Of a file that could not be read at all.
    pub(super) fn whole_file(file_name: &str, text: String) -> Self {
        let problems = vec![Problem { place: None, text }];
        Self { file_name: file_name.to_owned(), problems }
    }

    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl std::error::Error for ConfigErrors {}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.problems.iter().enumerate() {
            let end_of_last = if at == 0 { "" } else { "\n" };
            let (file, text) = (&self.file_name, &problem.text);
            match problem.place {
                Some(Place { line, column }) => {
                    write!(f, "{end_of_last}{file}:{line}:{column}: {text}")?;
                }
                None => write!(f, "{end_of_last}{file}: {text}")?,
            }
        }
        Ok(())
    }
}

/// Collects problems while a text is read.
#[derive(Debug)]
pub(super) struct Problems<'t> {
    text: &'t str,
    /// Where the text is not TOML.
    syntax: RefCell<Vec<(Option<usize>, String)>>,
    /// What is wrong with its meaning.
    found: RefCell<Vec<(Option<usize>, String)>>,
}

impl<'t> Problems<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, syntax: RefCell::default(), found: RefCell::default() }
    }

    pub(super) fn syntax(&self, span: Option<Range<usize>>, text: String) {
        self.syntax.borrow_mut().push((span.map(|span| span.start), text));
    }

    /// Not all of the text could be read: what seems to be missing may be there.
    pub(super) fn is_broken(&self) -> bool {
        !self.syntax.borrow().is_empty()
    }

    pub(super) fn at(&self, offset: usize, text: impl Into<String>) {
        self.found.borrow_mut().push((Some(offset), text.into()));
    }

    /// Something is not there. `near`: the table where it should be.
    pub(super) fn missing(&self, near: Option<usize>, text: impl Into<String>) {
        if !self.is_broken() {
            self.found.borrow_mut().push((near, text.into()));
        }
    }

    pub(super) fn into_errors(self, file_name: &str) -> Option<ConfigErrors> {
        let placed = |(at, text): (Option<usize>, String)| Problem {
            place: at.map(|at| place(self.text, at)),
            text,
        };
        let mut problems: Vec<_> = self.syntax.into_inner().into_iter().map(placed).collect();
        let line = |problem: &Problem| problem.place.map(|place| place.line);
        let broken_lines: Vec<_> = problems.iter().map(line).collect();
        // What was read out of a broken line is not what was meant.
        let found = self.found.into_inner().into_iter().map(placed);
        problems.extend(found.filter(|problem| !broken_lines.contains(&line(problem))));
        // What concerns the whole file last: it reads best after what may have caused it.
        problems.sort_by_key(|problem| (problem.place.is_none(), problem.place));
        problems.dedup();
        let file_name = file_name.to_owned();
        (!problems.is_empty()).then_some(ConfigErrors { file_name, problems })
    }
}

fn place(text: &str, at: usize) -> Place {
    let before = text.get(..text.floor_char_boundary(at)).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let column = before.get(start..).unwrap_or_default().chars().count() + 1;
    Place { line, column }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_from_one_and_columns_in_characters() {
        let text = "a = 1\nö = \"ä\"\n";
        for (at, line, column) in
            [(0, 1, 1), (4, 1, 5), (6, 2, 1), (8, 2, 2), (11, 2, 5), (99, 3, 1)]
        {
            assert_eq!(place(text, at), Place { line, column }, "byte {at}");
        }
    }

    #[test]
    fn problems_come_in_the_order_of_the_text_and_once() {
        let problems = Problems::new("a\nb\n");
        problems.missing(None, "no output");
        problems.at(2, "second");
        problems.at(0, "first");
        problems.at(2, "second");
        let errors = problems.into_errors("t.toml").unwrap();
        assert_eq!(errors.to_string(), "t.toml:1:1: first\nt.toml:2:1: second\nt.toml: no output");
        assert!(Problems::new("").into_errors("t.toml").is_none());
    }
}
