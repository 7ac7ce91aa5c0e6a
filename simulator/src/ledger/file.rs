//! The ledger's file: lines of text, only ever appended, so that a torn end costs one record.
//!
//! ```text
//! tidegate-ledger 1
//! d INDEX KIND SEED START_NS PERIOD_NS JITTER CLOCK NAME    one line a device, first
//! s INDEX FROM TO                                           readings FROM .. TO were sent
//! a INDEX FROM TO                                           .. were acknowledged
//! r INDEX FROM TO                                           .. were refused for good
//! ```
//! A record counts once its newline is there. A failed write poisons the file: every later append
//! fails too, so that nothing is sent that is not written down.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufRead as _, BufReader, Write as _},
    ops::Range,
    path::Path,
    time::Duration,
};

use proto::Timestamp;

use super::Marks;
use crate::signals::{Clock, Device, Kind as Signal};

const HEAD: &str = "tidegate-ledger 1";

/// Why a ledger cannot be read: nothing can be verified with it.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("ledger: {0}")]
    Io(#[from] io::Error),
    #[error("ledger line {line}: {what}")]
    Damaged { line: usize, what: &'static str },
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Sent,
    Acknowledged,
    Refused,
}

#[derive(Debug)]
pub(super) struct Writer {
    file: File,
    /// Reused for each record, so that one `write` carries it whole.
    text: Vec<u8>,
    failed: bool,
}

impl Writer {
    pub(super) fn create(path: &Path, devices: &[Device]) -> io::Result<Self> {
        let file = OpenOptions::new().create_new(true).append(true).open(path)?;
        let mut writer = Self { file, text: Vec::new(), failed: false };
        writeln!(writer.text, "{HEAD}")?;
        for (index, device) in devices.iter().enumerate() {
            write_device(index, device, &mut writer.text)?;
        }
        writer.flush()?;
        Ok(writer)
    }

    pub(super) fn append(
        &mut self,
        kind: Kind,
        index: usize,
        new: &[Range<u64>],
    ) -> io::Result<()> {
        let letter = match kind {
            Kind::Sent => 's',
            Kind::Acknowledged => 'a',
            Kind::Refused => 'r',
        };
        for range in new {
            writeln!(self.text, "{letter} {index} {} {}", range.start, range.end)?;
        }
        self.flush()
    }

    #[cfg(test)]
    pub(super) fn for_tests(file: File) -> Self {
        Self { file, text: Vec::new(), failed: false }
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.failed {
            return Err(io::Error::other("an earlier write to the ledger failed"));
        }
        let written = self.file.write_all(&self.text);
        self.failed = written.is_err();
        self.text.clear();
        written
    }
}

fn write_device(index: usize, device: &Device, out: &mut Vec<u8>) -> io::Result<()> {
    if device.name.chars().any(char::is_control) {
        return Err(io::Error::other("a device's name with a control character"));
    }
    let clock = match device.clock {
        Clock::Nanoseconds => "ns",
        Clock::Milliseconds => "ms",
    };
    writeln!(
        out,
        "d {index} {} {} {} {} {} {clock} {}",
        device.kind.measurement(),
        device.seed,
        device.start.nanos(),
        device.period.as_nanos(),
        device.jitter,
        device.name
    )
}

pub(super) fn load(path: &Path) -> Result<Vec<(Device, Marks)>, LoadError> {
    let mut reader = BufReader::new(File::open(path)?);
    let mut accounts = Vec::new();
    let mut text = String::new();
    for line in 1.. {
        text.clear();
        if reader.read_line(&mut text)? == 0 {
            break;
        }
        let Some(record) = text.strip_suffix('\n') else {
            break; // Torn: what it would have said did not happen yet.
        };
        let damaged = |what| LoadError::Damaged { line, what };
        if line == 1 {
            if record != HEAD {
                return Err(damaged("not a ledger of this version"));
            }
            continue;
        }
        read_record(record, &mut accounts).map_err(damaged)?;
    }
    Ok(accounts)
}

fn read_record(record: &str, accounts: &mut Vec<(Device, Marks)>) -> Result<(), &'static str> {
    let (kind, rest) = record.split_once(' ').ok_or("no record")?;
    if kind == "d" {
        let (index, device) = read_device(rest).ok_or("not a device")?;
        if index != accounts.len() {
            return Err("a device out of order");
        }
        accounts.push((device, Marks::default()));
        return Ok(());
    }
    let mut words = rest.split(' ').map(str::parse::<u64>);
    let (Some(Ok(index)), Some(Ok(from)), Some(Ok(to)), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err("not a range");
    };
    let account = usize::try_from(index).ok().and_then(|index| accounts.get_mut(index));
    let (_, marks) = account.ok_or("an unknown device")?;
    let set = match kind {
        "s" => &mut marks.sent,
        "a" => &mut marks.acknowledged,
        "r" => &mut marks.refused,
        _ => return Err("an unknown kind of record"),
    };
    set.insert_range(from..to);
    Ok(())
}

fn read_device(text: &str) -> Option<(usize, Device)> {
    let mut words = text.splitn(8, ' ');
    let index = words.next()?.parse().ok()?;
    let kind = Signal::from_measurement(words.next()?)?;
    let seed = words.next()?.parse().ok()?;
    let start = Timestamp::from_nanos(words.next()?.parse().ok()?);
    let period = Duration::from_nanos(words.next()?.parse().ok()?);
    let jitter = words.next()?.parse().ok()?;
    let clock = match words.next()? {
        "ns" => Clock::Nanoseconds,
        "ms" => Clock::Milliseconds,
        _ => return None,
    };
    let name = words.next()?.to_owned();
    Some((index, Device { name, kind, seed, start, period, jitter, clock }))
}
