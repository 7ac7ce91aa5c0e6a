//! Tables as spreadsheets, loggers and databases write them.

use proptest::prelude::*;

use super::*;
use crate::testing::{context, decoded, line};
use crate::timestamp::{LocalTime, Zone};
use crate::{Mapping, Precision, Reading, Timestamp, Value};

fn tags(names: &[&str]) -> Layout {
    let tags = names.iter().map(|&name| name.to_owned()).collect();
    Layout { tags, ..Layout::default() }
}

/// What a whole table becomes.
fn table(text: &str, layout: &Layout, context: &Context<'_>) -> (Vec<Reading>, Rejects) {
    let columns = Columns::of(text.as_bytes(), layout).unwrap();
    let rows = text.as_bytes().get(columns.header().0..).unwrap();
    decoded(|out, bad| decode(rows, &columns, context, out, bad))
}

/// Its points as line protocol.
fn lines(text: &str, layout: &Layout) -> Vec<String> {
    let (readings, bad) = table(text, layout, &context());
    assert!(bad.is_empty(), "{bad:?}");
    readings.iter().map(line).collect()
}

/// Lines and reasons of what was refused.
fn refused(text: &str, layout: &Layout) -> Vec<(u32, String)> {
    let (_, bad) = table(text, layout, &context());
    bad.listed().iter().map(|reject| (reject.index, reject.reason.to_string())).collect()
}

#[test]
fn columns_are_time_tags_and_typed_fields() {
    let text = "time,room,temperature,door,note,empty\n\
                2023-11-14T22:13:20Z,hall,21.5,true,ok,\n\
                1700000001,\"hall\",\"20\",FALSE, a word ,NaN\r\n";
    assert_eq!(
        lines(text, &tags(&["room"])),
        [
            "readings,room=hall temperature=21.5,door=t,note=\"ok\" 1700000000000000000",
            "readings,room=hall temperature=20.0,door=f,note=\"a word\" 1700000001000000000",
        ]
    );
}

#[test]
fn quotes_hold_delimiters_line_ends_and_quotes() {
    let text = "time,\"a \"\"b\"\"\",c\n1,\"x,y\",\"one\ntwo\"\n2, \"z\" ,5\" pipe\n";
    let (readings, bad) = table(text, &Layout::default(), &context());
    assert!(bad.is_empty(), "{bad:?}");
    let text = |field: &(String, Value)| (field.0.clone(), field.1.clone());
    let fields: Vec<_> = readings.iter().flat_map(|it| it.fields.iter().map(text)).collect();
    let field = |name: &str, value: &str| (name.to_owned(), Value::Text(value.to_owned()));
    let name = "a \"b\"";
    assert_eq!(
        fields,
        [field(name, "x,y"), field("c", "one\ntwo"), field(name, "z"), field("c", "5\" pipe")]
    );
}

#[test]
fn a_column_can_be_the_measurement_and_the_rest_can_stay_behind() {
    let layout = Layout {
        delimiter: b';',
        time: TimeColumn::Named("when".into()),
        measurement: Some("name".into()),
        tags: vec!["host".into()],
        fields: vec!["used".into()],
    };
    let text = "name;when;host;used;free;\ncpu;1700000000;a;1.5;9;\n;1700000000;a;2;9;\n";
    assert_eq!(
        lines(text, &layout),
        ["cpu,host=a used=1.5 1700000000000000000", "readings,host=a used=2.0 1700000000000000000",],
        "a cell that says nothing leaves the measurement to the context"
    );
}

#[test]
fn a_bad_row_costs_itself_and_is_named_by_its_line() {
    let text = "time,v\n1,1\n\n2\n3,3,3\nsoon,4\n,5\n2024-05-01 10:00:00,6\n9,\"a\"b\n8,8\n7,\"7\n";
    let lines: Vec<u32> = refused(text, &Layout::default()).iter().map(|it| it.0).collect();
    assert_eq!(lines, [2, 3, 4, 5, 6, 7, 9]);
    let said: Vec<String> = refused(text, &Layout::default()).into_iter().map(|it| it.1).collect();
    for (said, part) in said.iter().zip([
        "a row of 1 cells, where the header has 2",
        "a row of 3 cells, where the header has 2",
        "`soon` is no time that says when",
        "no time in column `time`",
        "one without an offset needs a time zone",
        "text behind a closing quote",
        "a quote that is never closed",
    ]) {
        assert!(said.contains(part), "{said} is not {part}");
    }
    let (readings, bad) = table(text, &Layout::default(), &context());
    assert_eq!((readings.len(), bad.readings()), (2, 7));
    let spans: Vec<_> = bad.listed().iter().map(|reject| reject.span.clone()).collect();
    let rows = text.split_once('\n').unwrap().1;
    assert_eq!(rows.get(spans[6].clone()), Some("7,\"7\n"), "what a dead letter quotes");
}

