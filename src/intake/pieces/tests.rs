//! Bodies in any chunks, cut behind whole lines.

use proptest::prelude::*;

use super::*;

/// Runs a body through, `chunk` bytes at a time, and cuts whenever `eager` or full. Gives back the
/// pieces with the numbers of their first lines.
fn cut_up(mut pieces: Pieces, body: &[u8], chunk: usize, eager: bool) -> Vec<(u64, bool, Vec<u8>)> {
    let mut found = Vec::new();
    for chunk in body.chunks(chunk) {
        pieces.bytes().extend_from_slice(chunk);
        assert!(pieces.bytes().len() <= PIECE_BYTES_MAX);
        if eager || pieces.is_full() {
            take(&mut pieces, false, &mut found);
        }
    }
    take(&mut pieces, true, &mut found);
    assert!(pieces.bytes().is_empty());
    found
}

fn take(pieces: &mut Pieces, is_end: bool, found: &mut Vec<(u64, bool, Vec<u8>)>) {
    if let Some(Piece { bytes, index, is_too_long }) = pieces.cut(is_end) {
        found.push((index, is_too_long, bytes.to_vec()));
    }
    pieces.forget();
}

proptest! {
    /// Nothing is lost, nothing is invented, and every piece but the last ends with a line.
    #[test]
    fn pieces_put_together_are_the_body(
        lines in prop::collection::vec("[a-z]{0,9}( [a-z]=\"[a-z\n]{0,5}\")?\n", 0..40),
        end in "[a-z]{0,5}",
        chunk in 1_usize..30,
    ) {
        let body = (lines.concat() + &end).into_bytes();
        for lines in [Lines::Protocol, Lines::Json, Lines::Csv(b',')] {
            let pieces = Pieces::new(lines);
            let found = cut_up(pieces, &body, chunk, true);
            let together: Vec<u8> = found.iter().flat_map(|(_, _, bytes)| bytes.clone()).collect();
            prop_assert_eq!(&together, &body);
            let mut before = 0;
            for (at, (index, is_too_long, bytes)) in found.iter().enumerate() {
                prop_assert!(!is_too_long);
                prop_assert_eq!(*index, before);
                prop_assert!(at + 1 == found.len() || bytes.ends_with(b"\n"));
                before += lines.count(bytes);
            }
        }
    }
}

#[test]
fn a_newline_inside_a_text_is_no_place_to_cut() {
    let found = cut_up(Pieces::of_line_protocol(), b"m a=\"x\ny\"\nm b=1\nm c", 1, true);
    let found: Vec<&[u8]> = found.iter().map(|(_, _, bytes)| bytes.as_slice()).collect();
    assert_eq!(found, [&b"m a=\"x\ny\"\n"[..], b"m b=1\n", b"m c"]);
}

#[test]
fn a_large_body_is_cut_into_large_pieces() {
    let body = b"climate,device=d1 t=21.5 1700000000000000000\n".repeat(20_000);
    let found = cut_up(Pieces::of_line_protocol(), &body, 16 * 1024, false);
    assert!(found.len() <= body.len() / (200 * 1024) + 1, "{} pieces", found.len());
    assert_eq!(found.concat_lines(), 20_000);
}

trait ConcatLines {
    fn concat_lines(&self) -> u64;
}

impl ConcatLines for Vec<(u64, bool, Vec<u8>)> {
    fn concat_lines(&self) -> u64 {
        self.iter().map(|(_, _, bytes)| Lines::Protocol.count(bytes)).sum()
    }
}

/// Only the beginning of it is ever held, and what comes after it keeps its number.
#[test]
fn a_line_that_is_too_long_is_announced_once_and_skipped() {
    // The end of the long line is line 1 still; NDJSON does not number blank lines.
    for (pieces, last_index) in [(Pieces::of_line_protocol(), 1), (Pieces::of_ndjson(), 2)] {
        let mut body = b"m a=1\n".to_vec();
        body.extend(vec![b'x'; 3 * PIECE_BYTES_MAX]);
        body.extend_from_slice(b"\nm b=1\n");
        let found = cut_up(pieces, &body, 1000, false);
        let numbers: Vec<_> = found.iter().map(|(index, long, _)| (*index, *long)).collect();
        assert_eq!(numbers, [(0, false), (1, true), (last_index, false)]);
        assert_eq!((&found[0].2[..], &found[2].2[..]), (&b"m a=1\n"[..], &b"\nm b=1\n"[..]));
    }
}

#[test]
fn a_text_that_is_never_closed_costs_its_own_line() {
    let mut body = b"m a=\"open\n".to_vec();
    body.extend(b"m b=1\n".repeat(100_000));
    let found = cut_up(Pieces::of_line_protocol(), &body, 16 * 1024, false);
    assert_eq!(found[0], (0, false, b"m a=\"open\n".to_vec()));
    assert_eq!(found.concat_lines(), 100_001);
    assert!(found.iter().all(|(_, is_too_long, _)| !is_too_long));
}

#[test]
fn ndjson_numbers_readings_and_line_protocol_lines() {
    let body = b"{}\n\n{}\n  \r\n{}";
    let indexes = |pieces| -> Vec<u64> {
        cut_up(pieces, body, 1, true).into_iter().map(|(index, _, _)| index).collect()
    };
    assert_eq!(indexes(Pieces::of_ndjson()), [0, 1, 1, 2, 2]);
    assert_eq!(indexes(Pieces::of_line_protocol()), [0, 1, 2, 3, 4]);
}
