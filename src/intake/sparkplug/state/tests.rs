//! What a file of births brings back: after a crash, a full disk, a flipped bit.

use std::{collections::BTreeMap, fs, path::Path, sync::Arc, time::Duration};

use proto::{Context, Readings, Rejects, Timestamp};

use super::super::record::MAGIC;
use super::super::{Limits, Message, Nodes, Wanted};
use super::*;
use crate::intake::tests::show;

const NBIRTH: &str = "spBv1.0/g/NBIRTH/n";
const NDATA: &str = "spBv1.0/g/NDATA/n";
const NDEATH: &str = "spBv1.0/g/NDEATH/n";
const DBIRTH: &str = "spBv1.0/g/DBIRTH/n/d";
const DDATA: &str = "spBv1.0/g/DDATA/n/d";

/// `(name, alias)` of Int32s that are 1, in a birth of this life (none: 0).
fn birth(life: u8, seq: u8, metrics: &[(&str, u8)]) -> Vec<u8> {
    let mut payload = vec![0x18, seq];
    let mut put = |body: Vec<u8>| {
        payload.extend([0x12, u8::try_from(body.len()).unwrap()]);
        payload.extend(body);
    };
    for (name, alias) in metrics {
        let len = u8::try_from(name.len()).unwrap();
        put([&[0x0A, len], name.as_bytes(), &[0x10, *alias, 0x20, 3, 0x50, 1]].concat());
    }
    if life > 0 {
        put([&[0x0A, 5][..], b"bdSeq", &[0x20, 4, 0x58, life]].concat());
    }
    payload
}

/// A metric by alias that is 2.
fn data(seq: u8, alias: u8) -> Vec<u8> {
    vec![0x08, 5, 0x18, seq, 0x12, 4, 0x10, alias, 0x50, 2]
}

/// The fields that it became; it is on the disk, if there is room.
fn hear(nodes: &Nodes, topic: &str, payload: &[u8]) -> Vec<String> {
    let (fields, wanted) = hear_only(nodes, topic, payload);
    if let Some(wanted) = wanted {
        nodes.write(Wanted { synced: true, ..wanted });
    }
    fields
}

/// The same in memory alone.
fn hear_only(nodes: &Nodes, topic: &str, payload: &[u8]) -> (Vec<String>, Option<Wanted>) {
    let source = Arc::from("mqtt");
    let speaker = Topic::parse(topic).unwrap();
    let message = Message { topic, speaker, payload, source: &source, arrival_ms: None };
    let context = Context::bare(Timestamp::from_nanos(1));
    let mut wanted = None;
    let fields = fields(|out, bad| wanted = nodes.hear(&message, &context, out, bad).wanted);
    (fields, wanted)
}

fn fields(decode: impl FnOnce(&mut Readings, &mut Rejects)) -> Vec<String> {
    let mut out = Readings::new(proto::Limits::default());
    out.begin();
    decode(&mut out, &mut Rejects::default());
    out.stamp(Timestamp::from_nanos(1));
    let mut cursor = proto::frame::Cursor::new(out.bytes());
    let mut lines = Vec::new();
    while let Some(reading) = cursor.next() {
        lines.push(show(&reading.unwrap()));
    }
    lines.iter().map(|line| line.split(' ').nth(1).unwrap().to_owned()).collect()
}

/// What is due, by its alias: the fields that it becomes, or why it is refused.
fn due(nodes: &Nodes) -> Vec<(u8, String)> {
    let due = nodes.state().held.take_due(Duration::ZERO);
    let mut due: Vec<_> = due
        .iter()
        .map(|(waiting, fate)| {
            let told = fate.names().map_or_else(Vec::new, |names| {
                fields(|out, bad| {
                    let speaker = Topic::parse(&waiting.topic).unwrap();
                    let context = Context::bare(Timestamp::from_nanos(1));
                    let payload = (&speaker, waiting.payload.as_slice());
                    proto::sparkplug::resolve(payload, names, &context, out, bad);
                })
            });
            let alias = waiting.payload[waiting.payload.len() - 3];
            (alias, told.first().cloned().unwrap_or_else(|| fate.why().to_owned()))
        })
        .collect();
    due.sort();
    due
}

