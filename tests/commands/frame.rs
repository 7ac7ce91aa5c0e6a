//! `tidegate frame decode`: a frame as line protocol, or the byte at which it goes wrong.

use super::{file, tidegate, tidegate_reading};

/// `climate,device=d1 t=21.5,open=f 1700000000000000000`, as `docs/frame.md` has it.
fn good() -> Vec<u8> {
    let mut bytes = b"\xC1\x01\x01\x07climate\x01\x06device\x02d1\x01".to_vec();
    bytes.extend(1_700_000_000_000_000_000_i64.to_le_bytes());
    bytes.extend(b"\x02\x01t\x01\x00\x00\xAC\x41\x04open\x04\x00");
    bytes
}

#[test]
fn a_good_one_is_printed_as_line_protocol() {
    let line = "climate,device=d1 t=21.5,open=f 1700000000000000000\n";
    let (_dir, path) = file("frame", good());
    let said = tidegate(["frame", "decode", path.to_str().unwrap()]);
    assert_eq!((said.code, said.out.as_str(), said.err.as_str()), (0, line, ""));
    let said = tidegate_reading(["frame", "decode", "-"], &good());
    assert_eq!((said.code, said.out.as_str(), said.err.as_str()), (0, line, ""));
}

#[test]
fn a_bad_one_is_told_by_the_byte() {
    let mut cut = good();
    cut.truncate(20);
    let mut not_utf8 = good();
    not_utf8[6] = 0xFF;
    for (bytes, words) in [
        (b"hello".to_vec(), "refused: reading 0: byte 0: "),
        (cut, "refused: reading 0: byte 20: "),
        (not_utf8, "refused: reading 0: byte 11: "),
        ([good(), b"x".to_vec()].concat(), "refused: reading 1: byte 46: "),
    ] {
        let said = tidegate_reading(["frame", "decode", "-"], &bytes);
        assert_eq!(said.code, 1, "{said:?}");
        assert!(said.err.contains(words), "no `{words}` in {}", said.err);
    }
    let (dir, long) = file("long", vec![0xC1; 1024 * 1024 + 1]);
    let missing = dir.path().join("missing");
    for (path, words) in [(long, "is larger than"), (missing, "No such file or directory")] {
        let said = tidegate(["frame", "decode", path.to_str().unwrap()]);
        assert_eq!(said.code, 1, "{said:?}");
        assert!(said.err.starts_with(&format!("tidegate: {}", path.display())), "{said:?}");
        assert!(said.err.contains(words), "{said:?}");
    }
}
