//! What a process has used, as Linux tells it in `/proc`.

use std::{fs, io, process, time::Duration};

/// Ticks a second of the times in `/proc`: a constant of Linux' interface on every architecture
/// that we run on, whatever the kernel's own timer does.
const TICKS_PER_SECOND: u64 = 100;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// User and system time since the process began.
    pub cpu: Duration,
    pub rss_bytes: u64,
    pub rss_bytes_max: u64,
}

impl Usage {
    pub fn of(pid: u32) -> io::Result<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let missing = || io::Error::new(io::ErrorKind::InvalidData, "/proc is not as expected");
        Ok(Self {
            cpu: cpu(&stat).ok_or_else(missing)?,
            rss_bytes: kilobytes(&status, "VmRSS:").ok_or_else(missing)?,
            rss_bytes_max: kilobytes(&status, "VmHWM:").ok_or_else(missing)?,
        })
    }

    pub fn of_this_process() -> io::Result<Self> {
        Self::of(process::id())
    }
}

/// Fields 14 and 15; the second field is a name in parentheses that may hold anything.
fn cpu(stat: &str) -> Option<Duration> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(Duration::from_millis((user + system) * (1000 / TICKS_PER_SECOND)))
}

fn kilobytes(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_process_with_an_awkward_name() {
        let stat = "42 (a) b ) S 1 42 42 0 -1 4194560 1 0 0 0 123 45 0 0 20 0 1 0 100 1 1 0";
        assert_eq!(cpu(stat), Some(Duration::from_millis(1680)));
        assert_eq!(kilobytes("VmHWM:\t  12 kB\nVmRSS:\t     7 kB\n", "VmRSS:"), Some(7 * 1024));
    }

    #[test]
    fn this_process_uses_something() {
        let usage = Usage::of_this_process().unwrap();
        assert!(usage.rss_bytes > 100_000 && usage.rss_bytes_max >= usage.rss_bytes);
        assert!(Usage::of(u32::MAX).is_err());
    }
}