fn waiting(nodes: &Nodes) -> usize {
    nodes.state().held.waiting().count()
}

fn open(dir: &Path) -> Nodes {
    Nodes::open(dir, Limits::default())
}

fn named(alias: u8, field: &str) -> (u8, String) {
    (alias, field.to_owned())
}

fn died(alias: u8) -> (u8, String) {
    (alias, Fate::Died.why().to_owned())
}

/// Killed before what is due was handed on, once or twice: the file as it was appended to, and one
/// that was written anew.
#[test]
fn what_became_of_held_data_is_the_same_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let nodes = open(dir.path());
    hear(&nodes, NDATA, &data(7, 1));
    hear(&nodes, DDATA, &data(8, 2));
    hear(&nodes, NDEATH, &[0x08, 5]);
    hear(&nodes, NDATA, &data(0, 3));
    hear(&nodes, NBIRTH, &birth(1, 0, &[("c", 3), ("wrong", 1)]));
    hear(&nodes, NDATA, &data(9, 4));
    hear(&nodes, NBIRTH, &birth(2, 0, &[("wrong", 4), ("another", 3)]));
    hear(&nodes, DBIRTH, &birth(0, 1, &[("wrong", 2)]));
    let expected = [died(1), died(2), named(3, "c=2i"), died(4)];
    for _ in 0..3 {
        let nodes = open(dir.path());
        assert_eq!(due(&nodes), expected);
        assert_eq!((waiting(&nodes), nodes.state().held.messages()), (0, 4), "not settled");
        hear(&nodes, DBIRTH, &birth(0, 1, &[("wrong", 2)])); // The file is written anew.
    }
}

#[test]
fn what_a_birth_explained_keeps_its_name_when_another_comes_before_it_is_delivered() {
    let dir = tempfile::tempdir().unwrap();
    let nodes = open(dir.path());
    hear(&nodes, NDATA, &data(7, 1));
    hear(&nodes, NBIRTH, &birth(1, 0, &[("a", 1)]));
    hear(&nodes, NDEATH, &[0x08, 5]);
    hear(&nodes, NBIRTH, &birth(2, 0, &[("wrong", 1)]));
    assert_eq!(due(&nodes), [named(1, "a=2i")]);
}

#[test]
fn limits_that_were_lowered_cost_nothing_of_what_was_held() {
    let dir = tempfile::tempdir().unwrap();
    let nodes = open(dir.path());
    for seq in 0..20 {
        hear(&nodes, NDATA, &data(seq, 1));
    }
    let limits = Limits { held_bytes_max: 1024, ..Limits::default() };
    let nodes = Nodes::open(dir.path(), limits);
    assert_eq!(waiting(&nodes), 20);
    hear(&nodes, NDATA, &data(20, 1));
    assert_eq!(waiting(&nodes), 20, "but no more");
}

/// The first write after a start is of a whole file.
#[test]
fn a_full_disk_costs_the_births_and_nothing_that_was_held() {
    let dir = tempfile::tempdir().unwrap();
    let nodes = open(dir.path());
    hear(&nodes, NBIRTH, &birth(1, 0, &[("a", 1)]));
    hear(&nodes, NDATA, &data(1, 2));
    let full = || std::os::unix::fs::symlink("/dev/full", dir.path().join("births.new")).unwrap();

    let nodes = open(dir.path());
    full();
    hear(&nodes, NDATA, &data(5, 3));
    assert_eq!(due(&nodes), [(3, Fate::TooLate.why().to_owned())], "it is on no disk");
    assert_eq!(waiting(&nodes), 1);
    drop(nodes);

    let nodes = open(dir.path());
    nodes.recall(&super::super::note::put([("g/n", Some(2))]));
    assert_eq!(hear(&nodes, NDATA, &data(2, 1)), ["a=2i"], "no birth was missed");
    full();
    hear(&nodes, NBIRTH, &birth(1, 0, &[("b", 1), ("c", 2)]));
    drop(nodes);

    let nodes = open(dir.path());
    nodes.recall(&super::super::note::put([("g/n", Some(1))]));
    assert_eq!(hear(&nodes, NDATA, &data(1, 1)), [""; 0], "of the birth that was not kept");
    assert_eq!(waiting(&nodes), 2);
    hear(&nodes, NBIRTH, &birth(1, 0, &[("b", 1), ("c", 2)]));
    assert_eq!(due(&nodes), [named(1, "b=2i"), named(2, "c=2i")]);
}

