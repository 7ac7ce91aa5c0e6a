//! `tidegate-sim torture`, and `torture-child`, which it starts the gateway through.

use std::{
    env,
    ffi::OsString,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    time::Duration,
};

use anyhow::Context as _;
use clap::Args;
use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};
use simulator::torture::{self, Error, Options};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::duration;

const USAGE: u8 = 2;
const BAD_CONFIG: u8 = 64;
/// What a round takes at most, as a rule, for `--kills` alone.
const ROUND: Duration = Duration::from_secs(10);
const DEFAULT: Duration = Duration::from_mins(2);

/// Proves on this machine, with a configuration of its own, that nothing acknowledged is lost.
///
/// A second gateway runs by a copy of CONFIG with other ports, an own directory on the journal's disk, an
/// own database; simulated devices send, and every round something breaks and the gateway is killed
/// (SIGKILL). At the end every reading that was acknowledged must have been delivered. Your journal, database
/// and brokers are not touched, and nothing leaves 127.0.0.1.
///
/// Exit codes: 0 nothing lost, 1 something lost or the gateway failed, 2 usage, 64 CONFIG cannot be used.
/// Ctrl-C ends the rounds and comes to a verdict; a second one ends at once.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Arguments {
    /// Your configuration; it is read, never written.
    #[arg(long, value_name = "CONFIG")]
    against: PathBuf,
    /// The gateway's binary, or a script that ends in `exec tidegate "$@"`. Without it: `tidegate` beside
    /// this program, or in PATH.
    #[arg(long, value_name = "PATH")]
    gateway: Option<PathBuf>,
    /// How long new rounds begin. (default 2m, with --kills 10s for each if that is more)
    #[arg(long = "for", value_parser = duration::parse, value_name = "TIME")]
    run_for: Option<Duration>,
    /// End after so many kills.
    #[arg(long)]
    kills: Option<u64>,
    /// Where to make the run's directory; without it: beside the journal, on its disk.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Keep the directory also if all was well.
    #[arg(long)]
    keep: bool,
    /// Repeats an order of faults; without it: another one each time.
    #[arg(long)]
    seed: Option<u64>,
}

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let options = match options(arguments)? {
        Ok(options) => options,
        Err(words) => return Ok(complain(&words, ExitCode::from(USAGE))),
    };
    let stop = CancellationToken::new();
    let mut say = |line: &str| println!("{line}");
    let tried = tokio::select! {
        tried = torture::run(&options, &stop, &mut say) => tried,
        ended = twice(&stop) => {
            ended?;
            return Ok(complain("ended at once: no verdict", ExitCode::FAILURE));
        }
    };
    Ok(match tried {
        Ok(report) => {
            print!("{report}");
            if report.problems().is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(Error::Config(words)) => complain(&words, ExitCode::from(BAD_CONFIG)),
        Err(Error::Usage(words)) => complain(&words, ExitCode::from(USAGE)),
        Err(error @ (Error::Gateway(_) | Error::Io(_))) => {
            println!("NOT CLEAN");
            complain(&error.to_string(), ExitCode::FAILURE)
        }
    })
}

fn complain(words: &str, code: ExitCode) -> ExitCode {
    eprintln!("tidegate-sim: {words}");
    code
}

/// The first SIGINT or SIGTERM ends the rounds, the second ends this.
async fn twice(stop: &CancellationToken) -> std::io::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    for is_last in [false, true] {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        if !is_last {
            eprintln!("ending after this round, then the verdict; once more ends at once");
            stop.cancel();
        }
    }
    Ok(())
}

/// `Err`: what was asked for cannot be done.
fn options(arguments: Arguments) -> anyhow::Result<Result<Options, String>> {
    let itself = env::current_exe().context("the path of this program")?;
    let gateway = match arguments.gateway {
        Some(path) if path.is_file() => path,
        Some(path) => return Ok(Err(format!("--gateway {}: no such file", path.display()))),
        None => match find("tidegate", &itself) {
            Some(path) => path,
            None => return Ok(Err("no `tidegate` beside this program or in PATH".to_owned())),
        },
    };
    let for_kills = |kills: u64| ROUND.saturating_mul(u32::try_from(kills).unwrap_or(u32::MAX));
    let run_for = match (arguments.run_for, arguments.kills) {
        (Some(run_for), _) => run_for,
        (None, Some(kills)) => DEFAULT.max(for_kills(kills)),
        (None, None) => DEFAULT,
    };
    let parent = std::process::id().to_string();
    Ok(Ok(Options {
        config: arguments.against,
        gateway: std::path::absolute(gateway)?,
        before: vec![itself.into(), "torture-child".into(), parent.into()],
        dir: arguments.dir,
        keep: arguments.keep,
        run_for,
        kills_max: arguments.kills,
        // So that it can be typed again.
        seed: arguments.seed.unwrap_or_else(|| fastrand::u64(..1_000_000)),
    }))
}

fn find(name: &str, beside: &Path) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let beside = beside.parent().map(Path::to_owned);
    let files = beside.into_iter().chain(env::split_paths(&path)).map(|dir| dir.join(name));
    files.into_iter().find(|file| file.is_file())
}

/// Becomes another program that the kernel kills when this one's parent dies.
#[derive(Debug, Args)]
pub(crate) struct Child {
    /// Process id of the parent.
    parent: i32,
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

/// Returns only if it failed.
pub(crate) fn become_child(child: &Child) -> anyhow::Result<ExitCode> {
    set_parent_process_death_signal(Some(Signal::KILL)).context("PR_SET_PDEATHSIG")?;
    // It may have died before that was set.
    anyhow::ensure!(getppid() == Pid::from_raw(child.parent), "the parent is gone");
    let (program, arguments) = child.command.split_first().context("no program")?;
    let error = Command::new(program).args(arguments).exec();
    Err(error).with_context(|| program.display().to_string())
}
