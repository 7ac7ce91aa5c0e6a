//! Alarms: what a person should look at, each told once when it rises and once when it clears.
//!
//! An alarm is a line in the log, the gauge `tidegate_alarm{name}`, an entry in `status`, and a
//! heading in `docs/runbook.md`. Leaves out what raises one: `report` knows the stages.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Every alarm there is; their names are headings of the runbook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Name {
    JournalFull,
    JournalDegraded,
    JournalDamaged,
    JournalNewer,
    FrameSetAside,
    ClockNotBelieved,
    PositionUnclaimed,
    OutputStuck,
    SparkplugBirthMissing,
}

impl Name {
    pub const ALL: [Self; 9] = [
        Self::JournalFull,
        Self::JournalDegraded,
        Self::JournalDamaged,
        Self::JournalNewer,
        Self::FrameSetAside,
        Self::ClockNotBelieved,
        Self::PositionUnclaimed,
        Self::OutputStuck,
        Self::SparkplugBirthMissing,
    ];

    pub const fn label(self) -> &'static str {
        match self {
            Self::JournalFull => "journal_full",
            Self::JournalDegraded => "journal_degraded",
            Self::JournalDamaged => "journal_damaged",
            Self::JournalNewer => "journal_newer",
            Self::FrameSetAside => "frame_set_aside",
            Self::ClockNotBelieved => "clock_not_believed",
            Self::PositionUnclaimed => "position_unclaimed",
            Self::OutputStuck => "output_stuck",
            Self::SparkplugBirthMissing => "sparkplug_birth_missing",
        }
    }
}

/// An alarm that is up: which, and about what (an output's id, or nothing).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Alarm {
    pub name: Name,
    pub about: String,
}

/// What is up now, each with a sentence for a person.
pub type Raised = BTreeMap<Alarm, String>;

/// Looks once a second and logs what rose and what cleared, until `shutdown`.
pub async fn watch(source: Arc<dyn Source>, shutdown: CancellationToken) {
    let mut before = Raised::new();
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
        let now = source.look();
        for (alarm, words) in now.iter().filter(|(alarm, _)| !before.contains_key(alarm)) {
            warn!(alarm = alarm.name.label(), about = %alarm.about, "{words}");
        }
        for alarm in before.keys().filter(|alarm| !now.contains_key(alarm)) {
            info!(alarm = alarm.name.label(), about = %alarm.about, "cleared");
        }
        before = now;
    }
}

/// Whoever knows what is up.
pub trait Source: Send + Sync {
    /// Looks, and remembers what only a series of looks can tell.
    fn look(&self) -> Raised;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_alarm_has_its_heading_in_the_runbook() {
        let runbook = std::fs::read_to_string("docs/runbook.md").unwrap();
        for name in Name::ALL {
            let heading = format!("\n## {}\n", name.label());
            assert!(runbook.contains(&heading), "no heading {heading:?}");
        }
    }
}
