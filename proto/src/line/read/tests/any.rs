//! Any line at all: round trips, cuts, flipped bits, arbitrary bytes, bodies cut into parts.

use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn what_we_write_is_read_back(mut given in prop::collection::vec(any_reading(), 1..5)) {
        let mut body = Vec::new();
        for reading in &mut given {
            if matches!(reading.time, Time::Age(_)) {
                reading.time = Time::Unknown;
            }
            let written = reading.with_ref(|reading| {
                write_as(&reading, Dialect::V2, &mut body, |name, reason| panic!("{name}: {reason}"))
            });
            prop_assert_eq!(written, Ok(()));
        }
        let (readings, bad) = decode_all(&body);
        prop_assert!(bad.is_empty(), "{:?}", bad);
        prop_assert_eq!(readings, given);
    }

    /// A cut costs at most the reading that it cuts (what is left of it may still be a line).
    #[test]
    fn every_cut_costs_only_what_it_cuts(
        given in prop::collection::vec(any_reading(), 1..4),
        at: prop::sample::Index,
    ) {
        let mut body = Vec::new();
        let mut ends = Vec::new();
        for reading in &given {
            let timeless = Reading { time: Time::Unknown, ..reading.clone() };
            timeless.with_ref(|reading| write_as(&reading, Dialect::V2, &mut body, |_, _| {})).unwrap();
            ends.push(body.len());
        }
        let at = at.index(body.len());
        let (readings, bad) = decode_all(&body[..at]);
        let whole = ends.iter().filter(|end| **end <= at).count();
        prop_assert!(readings.len() >= whole);
        prop_assert!(readings.len() as u64 + bad.readings() >= whole as u64);
        for (back, given) in readings.iter().zip(&given).take(whole) {
            prop_assert_eq!(&back.fields, &given.fields);
        }
    }

    #[test]
    fn flipped_bits_and_arbitrary_bytes_never_panic(
        given in any_reading(),
        flips in prop::collection::vec(any::<prop::sample::Index>(), 1..4),
        noise: Vec<u8>,
        like in "([a-c,= \\\\\"\n\r0-9.eiut#-]{0,40}\n){0,4}",
    ) {
        let mut body = Vec::new();
        let timeless = Reading { time: Time::Unknown, ..given };
        timeless.with_ref(|reading| write_as(&reading, Dialect::V2, &mut body, |_, _| {})).unwrap();
        for flip in flips {
            let bit = flip.index(body.len() * 8);
            body[bit / 8] ^= 1 << (bit % 8);
        }
        for body in [&body[..], &noise, like.as_bytes()] {
            let (_, bad) = decode_all(body);
            for reject in bad.listed() {
                prop_assert!(body.get(reject.span.clone()).is_some(), "{:?}", reject);
            }
        }
    }
}

/// Bytes of lines, whole and broken, in any order.
fn soup() -> impl Strategy<Value = Vec<u8>> {
    let scraps = [
        "m f=1 7",
        "m,t=a f=1",
        "\n",
        "\n",
        "\n",
        "\r\n",
        "\r",
        " ",
        ",",
        "=",
        "\"",
        "\"",
        "\\",
        "f=\"",
        "\"a\"",
        "#",
        "# \"x\"",
        "1x",
        "x=1i",
        "\u{e4}",
        "m t=\"a\nb\",u=1",
        "m f=2 8\n",
    ];
    prop::collection::vec(prop::sample::select(scraps.to_vec()), 0..30)
        .prop_map(|scraps| scraps.concat().into_bytes())
}

proptest! {
    /// Wherever a body happens to be interrupted, its whole lines and the rest make the same
    /// readings and the same refusals as the body in one piece.
    #[test]
    fn a_body_can_be_cut_behind_its_whole_lines(body in soup(), at: prop::sample::Index) {
        let at = at.index(body.len() + 1);
        let whole = whole(&body[..at]);
        prop_assert!(whole <= at);
        let (head, rest) = body.split_at(whole);
        let ((all, bad), (first, bad_first), (then, bad_then)) =
            (decode_all(&body), decode_all(head), decode_all(rest));
        prop_assert_eq!([first, then].concat(), all);
        let lines = head.iter().fold(0, |lines, byte| lines + u32::from(*byte == b'\n'));
        let listed = |bad: &Rejects, lines| -> Vec<(u32, Reason)> {
            bad.listed().iter().map(|one| (one.index + lines, one.reason.clone())).collect()
        };
        prop_assert_eq!([listed(&bad_first, 0), listed(&bad_then, lines)].concat(), listed(&bad, 0));
    }
}
