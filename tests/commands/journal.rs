//! `tidegate journal`: what it shows of one that is sound, living, damaged, missing, and what it
//! takes out of it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{PATIENCE, Said, gateway_with, tidegate};
use crate::support::gateway::{Gateway, Setup};

/// `tidegate journal ...` at the running gateway, or in its directory.
fn journal(arguments: &[&str], gateway: &Gateway, offline: bool) -> Said {
    let (config, dir) = (gateway.config_file(), gateway.dir().join("journal"));
    let place = if offline {
        ["--offline", dir.to_str().unwrap()]
    } else {
        ["-c", config.to_str().unwrap()]
    };
    tidegate([&["journal"], arguments, &place].concat())
}

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

#[test]
fn status_and_dump_show_the_same_from_a_running_gateway_and_from_its_directory() {
    let mut gateway = gateway_with(20);
    let status = journal(&["status"], &gateway, false);
    assert_eq!((status.code, status.err.as_str()), (0, ""), "{status:?}");
    assert!(status.out.contains("\nposition files  "), "{}", status.out);
    let busy = journal(&["status"], &gateway, true);
    assert_eq!((busy.code, busy.out.as_str()), (75, ""), "{busy:?}");
    assert!(busy.err.starts_with("another process holds "), "{}", busy.err);
    let dump = journal(&["dump", "--from", "3", "--count", "2"], &gateway, false);
    assert_eq!((dump.code, dump.err.as_str()), (0, ""), "{dump:?}");
    assert_eq!(dump.out.matches("# frame ").count(), 2, "{}", dump.out);
    assert!(dump.out.starts_with("# frame 3  data  1 readings  "), "{}", dump.out);
    assert!(dump.out.contains("\nm,device=a v=2.0 2\n"), "{}", dump.out);

    assert!(gateway.terminate(PATIENCE).success());
    let status = journal(&["status"], &gateway, true);
    assert_eq!((status.code, status.err.as_str()), (0, ""), "{status:?}");
    assert!(status.out.contains("pending 0, confirmed 20, "), "{}", status.out);
    let gone = journal(&["status"], &gateway, false);
    assert_eq!((gone.code, gone.out.as_str()), (75, ""), "{gone:?}");
    assert!(gone.err.contains("use --offline DIR"), "{}", gone.err);
    assert_eq!(journal(&["dump", "--from", "3", "--count", "2"], &gateway, true).out, dump.out);
}

#[test]
fn an_output_that_is_gone_is_forgotten_at_the_running_gateway_and_in_its_directory() {
    let mut gateway = gateway_with(3);
    let refused = journal(&["forget", "files"], &gateway, false);
    assert_eq!((refused.code, refused.out.as_str()), (1, ""), "{refused:?}");
    assert!(refused.err.contains("an output of the configuration reads as `files`"), "{refused:?}");
    assert!(gateway.terminate(PATIENCE).success());

    let rename = |gateway: &mut Gateway, id: &str| {
        let tables =
            format!("[[output]]\nid = \"{id}\"\ntype = \"file\"\npath = \"out/{id}.lp\"\n");
        gateway.configure(&Setup { journal: "", tables: &tables });
        gateway.run();
    };
    rename(&mut gateway, "second");
    assert!(gateway.status().alarms.iter().any(|alarm| alarm.contains("output files is gone")));
    let forgotten = journal(&["forget", "files"], &gateway, false);
    assert_eq!(
        (forgotten.code, forgotten.out.as_str()),
        (0, "forgotten: files\n"),
        "{forgotten:?}"
    );
    assert!(gateway.status().alarms.is_empty(), "{:?}", gateway.status().alarms);
    let again = journal(&["forget", "files"], &gateway, false);
    assert_eq!(again.err, "the journal has no position of `files`\n", "{again:?}");
    assert!(gateway.terminate(PATIENCE).success());

    let forgotten = journal(&["forget", "second"], &gateway, true);
    assert_eq!((forgotten.code, forgotten.err.as_str()), (0, ""), "{forgotten:?}");
    let status = journal(&["status"], &gateway, true);
    assert!(!status.out.contains("second") && status.out.contains("intake-dead"), "{status:?}");
    let own = journal(&["forget", "intake-dead"], &gateway, true);
    assert_eq!((own.code, own.out.as_str()), (1, ""), "{own:?}");
}
