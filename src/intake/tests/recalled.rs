//! Does a start get by without room in the journal, whatever it has to note again?

use super::resends::{self, Identities};
use super::*;

#[tokio::test]
async fn a_start_waits_for_no_room_however_many_senders_are_remembered() {
    const SENDERS: u32 = 15_000;
    let (now, wall) = (Instant::now(), Timestamp::from_nanos(NOW));
    let limits = resends::Limits { senders_max: SENDERS as usize, ..resends::Limits::default() };
    let recalled = Resends::new(limits, [7; 16]);
    for n in 0..SENDERS {
        let mut identities = Identities::default();
        identities.push(1, n.into());
        let note =
            Resends::new(limits, [7; 16]).connect(&n.to_string(), now).note(wall, &identities);
        recalled.recall(&note, now, wall);
    }

    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        bytes_max: 16 << 20,
        queue_bytes_max: 2 << 20,
        free_bytes_min: 0,
        ..Options::new(dir.path())
    };
    let (held, disk) = testing::HeldDisk::new(dir.path());
    let (journal, appender, _) = journal::open_with(held, &options).unwrap();
    let (routes, clock) = (Routes::compile(Vec::new()).unwrap(), SettableClock::at(NOW));
    let intake = Intake::new(appender, routes, Limits::default(), Vec::new(), Arc::new(clock))
        .remembering(recalled);
    disk.hold();
    timeout(SOON, intake.note_recalled()).await.unwrap().unwrap();
    disk.release();

    let house = House { intake, journal, disk, _dir: dir };
    house.keep("a/x/t", b"21.5").await;
    let again = Resends::new(limits, [7; 16]);
    house.journal.notes(u64::MAX, |note| again.recall(note, now, wall));
    assert_eq!(again.senders(), SENDERS as usize);
}