#[test]
fn what_was_held_when_the_file_fell_behind_is_not_explained_by_another_life() {
    let dir = tempfile::tempdir().unwrap();
    let nodes = open(dir.path());
    hear(&nodes, NBIRTH, &birth(1, 0, &[("a", 1)]));
    hear(&nodes, DDATA, &data(1, 2));
    let mut file = fs::read(dir.path().join("births")).unwrap();
    file[MAGIC.len() - 1] = super::super::record::BEHIND;
    fs::write(dir.path().join("births"), file).unwrap();
    let nodes = open(dir.path());
    hear(&nodes, NDATA, &data(9, 9)); // The file is written anew, and the doubt with it.
    let nodes = open(dir.path());
    hear(&nodes, DBIRTH, &birth(0, 1, &[("wrong", 2)]));
    assert_eq!(due(&nodes), [(2, Fate::Unclear.why().to_owned())]);
    hear(&nodes, NBIRTH, &birth(2, 0, &[("wrong", 9)]));
    assert_eq!(due(&nodes), [died(9)]);
}

/// Births, deaths and held data of two nodes; the second life of the first uses its aliases anew.
fn history() -> Vec<u8> {
    let held = |number, topic, payload| Record::Held { number, source: "mqtt", topic, payload };
    let heard = |topic, payload| Record::Heard { topic, payload };
    let mut file = MAGIC.to_vec();
    for record in [
        heard(NBIRTH, &birth(1, 0, &[("a", 1)])[..]),
        held(1, NDATA, &data(1, 9)),
        heard(NDEATH, &[]),
        heard(NBIRTH, &birth(2, 0, &[("b", 1), ("wrong", 9)])),
        held(2, DDATA, &data(1, 4)),
        heard(DBIRTH, &birth(0, 2, &[("t", 4)])),
        held(3, NDATA, &data(3, 8)),
        Record::Settled { number: 99 },
        held(4, "spBv1.0/g/NDATA/other", &data(7, 5)),
    ] {
        record.put(&mut file);
    }
    file
}

#[test]
fn a_flipped_bit_in_the_file_never_gives_a_wrong_name_and_costs_what_it_hit() {
    let right = BTreeMap::from([(9, ""), (4, "t=2i"), (8, "c=2i"), (5, "x=2i"), (1, "b=2i")]);
    let dir = tempfile::tempdir().unwrap();
    let whole = history();
    for bit in 0..=whole.len() * 8 {
        let mut file = whole.clone();
        if let Some(byte) = file.get_mut(bit / 8) {
            *byte ^= 1 << (bit % 8);
        }
        fs::write(dir.path().join("births"), &file).unwrap();
        let nodes = open(dir.path());
        nodes.recall(&super::super::note::put([("g/n", Some(4))]));
        let damaged = nodes.stats.damaged.get();
        let found = nodes.state().held.messages();
        assert!(found == 4 || (found == 3 && damaged == 1), "bit {bit}: {found}, {damaged}");
        let (now, _) = hear_only(&nodes, NDATA, &data(4, 1));
        assert!(now.is_empty() || now == ["b=2i"], "bit {bit}: {now:?}");
        let waits = usize::from(now.is_empty());
        hear_only(&nodes, NBIRTH, &birth(2, 0, &[("b", 1), ("c", 8), ("wrong", 9)]));
        hear_only(&nodes, DBIRTH, &birth(0, 1, &[("t", 4)]));
        hear_only(&nodes, "spBv1.0/g/NBIRTH/other", &birth(7, 0, &[("x", 5)]));
        let due = due(&nodes);
        assert_eq!((due.len(), waiting(&nodes)), (found + waits, 0), "bit {bit}: {due:?}");
        for (alias, told) in due {
            let is_refused = told.starts_with("metrics by an alias");
            assert!(is_refused || told == right[&alias], "bit {bit}: {alias} is {told}");
            assert!(!is_refused || alias == 9 || damaged > 0, "bit {bit}: {alias} is refused");
        }
    }
    assert!(dir.path().join("births.damaged").is_file());
}
