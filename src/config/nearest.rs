//! "Did you mean": the known name that a mistyped one most resembles.

/// `None` if nothing is close enough to be worth a guess.
pub(super) fn nearest<'k>(typed: &str, known: &[&'k str]) -> Option<&'k str> {
    let close = typed.chars().count() / 3 + usize::from(typed.len() > 2);
    let slips = |name: &str| {
        let as_typed = distance(&normal(typed), &normal(name));
        as_typed.min(1 + distance(&in_order(typed), &in_order(name)))
    };
    let best = known.iter().map(|name| (slips(name), *name)).min()?;
    (best.0 <= close).then_some(best.1)
}

/// Dashes and case are usual slips.
fn normal(name: &str) -> String {
    name.to_lowercase().replace('-', "_")
}

/// So is the order of words: `max_tags`.
fn in_order(name: &str) -> String {
    let name = normal(name);
    let mut words: Vec<_> = name.split('_').collect();
    words.sort_unstable();
    words.join("_")
}

/// Letters to add, remove, change or swap with their neighbour (optimal string alignment).
fn distance(one: &str, other: &str) -> usize {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=other.len()).collect();
    for (row, letter) in one.iter().enumerate() {
        let mut next = vec![row + 1];
        for (column, target) in other.iter().enumerate() {
            let cost = |list: &[usize], at: usize| list.get(at).copied().unwrap_or(usize::MAX / 2);
            let change = cost(&last, column) + usize::from(letter != target);
            let mut cheapest = change.min(cost(&last, column + 1) + 1).min(cost(&next, column) + 1);
            let is_swap = row > 0
                && column > 0
                && one.get(row - 1) == Some(target)
                && other.get(column - 1) == Some(letter);
            if is_swap {
                cheapest = cheapest.min(cost(&before, column - 1) + 1);
            }
            next.push(cheapest);
        }
        before = std::mem::replace(&mut last, next);
    }
    last.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_its_word_and_nonsense_finds_none() {
        let known = ["listen", "allow_anonymous", "connections_max", "id", "url"];
        for (typed, meant) in [
            ("listne", Some("listen")),
            ("Listen", Some("listen")),
            ("allow-anonymous", Some("allow_anonymous")),
            ("allow_anonymus", Some("allow_anonymous")),
            ("max_connections", Some("connections_max")),
            ("connection_max", Some("connections_max")),
            ("uri", Some("url")),
            ("xyz", None),
            ("", None),
        ] {
            assert_eq!(nearest(typed, &known), meant, "{typed}");
        }
    }

    #[test]
    fn distances_count_single_slips() {
        for (one, other, slips) in [
            ("", "", 0),
            ("abc", "abc", 0),
            ("abc", "acb", 1),
            ("abc", "abcd", 1),
            ("abc", "", 3),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(one, other), slips, "{one} {other}");
            assert_eq!(distance(other, one), slips, "{other} {one}");
        }
    }
}
