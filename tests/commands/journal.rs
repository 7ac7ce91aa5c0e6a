//! `tidegate journal verify`: sound, living, damaged, missing.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{PATIENCE, Said, gateway_with, tidegate};

fn verify(dir: &Path) -> Said {
    tidegate(["journal", "verify", dir.to_str().unwrap()])
}

/// The only segment with frames.
fn segment(journal: &Path) -> PathBuf {
    let of_first = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.starts_with("seg-") && fs::read(path).unwrap()[4096..8192].iter().any(|b| *b != 0)
    };
    let entries = fs::read_dir(journal).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.is_file()).find(of_first).expect("a segment with frames")
}

#[test]
fn a_sound_one_is_listed_also_while_a_gateway_runs_on_it() {
    let mut gateway = gateway_with(20);
    let dir = gateway.dir().join("journal");
    let live = verify(&dir);
    assert_eq!((live.code, live.err.as_str()), (0, ""), "{live:?}");
    assert!(live.out.ends_with("; a gateway runs on it\n"), "{}", live.out);
    assert!(gateway.terminate(PATIENCE).success());
    let said = verify(&dir);
    assert_eq!((said.code, said.err.as_str()), (0, ""), "{said:?}");
    let sum = said.out.lines().last().unwrap();
    assert!(sum.contains(" 20 readings, ") && !sum.contains("runs on it"), "{sum}");
    for words in ["segment  seg-", "position  files", "position  intake-dead"] {
        assert!(said.out.contains(words), "no `{words}` in\n{}", said.out);
    }
}

#[test]
fn a_damaged_one_is_named_and_fails() {
    let mut gateway = gateway_with(20);
    assert!(gateway.terminate(PATIENCE).success());
    let dir = gateway.dir().join("journal");
    let segment = segment(&dir);
    let mut bytes = fs::read(&segment).unwrap();
    bytes[4096 + 60] ^= 0xFF; // In the first frame.
    fs::write(&segment, bytes).unwrap();
    let said = verify(&dir);
    assert_eq!((said.code, said.err.as_str()), (1, "the journal is damaged\n"), "{said:?}");
    assert!(said.out.contains("  CORRUPT 1 to 1"), "{}", said.out);
    assert!(said.out.lines().last().unwrap().contains(" 19 readings, "), "{}", said.out);
}

#[test]
fn a_missing_one_fails_and_names_the_directory() {
    let dir = tempfile::tempdir().unwrap();
    for (dir, words) in [
        (dir.path().to_owned(), "there is no journal here"),
        (dir.path().join("nowhere"), "No such file or directory"),
    ] {
        let said = verify(&dir);
        assert_eq!((said.code, said.out.as_str()), (1, ""), "{said:?}");
        let expected = format!("tidegate: {}: {words}", dir.display());
        assert!(said.err.starts_with(&expected), "{} is not {expected}", said.err);
    }
}
