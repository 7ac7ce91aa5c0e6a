//! What the machine says of its clocks.

use std::{fs, path::Path};

use proto::Timestamp;
use rustix::time::{ClockId, clock_gettime};

use super::judge::Vouchers;

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
const RTCS: &str = "/sys/class/rtc";
/// The kernels of these architectures read the battery-backed clock, or their host's, by themselves
/// before anything else runs.
const HAS_PERSISTENT: bool = cfg!(any(target_arch = "x86", target_arch = "x86_64"));

/// Nanoseconds since the boot, time asleep included.
pub fn running_ns() -> i64 {
    let time = clock_gettime(ClockId::Boottime);
    time.tv_sec.saturating_mul(1_000_000_000).saturating_add(time.tv_nsec)
}

/// Reads a few small files of the kernel's.
pub fn vouchers() -> Vouchers {
    Vouchers { synchronised: synchronised(), persistent: HAS_PERSISTENT, rtc: rtc(Path::new(RTCS)) }
}

/// Which boot of which machine; another one each time if the kernel does not tell.
pub fn boot() -> [u8; 16] {
    let text = fs::read_to_string(BOOT_ID).unwrap_or_default();
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    let id = u128::from_str_radix(&digits, 16).ok().filter(|_| digits.len() == 32);
    id.unwrap_or_else(|| fastrand::u128(..)).to_be_bytes()
}

/// The clock among these that set the time at the boot.
fn rtc(dir: &Path) -> Option<Timestamp> {
    fs::read_dir(dir).ok()?.filter_map(Result::ok).find_map(|rtc| {
        let read = |name| fs::read_to_string(rtc.path().join(name)).ok();
        let did = read("hctosys")?.trim() == "1";
        let seconds = read("since_epoch")?.trim().parse::<i64>().ok()?;
        did.then(|| Timestamp::from_nanos(seconds.saturating_mul(1_000_000_000)))
    })
}

/// `None`: the kernel cannot be asked (a sandbox).
#[cfg(target_os = "linux")]
fn synchronised() -> Option<bool> {
    adjtimex::status().map(|status| status & libc::STA_UNSYNC == 0)
}

#[cfg(not(target_os = "linux"))]
fn synchronised() -> Option<bool> {
    None
}

#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "adjtimex is a C function, and there is no safe wrapper for it")]
mod adjtimex {
    /// The kernel's `STA_` flags; changes nothing.
    pub(super) fn status() -> Option<libc::c_int> {
        // SAFETY: a struct of numbers, for which all zeros are a value: `modes` 0, nothing is set.
        let mut timex: libc::timex = unsafe { std::mem::zeroed() };
        // SAFETY: it writes to this struct, which outlives the call, and keeps no pointer to it.
        let answer = unsafe { libc::adjtimex(&raw mut timex) };
        (answer >= 0).then_some(timex.status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_since_boot_only_rises_and_a_boot_has_one_name() {
        let first = running_ns();
        assert!(first > 0);
        assert!(running_ns() >= first);
        assert_eq!(boot(), boot());
    }

    #[test]
    fn the_clock_that_set_the_time_is_found_among_others() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(rtc(&dir.path().join("none")), None);
        for (name, did, seconds) in [("rtc0", "0\n", "5\n"), ("rtc1", "1\n", "1800000000\n")] {
            let rtc = dir.path().join(name);
            fs::create_dir(&rtc).unwrap();
            fs::write(rtc.join("hctosys"), did).unwrap();
            fs::write(rtc.join("since_epoch"), seconds).unwrap();
        }
        assert_eq!(rtc(dir.path()), Some(Timestamp::from_nanos(1_800_000_000_000_000_000)));
    }
}
