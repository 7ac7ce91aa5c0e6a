//! The worked example of `docs/frame.md` is what it says it is.

use proto::line;

use crate::samples::decoded;

const PAGE: &str = include_str!("../../../docs/frame.md");

/// The text between the fences of the block of that language.
fn block(language: &str) -> &'static str {
    let (_, rest) = PAGE.split_once(&format!("```{language}\n")).expect("the block is there");
    rest.split_once("\n```").expect("it ends").0
}

/// The hex digits of each line, up to where its words begin.
fn example() -> Vec<u8> {
    let pairs = block("hex").lines().flat_map(|line| {
        let hex = line.split("   ").next().unwrap_or_default();
        hex.split_whitespace().map(|pair| u8::from_str_radix(pair, 16).expect("a byte"))
    });
    pairs.collect()
}

#[test]
fn the_example_decodes_to_the_line_beside_it() {
    let (readings, bad) = decoded(&example());
    assert!(bad.is_empty(), "{bad:?}");
    let mut out = Vec::new();
    for reading in &readings {
        reading.with_ref(|reading| line::write(&reading, &mut out)).expect("it can be written");
    }
    assert_eq!(String::from_utf8(out).expect("UTF-8").trim_end(), block("line"));
}

#[test]
fn cut_anywhere_it_is_refused() {
    let example = example();
    for at in 0..example.len() {
        let (readings, bad) = decoded(example.get(..at).expect("a cut"));
        assert_eq!((readings.len(), bad.readings()), (0, 1), "cut at {at}");
    }
}
