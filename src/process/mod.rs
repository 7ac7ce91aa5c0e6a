//! What an output does to readings before they are batched: `select` -> `dedup` -> `deadband` ->
//! `window`.
//!
//! Pure: the time comes in with each reading and with ticks, and there is a `due_in()`. What comes out
//! is a function of the readings, in their order, and of the ticks. Ticks can only close windows
//! earlier; so when the same readings come again after a crash, from a snapshot on, each point that
//! was made before is made again with the same content or more, or is not made again.
//!
//! Memory: `state_bytes_max`, and what `dedup` is told to remember.

mod budget;
mod bytes;
pub mod deadband;
pub mod dedup;
pub mod glob;
pub mod hash;
pub mod select;
pub mod window;

use std::time::Duration;

use proto::{ReadingRef, Time, Timestamp, ValueRef, frame};

use self::budget::Budget;
use self::bytes::Input;
pub use self::bytes::StateError;
use self::deadband::Deadband;
use self::dedup::Dedup;
use self::window::{Taken, Windows};

/// The version of the state's bytes.
const VERSION: u8 = 1;

#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    pub select: Option<select::Settings>,
    pub dedup: Option<dedup::Settings>,
    /// Of these the first that fits a field.
    pub deadbands: Vec<deadband::Settings>,
    /// Of these the first that fits a measurement.
    pub windows: Vec<window::Settings>,
    /// What deadbands and windows may take in memory.
    pub state_bytes_max: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            select: None,
            dedup: None,
            deadbands: Vec::new(),
            windows: Vec::new(),
            state_bytes_max: 32 * 1024 * 1024,
        }
    }
}

impl Settings {
    /// Nothing is done at all.
    pub fn is_empty(&self) -> bool {
        self.select.is_none() && !self.has_state()
    }

    /// What is done depends on what came before.
    pub fn has_state(&self) -> bool {
        self.dedup.is_some() || !self.deadbands.is_empty() || !self.windows.is_empty()
    }
}

/// What becomes of a reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on as it is.
    Pass,
    /// It goes on with fewer fields: those at this byte of what was kept.
    Changed { at: usize },
    /// It ends here.
    Filtered,
    /// It is in a window now, and ends here.
    Absorbed,
}

/// Why readings did not just go on, and what came out beside them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Readings that `select` does not want.
    pub not_selected: u64,
    /// Readings that `dedup` knows.
    pub duplicate: u64,
    /// Readings of which no field had moved.
    pub unchanged: u64,
    /// Readings that went into a window, wherever else they went.
    pub windowed: u64,
    /// Readings that went on as they were: their window was closed.
    pub late: u64,
    /// The same: too far ahead of their arrival.
    pub early: u64,
    /// The same, or one field of them: no room for their series in the state.
    pub no_room: u64,
    /// Fields of readings in windows of which no function says anything.
    pub fields_left_out: u64,
    /// Points that windows became.
    pub emitted: u64,
}

