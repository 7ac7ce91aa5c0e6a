//! What is in the database after files of each format, good and bad.

use std::{fs, io::Write as _};

use flate2::{Compression, write::GzEncoder};
use proto::Value;
use simulator::verify::Row;

use super::{expect_numbered, import, import_reading, numbered, rows, text, write};
use crate::support::rig::Rig;

/// Measurement, device, time, and fields with their types.
type Point<'r> = (&'r str, &'r str, i64, Vec<(&'r str, String)>);

fn points(rows: &[Row]) -> Vec<Point<'_>> {
    rows.iter()
        .map(|row| {
            let fields =
                row.fields.iter().map(|(name, value)| (name.as_str(), format!("{value:?}")));
            (row.measurement.as_str(), row.device.as_str(), row.time, fields.collect())
        })
        .collect()
}

fn float(value: f64) -> String {
    format!("{:?}", Value::Float(value))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn line_protocol_arrives_is_known_again_and_what_was_added_follows() {
    let rig = Rig::prepare("", "").await;
    let file = write(&rig, "a.lp", numbered(10_000));
    let said = import(&rig, &[&file]);
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(said.err, "", "nothing is wrong and nobody looks");
    assert!(said.out.ends_with(
        "a.lp: 10000 taken, 0 refused\nimported 10000  refused 0\noutput db: confirmed 10000  pending 0\n"
    ), "{said:?}");
    expect_numbered(&rig.database, 10_000);

    let lines = rig.database.stats().lines;
    let said = import(&rig, &[&file]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.contains("imported before, 10000 taken and 0 refused; nothing"), "{said:?}");
    assert_eq!(rig.database.stats().lines, lines, "nothing was sent again");

    fs::write(&file, numbered(10_100)).unwrap();
    let said = import(&rig, &[&file]);
    assert_eq!(said.code, 0, "{said:?}");
    let words = "a.lp: 100 taken, 0 refused, after 10000 taken and 0 refused before\n";
    assert!(said.out.contains(words), "{said:?}");
    expect_numbered(&rig.database, 10_100);

    // Another file under the same name is another import.
    fs::write(&file, "m,device=d v=1 1\nm,device=d v=10101 10101\n").unwrap();
    let said = import(&rig, &[&file]);
    assert!(said.out.contains("a.lp: 2 taken, 0 refused\n"), "{said:?}");
    expect_numbered(&rig.database, 10_101);
    let said = import(&rig, &["--anew", text(&file)]);
    assert!(said.out.contains("a.lp: 2 taken, 0 refused\n"), "{said:?}");
    expect_numbered(&rig.database, 10_101);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gzip_is_inflated_and_a_precision_is_kept_to() {
    let rig = Rig::prepare("", "").await;
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(b"m,device=d v=1 1700000000\nm,device=d v=2 1700000001\n").unwrap();
    let whole = gzip.finish().unwrap();
    let file = write(&rig, "a.lp.gz", &whole);
    let said = import(&rig, &["--precision", "s", text(&file)]);
    assert_eq!(said.code, 0, "{said:?}");
    let times: Vec<i64> = rows(&rig.database).iter().map(|row| row.time).collect();
    assert_eq!(times, [1_700_000_000_000_000_000, 1_700_000_001_000_000_000]);

    let broken = write(&rig, "b.lp.gz", &whole[..whole.len() - 4]);
    let said = import(&rig, &["--precision", "s", text(&broken), text(&file)]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.err.contains("b.lp.gz: "), "{said:?}");
    assert!(said.out.contains("a.lp.gz: imported before"), "the other file is come to: {said:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_becomes_typed_points_by_what_is_said_of_its_columns() {
    let rig = Rig::prepare("", "").await;
    let table = "\u{feff}when;room;temperature;door;note\r\n\
                 2023-11-14 23:13:20;d1;21.5;true;\"one; two\"\r\n\
                 2023-11-14 23:13:21;d1;20;;\r\n\
                 2023-11-14 23:13:22;d1;x\r\n\
                 soon;d1;1;;\r\n";
    let file = write(&rig, "house.csv", table);
    let layout = ["--delimiter", ";", "--time", "when", "--time-zone", "Europe/Berlin"];
    let rest = ["--tag", "room", "--measurement", "climate", "--add-tag", "device=d1"];
    let said = import(&rig, &[&layout[..], &rest, &[text(&file)]].concat());
    assert_eq!(said.code, 1, "two rows are refused: {said:?}");
    assert!(said.out.contains("house.csv: 2 taken, 2 refused\n"), "{said:?}");
    let line = |n: u32| format!("house.csv:{n}: ");
    assert!(said.err.contains(&(line(4) + "a row of 3 cells, where the header has 5")), "{said:?}");
    assert!(said.err.contains(&(line(5) + "`soon` is no time")), "{said:?}");
    let rows = rows(&rig.database);
    let at = 1_700_000_000_000_000_000;
    let (door, note) = (Value::Boolean(true), Value::Text("one; two".into()));
    assert_eq!(
        points(&rows),
        [
            (
                "climate",
                "d1",
                at,
                vec![
                    ("temperature", float(21.5)),
                    ("door", format!("{door:?}")),
                    ("note", format!("{note:?}")),
                ]
            ),
            ("climate", "d1", at + 1_000_000_000, vec![("temperature", float(20.0))]),
        ]
    );
    assert_eq!(rig.database.series(), ["climate,device=d1,room=d1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ndjson_and_documents_of_json_come_from_files_and_from_standard_input() {
    let rig = Rig::prepare("", "").await;
    let lines = "{\"device\":\"d1\",\"t\":1.5,\"ts\":1700000000}\n\n{\"device\":\"d1\",\"t\":}\n\
                 {\"device\":\"d1\",\"t\":2.5,\"ts\":1700000001}";
    let said = import_reading(&rig, &["-"], lines.as_bytes());
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.out.contains("standard input: 2 taken, 1 refused\n"), "{said:?}");
    assert!(said.err.contains("-:3: "), "the bad one stands on line 3: {said:?}");
    let document =
        "[\n {\"device\":\"d2\",\"t\":3.5,\"ts\":1700000002},\n {\"device\":\"d2\",\"t\":4.5}\n]";
    let file = write(&rig, "a.json", document);
    let said = import(&rig, &["--measurement", "climate", text(&file)]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.err.contains("1 carried no time: stamped"), "{said:?}");
    let rows = rows(&rig.database);
    let found = points(&rows);
    let second = 1_000_000_000;
    assert_eq!(found[0], ("climate", "d2", 1_700_000_002 * second, vec![("t", float(3.5))]));
    assert_eq!((found[1].1, &found[1].3), ("d2", &vec![("t", float(4.5))]));
    assert_eq!(found[2], ("readings", "d1", 1_700_000_000 * second, vec![("t", float(1.5))]));
    assert_eq!(found[3], ("readings", "d1", 1_700_000_001 * second, vec![("t", float(2.5))]));
    assert_eq!(found.len(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_lines_are_named_kept_in_the_dead_letters_and_cost_nothing_else() {
    let rig = Rig::prepare("", "").await;
    let mut lines: Vec<String> = numbered(50_000).lines().map(str::to_owned).collect();
    for at in (0..50_000).step_by(1000) {
        lines[at] = format!("m,device=d v= {at}");
    }
    // Longer than a piece: given up, and no line after it.
    lines[499] = format!("m,device=d v=\"{}\" 500", "x".repeat(600_000));
    let file = write(&rig, "a.lp", lines.join("\n"));
    let said = import(&rig, &[&file]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.out.contains("a.lp: 49949 taken, 51 refused\n"), "{}", said.out);
    for line in ["a.lp:1: ", "a.lp:500: the line is longer", "a.lp:1001: ", "a.lp:18001: "] {
        assert!(said.err.contains(line), "no `{line}` in {}", said.err);
    }
    assert!(said.err.contains("more was refused than is named here"), "{}", said.err);
    assert!(!said.err.contains("a.lp:19001: "), "{}", said.err);
    assert_eq!(rows(&rig.database).len(), 49_949);
    let letters = rig.gateway.dir().join("dead-letters/intake");
    let letters: String = fs::read_dir(letters)
        .unwrap()
        .filter_map(|entry| fs::read_to_string(entry.unwrap().path()).ok())
        .collect();
    assert_eq!(letters.matches("\"source\":\"import\"").count(), 51, "{letters}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_meant_is_said_before_anything_is_imported() {
    let rig = Rig::prepare("", "").await;
    let table = write(&rig, "a.csv", "when,v\n1,2\n");
    let prose = write(&rig, "a.txt", "once upon a time\n");
    let missing = rig.gateway.dir().join("missing.lp");
    let wrong: [(&[&str], i32, &str); 7] = [
        (&[], 2, "--help"),
        (&["--rate", "0", text(&table)], 2, "--help"),
        (&["--delimiter", "ab", text(&table)], 2, "--help"),
        (&["--time-zone", "Mars/Olympus", text(&table)], 1, "no time zone `Mars/Olympus`"),
        (&[text(&table), text(&missing)], 1, "missing.lp: No such file"),
        (&[text(&table)], 1, "no column is the time; there are `when`, `v`"),
        (&[text(&prose)], 1, "say it with --format"),
    ];
    for (arguments, code, words) in wrong {
        let said = import(&rig, arguments);
        assert_eq!(said.code, code, "{arguments:?}: {said:?}");
        assert!(said.err.contains(words), "{arguments:?}: {said:?}");
    }
    assert_eq!(rows(&rig.database), []);
}
