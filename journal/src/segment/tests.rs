//! Headers and trailers come back, and no single damage is taken for something else.

use super::*;

fn header() -> Header {
    Header {
        id: 7,
        salt: 0x1234_5678_9abc_def0,
        first_seq: 42,
        capacity: 1 << 24,
        journal: *b"0123456789abcdef",
        books: Books {
            journaled: 1,
            rejected: 2,
            refused: 3,
            filtered: 4,
            duplicate: 5,
            dropped: 6,
        },
        created_ns: -1,
    }
}

#[test]
fn a_header_survives_the_loss_of_either_copy() {
    for lost in [0..512, 2048..2560] {
        let mut page = header().page();
        page[lost].fill(0xa5);
        assert_eq!(Header::parse(&page), HeaderPage::Valid(header()));
    }
}

#[test]
fn every_flipped_bit_in_both_copies_is_damage() {
    for bit in 0..HEADER_LEN * 8 {
        let mut page = header().page();
        page[bit / 8] ^= 1 << (bit % 8);
        page[COPY_AT + bit / 8] ^= 1 << (bit % 8);
        assert_eq!(Header::parse(&page), HeaderPage::Damaged, "bit {bit}");
    }
}

#[test]
fn a_later_version_is_not_damage_and_a_blank_page_is_blank() {
    let mut page = header().page();
    for at in [0, COPY_AT] {
        page[at + 8] = 2;
        let crc = crc32c::crc32c(&page[at..at + HEADER_LEN - 4]);
        put_at(&mut page, at + HEADER_LEN - 4, &crc.to_le_bytes());
    }
    assert_eq!(Header::parse(&page), HeaderPage::Newer { version: 2, first_seq: 42 });
    assert_eq!(Header::parse(&[0; PAGE_BYTES]), HeaderPage::Blank);
    assert_eq!(Header::parse(&[]), HeaderPage::Blank);
}

#[test]
fn a_trailer_comes_back_and_belongs_to_its_segment_only() {
    let torn = (0..TORN_MAX as u64).map(|n| (n * 3, n * 3 + 1)).collect();
    let trailer = Trailer {
        id: 7,
        salt: header().salt,
        first: 42,
        last: 99,
        end: 4096 + 58 * 40,
        readings: 3,
        books: header().books,
        torn,
    };
    let page = trailer.page().unwrap();
    assert_eq!(page.len(), PAGE_BYTES);
    assert_eq!(Trailer::of(&page, &header()), Some(trailer.clone()));
    assert_eq!(Trailer::of(&page, &Header { salt: 1, ..header() }), None);
    for byte in 0..PAGE_BYTES {
        let mut bad = page.clone();
        bad[byte] ^= 0x10;
        assert_eq!(Trailer::of(&bad, &header()), None, "byte {byte}");
    }
    let too_many = Trailer { torn: vec![(1, 1); TORN_MAX + 1], ..trailer };
    assert_eq!(too_many.page(), None);
}

#[test]
fn names_and_ids_match() {
    assert_eq!(id_of(&name(0xfeed)), Some(0xfeed));
    for wrong in ["seg-1.log", "seg-000000000000000g.log", "free-0000000000000001", "LOCK"] {
        assert_eq!(id_of(wrong), None, "{wrong}");
    }
}

#[test]
fn numbers_that_cannot_be_are_damage_though_the_checksum_holds() {
    for first_seq in [0, u64::MAX, NUMBER_MAX + 1] {
        let page = Header { first_seq, ..header() }.page();
        assert_eq!(Header::parse(&page), HeaderPage::Damaged, "{first_seq}");
    }
    let good = Trailer {
        id: 7,
        salt: header().salt,
        first: 42,
        last: 43,
        end: 4096 + 80,
        readings: 3,
        books: header().books,
        torn: Vec::new(),
    };
    assert!(Trailer::parse(&good.page().unwrap()).is_some());
    for bad in [
        Trailer { last: u64::MAX, ..good.clone() },
        Trailer { last: 44, ..good.clone() },
        Trailer { last: 40, ..good.clone() },
        Trailer { first: 0, last: 0, ..good.clone() },
        Trailer { end: 4095, ..good.clone() },
        Trailer { end: u64::MAX, ..good.clone() },
        Trailer { torn: vec![(1, u64::MAX)], ..good },
    ] {
        assert_eq!(Trailer::parse(&bad.page().unwrap()), None, "{bad:?}");
    }
    assert_eq!(id_of(&name(u64::MAX)), None);
}
