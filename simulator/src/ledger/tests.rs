//! Does a ledger's file say what happened, wherever it was cut off?

use std::{fs, time::Duration};

use proto::Timestamp;

use super::*;
use crate::signals::{Clock, Kind, seed_of};

fn devices() -> Vec<Device> {
    (0..3_u64)
        .map(|n| Device {
            name: format!("device {n}"),
            kind: Kind::ALL[usize::try_from(n).unwrap()],
            seed: seed_of(5, &n.to_string()),
            start: Timestamp::from_nanos(1_790_000_000_000_000_007),
            period: Duration::from_micros(1_234_567),
            jitter: 0.1 + 0.2,
            clock: if n == 1 { Clock::Milliseconds } else { Clock::Nanoseconds },
        })
        .collect()
}

fn all(ledger: &Ledger) -> Vec<(Device, Marks)> {
    ledger.devices().enumerate().map(|(i, d)| (d.clone(), ledger.marks(i))).collect()
}

#[test]
fn a_file_gives_back_what_was_written_down() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger");
    let ledger = Ledger::create(devices(), Some(&path)).unwrap();
    ledger.sent(0, &[0, 1, 2, 5]).unwrap();
    ledger.sent(2, &[0]).unwrap();
    ledger.acknowledged(0, &[1, 5]).unwrap();
    ledger.acknowledged(0, &[5]).unwrap();
    ledger.refused(0, &[2]).unwrap();

    let loaded = Ledger::load(&path).unwrap();
    assert_eq!(all(&loaded), all(&ledger));
    assert_eq!(loaded.totals(), Totals { sent: 5, acknowledged: 2, refused: 1 });
    assert_eq!(loaded.marks(0).sent.ranges(), [0..3, 5..6]);
}

#[test]
fn a_file_cut_anywhere_is_an_earlier_state_of_the_ledger() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger");
    let ledger = Ledger::create(devices(), Some(&path)).unwrap();
    let mut states = vec![Totals::default()];
    for seq in 0..30 {
        ledger.sent(1, &[seq]).unwrap();
        states.push(ledger.totals());
        ledger.acknowledged(1, &[seq]).unwrap();
        states.push(ledger.totals());
    }
    let whole = fs::read(&path).unwrap();
    let cut_path = dir.path().join("cut");
    let mut seen = Vec::new();
    for length in 0..=whole.len() {
        fs::write(&cut_path, &whole[..length]).unwrap();
        let loaded = Ledger::load(&cut_path).unwrap();
        let totals = loaded.totals();
        assert!(states.contains(&totals), "cut at {length}: {totals:?}");
        if seen.last() != Some(&totals) {
            seen.push(totals);
        }
    }
    assert_eq!(seen, states, "every state comes up, in order");
}

#[test]
fn damage_in_the_middle_is_an_error_and_names_its_line() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger");
    let ledger = Ledger::create(devices(), Some(&path)).unwrap();
    ledger.sent(0, &[0]).unwrap();
    let good = fs::read_to_string(&path).unwrap();
    for bad in ["s 9 0 1\n", "s 0 0\n", "x 0 0 1\n", "s 0 0 1 2\n", "\n"] {
        fs::write(&path, format!("{good}{bad}a 0 0 1\n")).unwrap();
        let error = Ledger::load(&path).unwrap_err();
        assert!(error.to_string().starts_with("ledger line 6: "), "{bad:?}: {error}");
    }
}

#[test]
fn a_ledger_is_never_written_over_another() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger");
    Ledger::create(devices(), Some(&path)).unwrap();
    assert!(Ledger::create(devices(), Some(&path)).is_err());
}

#[test]
fn what_cannot_be_written_down_is_not_sent() {
    let Ok(ledger) = Ledger::create(Vec::new(), None) else { panic!("no file, no error") };
    assert!(ledger.sent(0, &[1]).is_err());
    // The kernel's own full disk.
    if let Ok(full) = fs::OpenOptions::new().append(true).open("/dev/full") {
        let some: Ranges = [7].into_iter().collect();
        let mut writer = file::Writer::for_tests(full);
        assert!(writer.append(file::Kind::Sent, 0, some.ranges()).is_err());
        assert!(writer.append(file::Kind::Sent, 0, some.ranges()).is_err(), "poisoned for good");
    }
}
