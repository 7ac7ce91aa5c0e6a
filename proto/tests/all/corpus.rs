//! Replays the fuzz corpora, crashes found by fuzzing among them, as ordinary tests.

#[path = "../../../fuzz/checks/formats.rs"]
mod formats;

use std::{fs, panic::catch_unwind, path::Path};

fn replay(target: &str, check: fn(&[u8])) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let mut seeds = 0;
    for entry in fs::read_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display())) {
        let path = entry.expect("a directory entry").path();
        let payload = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(catch_unwind(|| check(&payload)).is_ok(), "{} does not hold", path.display());
        seeds += 1;
    }
    assert!(seeds >= 10, "{}: only {seeds} seeds", dir.display());
}

#[test]
fn json_holds_on_its_corpus() {
    replay("json", formats::json);
}

#[test]
fn line_protocol_holds_on_its_corpus() {
    replay("line", formats::line);
}

#[test]
fn frames_hold_on_their_corpus() {
    replay("frame", formats::frame);
}

#[test]
fn cbor_holds_on_its_corpus() {
    replay("cbor", formats::cbor);
}

#[test]
fn messagepack_holds_on_its_corpus() {
    replay("msgpack", formats::msgpack);
}

#[test]
fn senml_holds_on_its_corpus() {
    replay("senml", formats::senml);
}

#[test]
fn sparkplug_holds_on_its_corpus() {
    replay("sparkplug", formats::sparkplug);
}

#[test]
fn tables_hold_on_their_corpus() {
    replay("csv", formats::csv);
}

#[test]
fn plain_values_hold_on_their_corpus() {
    replay("plain", formats::plain);
}
