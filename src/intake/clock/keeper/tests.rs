//! A machine whose clock is wrong, set, taken away and switched off, over many processes: whatever
//! was decided of an epoch holds, and corrections are right.

use fastrand::Rng;

use super::super::judge::Vouchers;
use super::*;

const SECOND: i64 = 1_000_000_000;
/// 2027.
const TRUE_AT_BOOT: i64 = 1_800_000_000 * SECOND;
const BOOT: [u8; 16] = [1; 16];
const NOBODY: Vouchers = Vouchers { synchronised: Some(false), persistent: false, rtc: None };
const NETWORK: Vouchers = Vouchers { synchronised: Some(true), ..NOBODY };

fn seen(wall: i64, running: i64, vouchers: Vouchers) -> Seen {
    Seen { wall: Timestamp::from_nanos(wall), running_ns: running, vouchers }
}

/// A journal that keeps what it is told.
fn write(keeper: &mut Keeper, epochs: &mut Vec<Epoch>) {
    for change in keeper.pending() {
        change.apply(epochs);
    }
    keeper.written();
}

fn start(epochs: &[Epoch], id: u32, seen: &Seen) -> Keeper {
    Keeper::start(Limits::default(), BOOT, None, epochs, id, seen)
}

#[test]
fn a_clock_that_is_right_begins_no_epoch_and_writes_nothing() {
    let pc = Vouchers { persistent: true, ..NOBODY };
    let keeper = start(&[], 77, &seen(TRUE_AT_BOOT, 0, pc));
    assert_eq!(keeper.mode(), Mode::Wall);
    assert_eq!(keeper.pending(), []);
}

#[test]
fn what_was_stamped_before_the_network_set_the_clock_is_corrected() {
    let mut epochs = Vec::new();
    let mut keeper = start(&epochs, 77, &seen(5 * SECOND, 5 * SECOND, NOBODY));
    assert_eq!(keeper.mode(), Mode::Running { epoch: UNSURE, offset_ns: 0 }, "it is not kept yet");
    write(&mut keeper, &mut epochs);
    assert_eq!(keeper.mode(), Mode::Running { epoch: 77, offset_ns: 0 });
    // Somebody sets the clock by hand, twice: nobody believes that.
    keeper.look(&seen(TRUE_AT_BOOT / 2, 6 * SECOND, NOBODY));
    assert_eq!(keeper.mode(), Mode::Running { epoch: 77, offset_ns: 0 });
    keeper.look(&seen(TRUE_AT_BOOT + 65 * SECOND, 65 * SECOND, NETWORK));
    assert_eq!(keeper.mode(), Mode::Wall);
    write(&mut keeper, &mut epochs);
    assert_eq!(epochs[0].fate, Fate::Corrected(TRUE_AT_BOOT));
    assert_eq!(epochs[1].right_offset_ns(), Some(TRUE_AT_BOOT));
}

#[test]
fn a_restart_goes_on_with_the_epoch_and_a_reboot_gives_it_up() {
    let mut epochs = Vec::new();
    write(&mut start(&epochs, 77, &seen(5 * SECOND, 5 * SECOND, NOBODY)), &mut epochs);
    let mut again = start(&epochs, 78, &seen(9 * SECOND, 9 * SECOND, NOBODY));
    write(&mut again, &mut epochs);
    assert_eq!(again.mode(), Mode::Running { epoch: 77, offset_ns: 0 });
    assert_eq!(epochs.len(), 1);

    let other = seen(3 * SECOND, 3 * SECOND, NOBODY);
    let mut rebooted = Keeper::start(Limits::default(), [2; 16], None, &epochs, 79, &other);
    write(&mut rebooted, &mut epochs);
    assert_eq!(rebooted.mode(), Mode::Running { epoch: 79, offset_ns: 0 });
    assert_eq!((epochs[0].fate, epochs[1].fate), (Fate::Unsure, Fate::Waiting));
}

