//! What became of it: each file's readings, and each output's.

use crate::app::status::{Output, Status};
use crate::cli::{complain, say};
use crate::collect::import::{Counts, End, Imported, Source};

/// The files, as far as they were come to.
#[derive(Debug)]
pub(super) struct Sum {
    files: Vec<(Source, Imported)>,
    /// Files that were asked for.
    asked: usize,
}

impl Sum {
    pub(super) fn of(files: Vec<(Source, Imported)>, asked: usize) -> Self {
        Self { files, asked }
    }

    /// Every file was read to its end, or to where it cannot be read.
    pub(super) fn is_whole(&self) -> bool {
        let is_over =
            |(_, it): &(Source, Imported)| matches!(it.end, End::Whole | End::Unreadable(_));
        self.files.len() == self.asked && self.files.iter().all(is_over)
    }

    /// Nothing was refused, everything could be read.
    pub(super) fn is_clean(&self) -> bool {
        let is_clean =
            |(_, it): &(Source, Imported)| it.end == End::Whole && it.counts.refused == 0;
        self.files.iter().all(is_clean)
    }

    /// What to do about it if it is not whole.
    pub(super) fn goes_on(&self) -> &'static str {
        match self.files.last() {
            Some((source, _)) if source.is_pipe() => {
                "not finished; what came over a pipe is not known again: \
                 send what follows the last line that was taken"
            }
            _ => "not finished; the same command goes on where this one stopped",
        }
    }

    pub(super) fn tell(&self) {
        for (source, imported) in &self.files {
            say(&line(source, imported));
            if let End::Unreadable(why) = &imported.end {
                complain(&format!("{}: {why}", name(source)));
            }
        }
        let all =
            |of: fn(&Counts) -> u64| -> u64 { self.files.iter().map(|it| of(&it.1.counts)).sum() };
        let (taken, refused) = (all(|it| it.taken), all(|it| it.refused));
        say(&format!("imported {taken}  refused {refused}"));
        let unstamped = all(|it| it.unstamped);
        if unstamped > 0 {
            complain(&format!("{unstamped} carried no time: stamped with the time of the import"));
        }
        let fields = all(|it| it.fields);
        if fields > 0 {
            complain(&format!("{fields} fields were left out of readings that were taken"));
        }
    }
}

fn line(source: &Source, imported: &Imported) -> String {
    let Imported { counts, before, bytes, lines, end } = imported;
    let name = name(source);
    if let Some(before) = before.filter(|_| *end == End::Whole && counts.is_nothing()) {
        return format!(
            "{name}: imported before, {} taken and {} refused; nothing has come since \
             (--anew begins again)",
            before.taken, before.refused
        );
    }
    let before = before.map(|before| {
        format!(", after {} taken and {} refused before", before.taken, before.refused)
    });
    let place = format!("line {lines}, byte {bytes}");
    let end = match end {
        End::Whole => String::new(),
        End::Stopped | End::Closed => format!("; stopped behind {place}"),
        End::Unreadable(_) => format!("; cannot be read further than {place}"),
    };
    let before = before.unwrap_or_default();
    format!("{name}: {} taken, {} refused{before}{end}", counts.taken, counts.refused)
}

fn name(source: &Source) -> String {
    match source {
        Source::Stdin => "standard input".to_owned(),
        Source::File(path) => path.display().to_string(),
    }
}

/// What the outputs did since it began; a backlog that was there before is among it.
pub(super) struct Delivery {
    status: Box<dyn Fn() -> Status + Send + Sync>,
    before: Status,
}

impl Delivery {
    pub(super) fn begin(status: impl Fn() -> Status + Send + Sync + 'static) -> Self {
        let before = status();
        Self { status: Box::new(status), before }
    }

    /// No output has anything left to do.
    pub(super) fn is_done(&self) -> bool {
        outputs(&(self.status)()).all(|output| output.pending == 0)
    }

    /// Nothing of it was given up.
    pub(super) fn is_clean(&self) -> bool {
        self.since().iter().all(|it| it.dead + it.dropped + it.quarantined == 0)
    }

    /// `, db has 1000 to go (backing_off: 503 ...)`; empty if nothing waits.
    pub(super) fn waits_for(&self) -> String {
        let status = (self.status)();
        let waiting = outputs(&status).filter(|output| output.pending > 0).map(|output| {
            let why = output.last_error.as_deref().filter(|_| output.state != "running");
            let why = why.map_or_else(String::new, |why| format!(": {why}"));
            format!(", {} has {} to go ({}{why})", output.id, output.pending, output.state)
        });
        let full = status.journal.full.then(|| ", the journal is full".to_owned());
        waiting.chain(full).collect::<Vec<_>>().concat()
    }

    pub(super) fn tell(&self) {
        for output in self.since() {
            let Output { id, confirmed, filtered, absorbed, dead, dropped, .. } = &output;
            let (quarantined, pending) = (output.quarantined, output.pending);
            let others = [
                ("filtered", *filtered),
                ("absorbed", *absorbed),
                ("dead", *dead),
                ("dropped", *dropped),
                ("quarantined", quarantined),
            ];
            let others = others.into_iter().filter(|(_, readings)| *readings > 0);
            let others = others.map(|(name, it)| format!("  {name} {it}"));
            let others = others.collect::<Vec<_>>().concat();
            say(&format!("output {id}: confirmed {confirmed}  pending {pending}{others}"));
        }
    }

    /// The outputs of readings, with what was done since it began.
    fn since(&self) -> Vec<Output> {
        let now = (self.status)();
        let since = |output: &Output| {
            let before = self.before.outputs.iter().find(|before| before.id == output.id);
            let before = before.cloned().unwrap_or_default();
            Output {
                confirmed: output.confirmed.saturating_sub(before.confirmed),
                filtered: output.filtered.saturating_sub(before.filtered),
                absorbed: output.absorbed.saturating_sub(before.absorbed),
                dead: output.dead.saturating_sub(before.dead),
                dropped: output.dropped.saturating_sub(before.dropped),
                quarantined: output.quarantined.saturating_sub(before.quarantined),
                ..output.clone()
            }
        };
        outputs(&now).filter(|output| output.id != INTAKE).map(since).collect()
    }
}

/// What intake refused, on its way to the dead letters.
const INTAKE: &str = "intake-dead";

/// Those that are configured.
fn outputs(status: &Status) -> impl Iterator<Item = &Output> {
    status.outputs.iter().filter(|output| output.state != "removed")
}