impl Counts {
    /// Each with its name.
    pub fn named(&self) -> [(&'static str, u64); 9] {
        [
            ("not_selected", self.not_selected),
            ("duplicate", self.duplicate),
            ("unchanged", self.unchanged),
            ("windowed", self.windowed),
            ("late", self.late),
            ("early", self.early),
            ("no_room", self.no_room),
            ("fields_left_out", self.fields_left_out),
            ("emitted", self.emitted),
        ]
    }
}

/// What comes out, in frame form.
#[derive(Debug, Default)]
pub struct Kept {
    pub bytes: Vec<u8>,
    /// Where in `bytes` each point begins that a window became.
    pub emitted: Vec<usize>,
    pub counts: Counts,
}

impl Kept {
    fn emit(&mut self, series: &[u8], time: Time, fields: &[(&str, ValueRef<'_>)]) {
        self.emitted.push(self.bytes.len());
        self.counts.emitted += 1;
        frame::put(series, time, fields, &mut self.bytes);
    }

    fn change(&mut self, reading: &ReadingRef<'_>, kept: &[bool]) -> usize {
        let fields = reading.fields.iter().zip(kept).filter(|(_, kept)| **kept);
        let fields: Vec<_> = fields.map(|(field, _)| *field).collect();
        let at = self.bytes.len();
        frame::put(reading.series, reading.time, &fields, &mut self.bytes);
        at
    }
}

/// One output's.
#[derive(Debug)]
pub struct Process {
    settings: Settings,
    dedup: Option<Dedup>,
    deadband: Option<Deadband>,
    windows: Option<Windows>,
    budget: Budget,
    /// Which fields of a reading go on; used again for the next.
    kept: Vec<bool>,
    before_windows: Vec<bool>,
}

impl Process {
    pub fn new(settings: Settings) -> Self {
        let some = !settings.deadbands.is_empty();
        let deadband = some.then(|| Deadband::new(settings.deadbands.clone()));
        let some = !settings.windows.is_empty();
        let windows = some.then(|| Windows::new(settings.windows.clone()));
        Self {
            dedup: settings.dedup.clone().map(Dedup::new),
            deadband,
            windows,
            budget: Budget::new(settings.state_bytes_max),
            kept: Vec::new(),
            before_windows: Vec::new(),
            settings,
        }
    }

    /// The state of what was done before is lost: windows that were open when the first reading of
    /// this arrival came may be in the database already, and are not made again from the half.
    pub fn forget_before(&mut self, arrival: Timestamp) {
        if let Some(windows) = &mut self.windows {
            windows.forget_before(arrival.nanos());
        }
    }

    /// Whether there is, or may come to be, a state.
    pub fn has_state(&self) -> bool {
        self.dedup.is_some() || self.deadband.is_some() || self.windows.is_some()
    }

    /// A reading as it lies in a frame of ours, which arrived then.
    pub fn apply(
        &mut self,
        reading: &ReadingRef<'_>,
        arrival: Timestamp,
        out: &mut Kept,
    ) -> Verdict {
        debug_assert!(!reading.series.is_empty(), "a reading that lies in no frame");
        let Some(timestamp) = reading.time.timestamp().map(Timestamp::nanos) else {
            return Verdict::Pass; // The sink refuses it.
        };
        self.kept.clear();
        self.kept.resize(reading.fields.len(), true);
        if let Some(verdict) = self.filter(reading, timestamp, arrival, out) {
            return verdict;
        }
        let taken = self.window(reading, timestamp, arrival, out);
        let goes_on = |kept: &bool| *kept;
        if self.kept.iter().all(goes_on) {
            Verdict::Pass
        } else if self.kept.iter().any(goes_on) {
            Verdict::Changed { at: out.change(reading, &self.kept) }
        } else if taken != Taken::Nothing {
            Verdict::Absorbed
        } else {
            Verdict::Filtered
        }
    }

    /// Everything before the windows; a verdict if nothing is left.
    fn filter(
        &mut self,
        reading: &ReadingRef<'_>,
        timestamp: i64,
        arrival: Timestamp,
        out: &mut Kept,
    ) -> Option<Verdict> {
        let is_gone = |kept: &[bool]| !kept.contains(&true);
        if let Some(select) = &self.settings.select {
            select.apply(reading, &mut self.kept);
            if is_gone(&self.kept) {
                out.counts.not_selected += 1;
                return Some(Verdict::Filtered);
            }
        }
        if let Some(dedup) = &mut self.dedup
            && !dedup.is_new(reading, timestamp)
        {
            out.counts.duplicate += 1;
            return Some(Verdict::Filtered);
        }
        if let Some(deadband) = &mut self.deadband {
            let (kept, budget) = (&mut self.kept, &mut self.budget);
            let times = (timestamp, arrival.nanos());
            deadband.apply(reading, times, kept, budget, &mut out.counts);
            if is_gone(&self.kept) {
                out.counts.unchanged += 1;
                return Some(Verdict::Filtered);
            }
        }
        None
    }

    fn window(
        &mut self,
        reading: &ReadingRef<'_>,
        timestamp: i64,
        arrival: Timestamp,
        out: &mut Kept,
    ) -> Taken {
        let Some(windows) = &mut self.windows else { return Taken::Nothing };
        self.before_windows.clone_from(&self.kept);
        let (kept, budget) = (&mut self.kept, &mut self.budget);
        let taken = windows.apply(reading, timestamp, arrival.nanos(), kept, budget, out);
        if let Taken::Some { keep_raw } = taken {
            out.counts.windowed += 1;
            if keep_raw {
                self.kept.clone_from(&self.before_windows);
            }
        }
        taken
    }

    /// Nothing waits in the journal, and it is so late: windows of silent series close.
    pub fn tick(&mut self, now: Timestamp, out: &mut Kept) {
        if let Some(windows) = &mut self.windows {
            windows.tick(now.nanos(), &mut self.budget, out);
        }
    }

    /// When to call `tick` next, if nothing waits in the journal. `None`: nothing is open.
    pub fn due_in(&self) -> Option<Duration> {
        self.windows.as_ref().and_then(Windows::due_in)
    }

    /// What the state takes in memory, and how many windows are open.
    pub fn size(&self) -> (usize, usize) {
        (self.budget.used(), self.windows.as_ref().map_or(0, Windows::open))
    }

    /// Readings that ended in windows which are open: nothing else tells of them.
    pub fn held(&self) -> u64 {
        self.windows.as_ref().map_or(0, Windows::held)
    }

    /// The state, whole. Empty if there is none.
    ///
    /// ```text
    /// version byte (1)   dedup 0 | 1 ..   deadband 0 | 1 ..   windows 0 | 1 ..
    /// ```
    pub fn snapshot(&self) -> Vec<u8> {
        let mut out = Vec::new();
        if !self.has_state() {
            return out;
        }
        out.push(VERSION);
        out.push(u8::from(self.dedup.is_some()));
        if let Some(dedup) = &self.dedup {
            dedup.put(&mut out);
        }
        out.push(u8::from(self.deadband.is_some()));
        if let Some(deadband) = &self.deadband {
            deadband.put(&mut out);
        }
        out.push(u8::from(self.windows.is_some()));
        if let Some(windows) = &self.windows {
            windows.put(&mut out);
        }
        out
    }

    /// From a snapshot; the settings may be others by now. What is no longer configured is
    /// forgotten, but for windows that are open: they close when they would have.
    pub fn restore(settings: Settings, state: &[u8]) -> Result<Self, StateError> {
        let mut process = Self::new(settings);
        if state.is_empty() {
            return Ok(process);
        }
        let mut input = Input(state);
        if input.byte()? != VERSION {
            return Err(StateError::Newer);
        }
        let (settings, budget) = (&process.settings, &mut process.budget);
        if input.byte()? != 0 {
            let dedup = Dedup::get(settings.dedup.clone().unwrap_or_default(), &mut input)?;
            process.dedup = settings.dedup.is_some().then_some(dedup);
        }
        if input.byte()? != 0 {
            let mut unused = Budget::new(0);
            let some = !settings.deadbands.is_empty();
            let budget = if some { &mut *budget } else { &mut unused };
            let deadband = Deadband::get(settings.deadbands.clone(), &mut input, budget)?;
            process.deadband = some.then_some(deadband);
        }
        if input.byte()? != 0 {
            let windows = Windows::get(settings.windows.clone(), &mut input, budget)?;
            let some = !settings.windows.is_empty() || windows.open() > 0;
            process.windows = some.then_some(windows);
        }
        if input.0.is_empty() { Ok(process) } else { Err(StateError::Damaged) }
    }
}

#[cfg(test)]
mod tests;
