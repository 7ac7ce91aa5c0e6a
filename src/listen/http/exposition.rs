//! The metrics in the older of the two text formats, for scrapers that do not ask for `OpenMetrics`.
//!
//! ```text
//!  OpenMetrics 1.0                       Prometheus text 0.0.4
//!  # HELP x Readings that came in        # HELP x_total Readings that came in
//!  # TYPE x counter                      # TYPE x_total counter
//!  # UNIT x seconds                      -
//!  x_total{source="mqtt"} 7              x_total{source="mqtt"} 7
//!  # EOF                                 -
//! ```
//!
//! Source: the Prometheus documentation, "Exposition formats". `promtool check metrics` reads this one.
//! Leaves out what our pages do not have: info and state sets, exemplars, time stamps.

use http::{HeaderMap, header};

/// What a scraper is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exposition {
    OpenMetrics,
    Classic,
}

impl Exposition {
    /// `OpenMetrics` if the request accepts it by name.
    pub(super) fn asked_for(headers: &HeaderMap) -> Self {
        let mut accepted = headers.get_all(header::ACCEPT).iter().filter_map(|v| v.to_str().ok());
        if accepted.any(|types| types.contains("application/openmetrics-text")) {
            Self::OpenMetrics
        } else {
            Self::Classic
        }
    }

    pub(super) const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Classic => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// The same metrics in the classic format.
pub(super) fn classic(openmetrics: &str) -> String {
    let mut page = String::with_capacity(openmetrics.len());
    let mut lines = openmetrics.lines().peekable();
    while let Some(line) = lines.next() {
        if line.starts_with("# UNIT ") || line == "# EOF" {
            continue;
        }
        let is_counter = match line.strip_prefix("# HELP ") {
            // HELP stands before TYPE, which says what it is about.
            Some(_) => lines.peek().is_some_and(|next| is_counter(next)),
            None => is_counter(line),
        };
        if is_counter {
            push_total(line, &mut page);
        } else {
            page.push_str(line);
        }
        page.push('\n');
    }
    page
}

fn is_counter(line: &str) -> bool {
    line.starts_with("# TYPE ") && line.ends_with(" counter")
}

/// `# HELP x words` or `# TYPE x words` with `_total` behind the name.
fn push_total(line: &str, page: &mut String) {
    let words: Vec<&str> = line.splitn(4, ' ').collect();
    if let [hash, keyword, name, rest] = words[..] {
        page.extend([hash, " ", keyword, " ", name, "_total ", rest]);
    } else {
        page.push_str(line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_carry_their_suffix_everywhere_and_units_and_the_end_go() {
        let openmetrics = "# HELP t_x Readings that came in.\n# TYPE t_x counter\n\
                           t_x_total{source=\"a # UNIT\"} 7\n\
                           # HELP t_b_bytes A counter by its words only\n# TYPE t_b_bytes gauge\n\
                           # UNIT t_b_bytes bytes\nt_b_bytes 3\n# EOF\n";
        let expected = "# HELP t_x_total Readings that came in.\n# TYPE t_x_total counter\n\
                        t_x_total{source=\"a # UNIT\"} 7\n\
                        # HELP t_b_bytes A counter by its words only\n# TYPE t_b_bytes gauge\n\
                        t_b_bytes 3\n";
        assert_eq!(classic(openmetrics), expected);
        assert_eq!(classic(""), "");
    }

    #[test]
    fn a_scraper_gets_openmetrics_only_if_it_names_it() {
        let asked = |accept: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, accept.parse().unwrap());
            Exposition::asked_for(&headers)
        };
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.3";
        assert_eq!(asked(prometheus), Exposition::OpenMetrics);
        assert_eq!(asked("*/*"), Exposition::Classic);
        assert_eq!(asked("text/plain;version=0.0.4"), Exposition::Classic);
        assert_eq!(Exposition::asked_for(&HeaderMap::new()), Exposition::Classic);
    }
}