#[test]
fn waiting_ends_and_what_was_given_up_stays_so() {
    let mut epochs = Vec::new();
    let mut keeper = start(&epochs, 77, &seen(0, 0, NOBODY));
    write(&mut keeper, &mut epochs);
    keeper.look(&seen(0, 599 * SECOND, NOBODY));
    assert!(matches!(keeper.state(), State::Waiting { left, .. } if left.as_secs() == 1));
    keeper.look(&seen(0, 600 * SECOND, NOBODY));
    assert!(matches!(keeper.state(), State::GivenUp { .. }));
    write(&mut keeper, &mut epochs);
    assert_eq!(epochs[0].fate, Fate::Unsure);
    // A restart waits no second time.
    let mut again = start(&epochs, 78, &seen(601 * SECOND, 601 * SECOND, NOBODY));
    assert!(matches!(again.state(), State::GivenUp { .. }));
    write(&mut again, &mut epochs);
    assert_eq!(again.mode(), Mode::Running { epoch: 77, offset_ns: 0 });
    again.look(&seen(TRUE_AT_BOOT, 700 * SECOND, NETWORK));
    write(&mut again, &mut epochs);
    assert_eq!((again.mode(), epochs[0].fate), (Mode::Wall, Fate::Unsure));
}

#[test]
fn a_restart_without_network_believes_what_this_boot_knew() {
    let mut epochs = Vec::new();
    write(&mut start(&epochs, 77, &seen(TRUE_AT_BOOT, 0, NETWORK)), &mut epochs);
    let later = seen(TRUE_AT_BOOT + 50 * SECOND, 50 * SECOND, NOBODY);
    let again = start(&epochs, 78, &later);
    assert_eq!(again.state(), State::Believed(Evidence::Earlier));
    assert_eq!(again.pending(), []);
}

#[test]
fn an_epoch_that_no_disk_keeps_is_never_named() {
    let mut keeper = start(&[], 77, &seen(0, 0, NOBODY));
    keeper.look(&seen(TRUE_AT_BOOT, SECOND, NETWORK));
    let begins = keeper.pending().iter().any(|change| matches!(change, Change::Begin(_)));
    assert!(!begins, "{:?}", keeper.pending());
}

/// One machine's life: processes that come and go, writes that fail, the network, reboots.
fn live(seed: u64) {
    let mut rng = Rng::with_seed(seed);
    let mut epochs: Vec<Epoch> = Vec::new();
    let mut told: Vec<Epoch> = Vec::new();
    let mut now = TRUE_AT_BOOT;
    let mut id = EPOCH_MIN;
    for boot in 0..3_u8 {
        let (booted, mut wrong_by) = (now, rng.i64(-TRUE_AT_BOOT..0));
        let mut vouchers = NOBODY;
        for _ in 0..rng.usize(1..4) {
            id += 1;
            let look = |now: i64, wrong_by, vouchers| seen(now + wrong_by, now - booted, vouchers);
            let mut keeper = Keeper::start(
                Limits::default(),
                [boot; 16],
                None,
                &epochs,
                id,
                &look(now, wrong_by, vouchers),
            );
            for _ in 0..rng.usize(1..12) {
                if rng.u8(..4) != 0 {
                    write(&mut keeper, &mut epochs);
                }
                if let Mode::Running { epoch, offset_ns } = keeper.mode()
                    && epoch != UNSURE
                {
                    let kept = epochs.iter().find(|kept| kept.id == epoch).expect("it is kept");
                    assert_eq!((kept.offset_ns, kept.boot), (offset_ns, [boot; 16]), "seed {seed}");
                    if let Fate::Corrected(by) = kept.fate {
                        panic!("seed {seed}: stamped in an epoch that was corrected by {by}");
                    }
                }
                for epoch in &epochs {
                    if let Fate::Corrected(by) = epoch.fate
                        && epoch.boot == [boot; 16]
                    {
                        assert_eq!(epoch.offset_ns + by, booted, "seed {seed}");
                    }
                    let before =
                        told.iter().find(|told| told.id == epoch.id && epoch.id != BELIEVED);
                    let held = before.is_none_or(|told| told.fate == epoch.fate);
                    assert!(held, "seed {seed}: {before:?} became {epoch:?}");
                }
                told = epochs.iter().filter(|epoch| epoch.fate != Fate::Waiting).copied().collect();
                now += rng.i64(0..200 * SECOND);
                match rng.u8(..12) {
                    0 => (wrong_by, vouchers) = (0, NETWORK),
                    1 => vouchers = NOBODY,
                    2 if vouchers == NOBODY && wrong_by != 0 => {
                        wrong_by = rng.i64(-TRUE_AT_BOOT..0);
                    }
                    _ => {}
                }
                keeper.look(&look(now, wrong_by, vouchers));
            }
        }
        now += rng.i64(0..10_000 * SECOND);
    }
}

#[test]
fn decisions_hold_and_corrections_are_right_whatever_the_machine_does() {
    for seed in 0..20_000 {
        live(seed);
    }
}
