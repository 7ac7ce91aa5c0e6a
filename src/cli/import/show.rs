//! How far it is: on a terminal one line that is drawn over, elsewhere a line now and then.

use std::{
    cell::Cell,
    fs,
    io::{IsTerminal as _, Write as _},
    rc::Rc,
    time::Duration,
};

use tokio::time::Instant;

use crate::cli::complain;
use crate::collect::import::{Progress, Source, Watch};

const REDRAW_EVERY: Duration = Duration::from_millis(500);
/// Without a terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);
const BAR_CELLS: u64 = 24;

pub(super) struct Show {
    watch: Watch,
    /// Names and sizes; what a pipe brings has none.
    files: Vec<(String, Option<u64>)>,
    at_file: Rc<Cell<usize>>,
    is_terminal: bool,
    /// When it was drawn last, and what it said then.
    drawn: (Instant, Progress),
    rate: u64,
    is_line_open: bool,
}

impl Show {
    pub(super) fn new(watch: Watch, sources: &[Source]) -> Self {
        let files = sources.iter().map(|source| match source {
            Source::Stdin => ("standard input".to_owned(), None),
            Source::File(path) => {
                let bytes = fs::metadata(path).ok().map(|file| file.len());
                let name = path.file_name().unwrap_or(path.as_os_str());
                (name.to_string_lossy().into_owned(), bytes.filter(|bytes| *bytes > 0))
            }
        });
        Self {
            watch,
            files: files.collect(),
            at_file: Rc::default(),
            is_terminal: std::io::stderr().is_terminal(),
            drawn: (Instant::now(), Progress::default()),
            rate: 0,
            is_line_open: false,
        }
    }

    pub(super) fn delivering() -> Self {
        Self::new(Watch::default(), &[])
    }

    /// Which file is being read: for whoever reads them.
    pub(super) fn at_file(&self) -> Rc<Cell<usize>> {
        Rc::clone(&self.at_file)
    }

    /// `waits_for`: what holds the outputs up, if anything does.
    pub(super) fn reading(&mut self, waits_for: &str) {
        self.named();
        let now = Instant::now();
        let progress = self.watch.look();
        if !self.is_due(now) {
            return;
        }
        let (before, then) = self.drawn;
        let millis = u64::try_from(now.duration_since(before).as_millis()).unwrap_or(u64::MAX);
        self.rate = progress.durable.saturating_sub(then.durable) * 1000 / millis.max(1);
        self.drawn = (now, progress);
        let text = self.line(&progress, waits_for);
        self.draw(&text);
    }

    pub(super) fn delivering_to(&mut self, waits_for: &str) {
        let now = Instant::now();
        if self.is_due(now) {
            self.drawn = (now, Progress::default());
            self.draw(&format!("delivering{waits_for}"));
        }
    }

    /// A line that stays.
    pub(super) fn say(&mut self, text: &str) {
        self.clear();
        complain(text);
    }

    /// Says what is left to say.
    pub(super) fn end(&mut self) {
        self.named();
        self.clear();
    }

    fn named(&mut self) {
        for line in self.watch.lines() {
            self.say(&line);
        }
    }

    fn is_due(&self, now: Instant) -> bool {
        let every = if self.is_terminal { REDRAW_EVERY } else { LINE_EVERY };
        now.duration_since(self.drawn.0) >= every
    }

    fn line(&self, progress: &Progress, waits_for: &str) -> String {
        let Progress { raw, durable, refused, .. } = progress;
        let (name, bytes) = self
            .files
            .get(self.at_file.get())
            .map_or(("", None), |(name, bytes)| (name.as_str(), *bytes));
        let bar = bytes.map_or_else(String::new, |bytes| bar(*raw, bytes));
        let rate = self.rate;
        format!("{name}  {bar}{durable} readings, {rate}/s, {refused} refused{waits_for}")
    }

    fn draw(&mut self, text: &str) {
        if !self.is_terminal {
            complain(text);
            return;
        }
        let mut err = std::io::stderr().lock();
        let drawn = err.write_all(format!("\r{text}\x1b[K").as_bytes()).and_then(|()| err.flush());
        self.is_line_open = drawn.is_ok();
    }

    fn clear(&mut self) {
        if std::mem::take(&mut self.is_line_open) {
            let mut err = std::io::stderr().lock();
            drop(err.write_all(b"\r\x1b[K").and_then(|()| err.flush()));
        }
    }
}

/// `[######..........]  40 %  `
fn bar(done: u64, all: u64) -> String {
    let of = |parts: u64| u128::from(parts) * u128::from(done.min(all)) / u128::from(all.max(1));
    let cells = usize::try_from(of(BAR_CELLS)).unwrap_or_default();
    let width = usize::try_from(BAR_CELLS).unwrap_or_default();
    format!("[{:.<width$}] {:>3} %  ", "#".repeat(cells), of(100))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_fills_up_and_never_over() {
        assert_eq!(bar(0, 10), "[........................]   0 %  ");
        assert_eq!(bar(5, 10), "[############............]  50 %  ");
        assert_eq!(bar(99, 10), "[########################] 100 %  ");
        assert_eq!(bar(u64::MAX, u64::MAX), "[########################] 100 %  ");
    }
}
