//! An operator's own configuration, on their own disk, under every fault that needs no root: is
//! anything lost that was acknowledged?
//!
//! ```text
//!  CONFIG --config--> copy with other places      Place: a new directory on the journal's disk
//!
//!  fleet ==> proxy ==> the real gateway ==> proxy ==> faulty database    or files in the directory
//!    |         ^            ^                 ^            ^
//!    |         +-- weather  +-- kill, stop    +-- weather  +-- behaviour      a fault each round
//!    v
//!  ledger ------------------------> verdict for each output, less what the gateway's books account for
//! ```
//! Bounded in time (`Options::run_for`, then a deadline for the rest), in readings, in disk. Nothing
//! leaves 127.0.0.1; the operator's journal, database and brokers are not touched: `config` replaces
//! every place, and refuses a configuration that has one which it does not know.
//!
//! Leaves out what takes root or a disk of its own: power cuts, full disks, I/O errors, flipped bits.
//! Those are in `tests/faults` of the project.

mod books;
mod config;
mod fault;
mod gateway;
mod place;
mod port;
mod report;
mod trial;

use std::{ffi::OsString, io, path::PathBuf, time::Duration};

use tokio_util::sync::CancellationToken;

pub use books::Fates;
pub use config::Unreadable;
pub use report::{Delivered, Report};

use self::{config::Original, place::Place, trial::Trial};

#[derive(Clone, Debug)]
pub struct Options {
    /// The operator's own.
    pub config: PathBuf,
    /// The gateway's binary, or what stands for it; run as `GATEWAY run -c FILE`.
    pub gateway: PathBuf,
    /// A program with arguments that runs what follows them, and sees to it that it does not outlive us.
    pub before: Vec<OsString>,
    /// Where the run's directory is made; `None`: beside the configured journal.
    pub dir: Option<PathBuf>,
    /// The directory stays in any case.
    pub keep: bool,
    /// New rounds begin for so long.
    pub run_for: Duration,
    /// No new round after so many kills.
    pub kills_max: Option<u64>,
    /// Decides the order of faults, every moment, and what the devices measure.
    pub seed: u64,
}

/// Why a run has no verdict.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration: mend it.
    #[error("{0}")]
    Config(String),
    /// What was asked for: ask otherwise.
    #[error("{0}")]
    Usage(String),
    /// The gateway did not start, or ended: that is a fault found.
    #[error("the gateway: {0}")]
    Gateway(String),
    /// The trial itself could not go on.
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl From<Unreadable> for Error {
    fn from(unreadable: Unreadable) -> Self {
        Self::Config(unreadable.to_string())
    }
}

/// Runs until the time is up, the kills are done or `stop` is cancelled, and comes to a verdict; `say`
/// gets a line for whoever watches.
///
/// Cancel safe: dropped, it leaves no process and no directory behind.
pub async fn run(
    options: &Options,
    stop: &CancellationToken,
    say: &mut dyn FnMut(&str),
) -> Result<Report, Error> {
    let original = Original::load(&options.config)?;
    let mut place = Place::new(options.dir.as_deref(), &original.journal_dir())?;
    let tried = try_it(options, &original, &place, stop, say).await;
    let is_worth_a_look = match &tried {
        Ok(report) => !report.problems().is_empty(),
        Err(Error::Gateway(_) | Error::Io(_)) => true,
        Err(Error::Config(_) | Error::Usage(_)) => false,
    };
    if is_worth_a_look || options.keep {
        place.keep();
        say(&format!("kept: {}", place.dir().display()));
    }
    tried
}

async fn try_it(
    options: &Options,
    original: &Original,
    place: &Place,
    stop: &CancellationToken,
    say: &mut dyn FnMut(&str),
) -> Result<Report, Error> {
    say(&format!("configuration  {}", options.config.display()));
    say(&format!("gateway        {}", options.gateway.display()));
    say(&format!("directory      {}", place.dir().display()));
    for remark in &place.remarks {
        say(&format!("note           {remark}"));
    }
    let mut trial = Trial::prepare(options, original, place, say).await?;
    trial.rounds(options, stop, say).await?;
    say("all faults are over: waiting for the last acknowledgements and deliveries");
    trial.verdict().await
}