#[test]
fn bytes_that_are_no_text_cost_their_row() {
    let columns = Columns::of(b"time,v\n", &Layout::default()).unwrap();
    let rows = b"1,\xff\n2,2\n";
    let (readings, bad) = decoded(|out, bad| decode(rows, &columns, &context(), out, bad));
    assert_eq!((readings.len(), bad.readings()), (1, 1));
    assert_eq!(bad.listed()[0].reason.to_string(), "not UTF-8");
}

#[test]
fn a_row_that_says_nothing_is_nothing_and_no_fault() {
    let (readings, bad) = table("time,v,w\n1,,null\n2,2,\n", &Layout::default(), &context());
    assert_eq!((readings.len(), bad.readings(), bad.nothings()), (1, 0, 1));
}

#[test]
fn numbers_of_time_have_the_unit_that_is_said() {
    let context = Context { precision: Some(Precision::Milliseconds), ..context() };
    let (readings, _) = table("ts,v\n1500,1\n", &Layout::default(), &context);
    assert_eq!(readings[0].time, Time::At(Timestamp::from_nanos(1_500_000_000)));
}

#[derive(Debug)]
struct Utc;

impl Zone for Utc {
    fn instant(&self, local: LocalTime, _: Timestamp) -> Option<Timestamp> {
        Timestamp::from_rfc3339(&format!(
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
            local.year, local.month, local.day, local.hour, local.minute, local.second
        ))
    }
}

#[test]
fn a_zone_gives_local_times_their_meaning() {
    let mapping = Mapping { zone: Some(std::sync::Arc::new(Utc)), ..Mapping::default() };
    let context = Context { mapping: Some(&mapping), ..context() };
    let (readings, bad) = table("time,v\n2023-11-14 22:13:20,1\n", &Layout::default(), &context);
    assert!(bad.is_empty(), "{bad:?}");
    assert_eq!(line(&readings[0]), "readings v=1.0 1700000000000000000");
}

#[test]
fn a_header_that_does_not_fit_says_why() {
    let wrong =
        |text: &str, layout: &Layout| Columns::of(text.as_bytes(), layout).unwrap_err().to_string();
    let layout = Layout::default();
    assert_eq!(wrong("", &layout), "there is no header");
    assert_eq!(wrong("time,a,a\n", &layout), "the header has `a` twice");
    assert_eq!(wrong("when,a\n", &layout), "no column is the time; there are `when`, `a`");
    assert_eq!(wrong("time,a\n", &tags(&["a"])), "no column is left for a field");
    assert_eq!(wrong("time,a\n", &tags(&["b"])), "no column is called `b`; there are `time`, `a`");
    assert!(wrong("#datatype,string\n", &layout).contains("annotated CSV"));
    let nowhere = Layout { time: TimeColumn::Nowhere, ..layout };
    assert!(!Columns::of(b"a,b\n", &nowhere).unwrap().has_time());
}

#[test]
fn rows_are_whole_up_to_a_line_end_outside_of_quotes() {
    for (text, expected) in [
        ("", 0),
        ("a,b", 0),
        ("a,b\n", 4),
        ("a,b\n\n", 5),
        ("a,b\nc", 4),
        ("a,\"b\n", 0),
        ("a,\"b\n\"\nc", 7),
        ("a,\"b\"", 0),
        ("a\n5\" b\nc", 7),
    ] {
        assert_eq!(whole(text.as_bytes(), b','), expected, "{text:?}");
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>, text in "[a-c\",;\n\r 0-9]{0,40}") {
        for payload in [&bytes[..], text.as_bytes()] {
            drop(Columns::of(payload, &Layout::default()));
            prop_assert!(whole(payload, b',') <= payload.len());
            let columns = Columns::of(b"time,a,b\n", &Layout::default()).unwrap();
            decoded(|out, bad| decode(payload, &columns, &context(), out, bad));
        }
    }

    /// Wherever a table is cut behind whole rows, its rows stay the same.
    #[test]
    fn a_cut_behind_whole_rows_changes_nothing(
        text in "([0-9],(\"[a-z\",\n]{0,4}\"|[a-z\"]{0,3})\n?){0,12}",
        cut in 0_usize..60,
    ) {
        let columns = Columns::of(b"time,a\n", &Layout::default()).unwrap();
        let all = |bytes: &[u8]| {
            let (readings, bad) = decoded(|out, bad| decode(bytes, &columns, &context(), out, bad));
            (readings, bad.readings())
        };
        let bytes = text.as_bytes();
        let at = whole(bytes.get(..cut).unwrap_or(bytes), b',');
        let (first, rest) = bytes.split_at(at);
        let (mut readings, refused) = all(first);
        let (more, refused_more) = all(rest);
        readings.extend(more);
        prop_assert_eq!((readings, refused + refused_more), all(bytes));
    }
}
