//! What the other end keeps no more: remembered for an hour, so that a backlog of old readings goes
//! to the dead letters without being offered batch by batch.
//!
//! Only what an episode proved is remembered. Time goes on: what was too old once stays so, unless
//! somebody has the database keep more; therefore the hour.

use std::time::Duration;

use tokio::time::Instant;

use super::bisect::Episode;
use crate::sink::Refusal;

const REMEMBERED: Duration = Duration::from_hours(1);

#[derive(Debug, Default)]
pub(super) struct Retention(Option<CutOff>);

#[derive(Debug)]
struct CutOff {
    /// Of the youngest point that was refused for its age.
    youngest_ns: i64,
    refusal: Refusal,
    until: Instant,
}

impl Retention {
    /// Spares the lines that are known to be too old.
    pub(super) fn condemn(&mut self, episode: &mut Episode, now: Instant) {
        self.0.take_if(|cut_off| cut_off.until <= now);
        if let Some(cut_off) = &self.0 {
            episode.condemn(cut_off.youngest_ns, &cut_off.refusal);
        }
    }

    /// From an episode that is done.
    pub(super) fn learn(&mut self, episode: &Episode, now: Instant) {
        let Some((youngest_ns, refusal)) = episode.cut_off() else { return };
        if self.0.as_ref().is_none_or(|known| known.youngest_ns < youngest_ns) {
            let until = now + REMEMBERED;
            self.0 = Some(CutOff { youngest_ns, refusal: refusal.clone(), until });
        }
    }
}
