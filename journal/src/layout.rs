//! Little-endian numbers and varints at byte offsets, without panics: what is missing is `None`.

/// No sequence number, generation or count is larger: one that says so is damage, whatever its
/// checksum. Sums of a few stay within 64 bits.
pub(crate) const NUMBER_MAX: u64 = 1 << 60;

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(array_at(bytes, at)?))
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(array_at(bytes, at)?))
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(array_at(bytes, at)?))
}

/// A number that is counted with: `None` beyond [`NUMBER_MAX`].
pub(crate) fn number_at(bytes: &[u8], at: usize) -> Option<u64> {
    u64_at(bytes, at).filter(|number| *number <= NUMBER_MAX)
}

pub(crate) fn array_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

/// Overwrites; the caller made the room, so a miss is a fault of ours.
pub(crate) fn put_at(bytes: &mut [u8], at: usize, value: &[u8]) {
    let room = bytes.get_mut(at..at + value.len());
    debug_assert!(room.is_some(), "no room for {} bytes at {at}", value.len());
    if let Some(room) = room {
        room.copy_from_slice(value);
    }
}

/// LEB128.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

/// The value and the bytes it took; `None` if it is cut short or wider than 64 bits.
pub(crate) fn varint_at(bytes: &[u8], at: usize) -> Option<(u64, usize)> {
    let mut value = 0_u64;
    for (index, byte) in bytes.get(at..)?.iter().take(10).enumerate() {
        let bits = u64::from(byte & 0x7f);
        if index == 9 && bits > 1 {
            return None;
        }
        value |= bits << (7 * index);
        if byte & 0x80 == 0 {
            return Some((value, index + 1));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn varints_come_back(value: u64, lead in 0_usize..4) {
            let mut bytes = vec![0xff; lead];
            put_varint(&mut bytes, value);
            prop_assert_eq!(varint_at(&bytes, lead), Some((value, bytes.len() - lead)));
            prop_assert_eq!(varint_at(&bytes[..bytes.len() - 1], lead), None);
        }
    }

    #[test]
    fn a_varint_wider_than_64_bits_is_refused() {
        assert_eq!(varint_at(&[0xff; 10], 0), None);
        assert_eq!(varint_at(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2], 0), None);
    }
}
