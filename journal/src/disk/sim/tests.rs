//! The simulated disk is as bad as it says.

use super::*;

#[test]
fn what_is_not_synced_may_go_in_pieces_and_what_is_stays() {
    let (mut whole, mut none, mut torn) = (0, 0, 0);
    for seed in 0..100 {
        let disk = SimDisk::new(seed, 1 << 20);
        let file = disk.create("a").unwrap();
        file.allocate(4096).unwrap();
        file.write_all_at(&[1; 1024], 0).unwrap();
        file.sync().unwrap();
        disk.sync_dir("").unwrap();
        file.write_all_at(&[2; 1024], 1024).unwrap();
        disk.reboot();
        assert!(file.sync().is_err(), "handles of an earlier life are dead");
        let mut bytes = [0; 4096];
        crate::disk::read_exact_at(&*disk.open("a").unwrap(), &mut bytes, 0).unwrap();
        assert_eq!(bytes[..1024], [1; 1024]);
        match (bytes[1024], bytes[2047]) {
            (2, 2) => whole += 1,
            (0, 0) => none += 1,
            _ => torn += 1,
        }
    }
    assert!(whole > 10 && none > 10 && torn > 10, "{whole} {none} {torn}");
}

#[test]
fn names_need_their_folder_synced_and_a_failed_sync_calls_lost_pages_clean() {
    let (mut lost_names, mut lost_pages) = (0, 0);
    for seed in 0..100 {
        let disk = SimDisk::new(seed, 1 << 20);
        let file = disk.create("a").unwrap();
        file.write_all_at(&[1; 512], 0).unwrap();
        file.sync().unwrap();
        disk.reboot();
        lost_names += usize::from(disk.open("a").is_err());

        let file = disk.create("b").unwrap();
        disk.sync_dir("").unwrap();
        file.allocate(512).unwrap();
        file.sync().unwrap();
        file.write_all_at(&[1; 512], 0).unwrap();
        disk.set_sync_failures(1);
        assert!(file.sync().is_err());
        disk.set_sync_failures(0);
        file.sync().unwrap(); // "Clean": nothing is written any more.
        disk.reboot();
        let mut byte = [0];
        disk.open("b").unwrap().read_at(&mut byte, 0).unwrap();
        lost_pages += usize::from(byte == [0]);
    }
    assert!((10..90).contains(&lost_names) && (10..90).contains(&lost_pages));
}
