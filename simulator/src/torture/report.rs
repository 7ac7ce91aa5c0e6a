//! What a run came to, in words and as one answer: clean or not.

use std::{fmt, time::Duration};

use super::books::Fates;
use crate::{bench::Histogram, verify::Verdict};

/// Of one output of the gateway.
#[derive(Clone, Debug)]
pub struct Delivered {
    pub fates: Fates,
    pub verdict: Verdict,
    /// Lines that are no line protocol.
    pub malformed: u64,
}

#[derive(Clone, Debug, Default)]
pub struct Report {
    pub seed: u64,
    pub took: Duration,
    pub rounds: u64,
    pub kills: u64,
    pub stops: u64,
    /// Of simulated devices.
    pub sent: u64,
    pub acknowledged: u64,
    pub refused: u64,
    pub resent: u64,
    /// From the first time that a reading was sent to its acknowledgement, faults included.
    pub latencies: Histogram,
    /// From each start to listening on every port.
    pub starts: Histogram,
    /// What the gateway sent to the disk, as the kernel counts it; 0: it does not tell.
    pub disk_bytes: u64,
    pub outputs: Vec<Delivered>,
    /// What the gateway found wrong at the end.
    pub alarms: Vec<String>,
    /// What went wrong beside the verdicts.
    pub wrong: Vec<String>,
}

impl Report {
    /// Every reason why this run was not clean.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = self.wrong.clone();
        if self.acknowledged == 0 || self.kills == 0 {
            problems
                .push("too short to show anything: no kill, or nothing acknowledged".to_owned());
        }
        let open = self.sent.saturating_sub(self.acknowledged + self.refused);
        if open > 0 {
            problems.push(format!("{open} readings were sent and never answered"));
        }
        for output in &self.outputs {
            let Delivered { fates, verdict, malformed } = output;
            for (count, words) in [
                (verdict.lost, "readings are LOST: acknowledged, not delivered"),
                (verdict.phantom, "points are PHANTOMS: delivered, never sent"),
                (verdict.wrong, "points are WRONG: not what was sent"),
                (verdict.duplicates, "readings were delivered as several points"),
                (fates.pending, "readings were not delivered in time"),
                (
                    fates.dead,
                    "readings are dead letters, although the database refused none for good",
                ),
                (fates.quarantined, "readings are set aside as damaged"),
                (*malformed, "lines are no line protocol"),
            ] {
                if count > 0 {
                    problems.push(format!("output {}: {count} {words}", fates.id));
                }
            }
        }
        problems
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rounds, kills, stops, seed, took, .. } = self;
        let seconds = took.as_secs();
        writeln!(f, "{rounds} rounds in {seconds} s: {kills} kills, {stops} stops (seed {seed})")?;
        let Self { sent, acknowledged, refused, resent, .. } = self;
        writeln!(
            f,
            "sent {sent}  acknowledged {acknowledged}  refused {refused}  resent {resent}"
        )?;
        if self.refused > 0 {
            writeln!(f, "    refused: by a limit of the configuration, see the log")?;
        }
        writeln!(f, "acknowledged after    {}", Spread(&self.latencies))?;
        writeln!(f, "listening after       {}", Spread(&self.starts))?;
        if let Some(each) = self.disk_bytes.checked_div(self.acknowledged).filter(|each| *each > 0)
        {
            writeln!(f, "bytes to the disk     {each} for each acknowledged reading")?;
        }
        for output in &self.outputs {
            writeln!(f, "output {}", output.fates.id)?;
            for line in output.verdict.to_string().lines() {
                writeln!(f, "    {line}")?;
            }
            let Fates { dropped, filtered, .. } = output.fates;
            if dropped + filtered > 0 {
                let words = "by its own books, as configured: not counted as LOST";
                writeln!(f, "    dropped {dropped}  filtered {filtered}  {words}")?;
            }
        }
        for alarm in &self.alarms {
            writeln!(f, "ALARM {alarm}")?;
        }
        let problems = self.problems();
        for problem in &problems {
            writeln!(f, "!! {problem}")?;
        }
        writeln!(f, "{}", if problems.is_empty() { "clean" } else { "NOT CLEAN" })
    }
}

struct Spread<'h>(&'h Histogram);

impl fmt::Display for Spread<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |time: Duration| format!("{:.1} ms", time.as_secs_f64() * 1_000.0);
        let (half, most) = (self.0.quantile(0.5), self.0.quantile(0.99));
        write!(f, "p50 {}  p99 {}  max {}", ms(half), ms(most), ms(self.0.max()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let verdict =
            Verdict { sent: 10, acknowledged: 10, stored: 8, missing: 2, ..Verdict::default() };
        let fates = Fates { id: "home".to_owned(), dropped: 2, ..Fates::default() };
        let output = Delivered { fates, verdict, malformed: 0 };
        let outputs = vec![output];
        Report { kills: 1, sent: 10, acknowledged: 10, outputs, ..Report::default() }
    }

    #[test]
    fn what_a_policy_dropped_is_told_and_is_no_problem() {
        let report = report();
        assert_eq!(report.problems(), Vec::<String>::new());
        let words = report.to_string();
        assert!(words.contains("dropped 2") && words.ends_with("clean\n"), "{words}");
    }

    #[test]
    fn every_kind_of_fault_is_a_problem_of_its_own() {
        let spoils: [fn(&mut Report); 12] = [
            |r| r.kills = 0,
            |r| r.sent = 11,
            |r| r.wrong.push("it ended".to_owned()),
            |r| r.outputs[0].verdict.lost = 1,
            |r| r.outputs[0].verdict.phantom = 1,
            |r| r.outputs[0].verdict.wrong = 1,
            |r| r.outputs[0].verdict.duplicates = 1,
            |r| r.outputs[0].fates.pending = 1,
            |r| r.outputs[0].fates.dead = 1,
            |r| r.outputs[0].fates.quarantined = 1,
            |r| r.outputs[0].malformed = 1,
            |r| (r.sent, r.acknowledged) = (0, 0),
        ];
        for (place, spoil) in spoils.into_iter().enumerate() {
            let mut report = report();
            spoil(&mut report);
            assert_eq!(report.problems().len(), 1, "{place}");
            assert!(report.to_string().ends_with("NOT CLEAN\n"), "{place}");
        }
    }
}
