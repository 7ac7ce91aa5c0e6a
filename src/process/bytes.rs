//! The primitives of a state's bytes.
//!
//! ```text
//! v  varint (LEB128)     z  zigzag varint     s  length v and as many bytes     f  f64, 8 bytes LE
//! ```

/// A state that cannot be what it says. The output starts from nothing then, with an alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    #[error("a later release wrote the state")]
    Newer,
    #[error("the state does not read as one")]
    Damaged,
}

pub(super) fn put_v(mut value: u64, out: &mut Vec<u8>) {
    loop {
        let [low, ..] = value.to_le_bytes();
        value >>= 7;
        if value == 0 {
            return out.push(low & 0x7f);
        }
        out.push(low | 0x80);
    }
}

pub(super) fn put_z(value: i64, out: &mut Vec<u8>) {
    put_v(((value << 1) ^ (value >> 63)).cast_unsigned(), out);
}

pub(super) fn put_len(len: usize, out: &mut Vec<u8>) {
    put_v(len as u64, out);
}

pub(super) fn put_s(bytes: &[u8], out: &mut Vec<u8>) {
    put_len(bytes.len(), out);
    out.extend_from_slice(bytes);
}

pub(super) fn put_f(value: f64, out: &mut Vec<u8>) {
    out.extend_from_slice(&value.to_le_bytes());
}

/// What is left of a state.
#[derive(Debug)]
pub(super) struct Input<'a>(pub(super) &'a [u8]);

impl<'a> Input<'a> {
    pub(super) fn v(&mut self) -> Result<u64, StateError> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if (bits << shift) >> shift != bits {
                return Err(StateError::Damaged);
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(StateError::Damaged)
    }

    pub(super) fn z(&mut self) -> Result<i64, StateError> {
        let value = self.v()?;
        Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }

    /// How many things follow, each of at least one byte: never more than bytes are left.
    pub(super) fn len(&mut self) -> Result<usize, StateError> {
        let len = usize::try_from(self.v()?).map_err(|_| StateError::Damaged)?;
        if len <= self.0.len() { Ok(len) } else { Err(StateError::Damaged) }
    }

    pub(super) fn small<T: TryFrom<u64>>(&mut self) -> Result<T, StateError> {
        T::try_from(self.v()?).map_err(|_| StateError::Damaged)
    }

    pub(super) fn byte(&mut self) -> Result<u8, StateError> {
        let (byte, rest) = self.0.split_first().ok_or(StateError::Damaged)?;
        self.0 = rest;
        Ok(*byte)
    }

    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8], StateError> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(StateError::Damaged)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn s(&mut self) -> Result<&'a [u8], StateError> {
        let len = self.len()?;
        self.take(len)
    }

    pub(super) fn text(&mut self) -> Result<&'a str, StateError> {
        std::str::from_utf8(self.s()?).map_err(|_| StateError::Damaged)
    }

    pub(super) fn word(&mut self) -> Result<[u8; 8], StateError> {
        self.take(8)?.try_into().map_err(|_| StateError::Damaged)
    }

    pub(super) fn f(&mut self) -> Result<f64, StateError> {
        self.word().map(f64::from_le_bytes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn numbers_come_back(unsigned in any::<u64>(), signed in any::<i64>()) {
            let mut out = Vec::new();
            put_v(unsigned, &mut out);
            put_z(signed, &mut out);
            let mut input = Input(&out);
            prop_assert_eq!(input.v().unwrap(), unsigned);
            prop_assert_eq!(input.z().unwrap(), signed);
            prop_assert!(input.0.is_empty());
        }

        #[test]
        fn nothing_that_comes_in_panics(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let mut input = Input(&bytes);
            while input.v().is_ok() {}
            let mut input = Input(&bytes);
            while input.s().is_ok_and(|s| !s.is_empty()) {}
        }
    }
}
