//! SipHash-1-3 (Aumasson and Bernstein, 2012): a keyed 64-bit hash whose values may lie on a disk.
//!
//! Written out here because the standard library does not promise its own to stay the same. The key
//! is the journal's, so nobody outside can make two messages meet.

#[derive(Clone, Copy, Debug)]
pub(super) struct Key(u64, u64);

impl Key {
    pub(super) fn new(bytes: [u8; 16]) -> Self {
        let number = u128::from_le_bytes(bytes);
        let [low, high] = [number, number >> 64].map(|half| half & u128::from(u64::MAX));
        Self(u64::try_from(low).unwrap_or_default(), u64::try_from(high).unwrap_or_default())
    }

    /// A key of its own for everything that begins with `prefix`.
    pub(super) fn after(self, prefix: &[u8]) -> Self {
        Self(self.0 ^ self.hash(prefix), self.1)
    }

    pub(super) fn hash(self, bytes: &[u8]) -> u64 {
        let mut state = State::new(self);
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            state.take(u64::from_le_bytes(*word));
        }
        state.finish(rest, bytes.len())
    }
}

/// A hash of bytes that come in parts; however they are cut, it is that of the whole.
#[derive(Clone, Debug)]
pub struct Running {
    state: State,
    /// Begins with what is no whole word yet.
    rest: [u8; 8],
    rest_len: usize,
    len: usize,
}

impl Running {
    pub(super) fn new(key: Key) -> Self {
        Self { state: State::new(key), rest: [0; 8], rest_len: 0, len: 0 }
    }

    pub fn write(&mut self, bytes: &[u8]) {
        self.len = self.len.wrapping_add(bytes.len());
        let missing = if self.rest_len == 0 { 0 } else { 8 - self.rest_len };
        let (head, tail) = bytes.split_at(missing.min(bytes.len()));
        for (room, byte) in self.rest.iter_mut().skip(self.rest_len).zip(head) {
            *room = *byte;
        }
        self.rest_len += head.len();
        if self.rest_len == 8 {
            self.state.take(u64::from_le_bytes(self.rest));
            self.rest_len = 0;
        }
        let (words, rest) = tail.as_chunks::<8>();
        for word in words {
            self.state.take(u64::from_le_bytes(*word));
        }
        // If there is any, nothing is left of what was there before.
        for (room, byte) in self.rest.iter_mut().zip(rest) {
            *room = *byte;
        }
        self.rest_len += rest.len();
    }

    /// Of what was written so far.
    pub fn value(&self) -> u64 {
        self.state.clone().finish(self.rest.get(..self.rest_len).unwrap_or_default(), self.len)
    }
}

#[derive(Clone, Debug)]
struct State {
    v0: u64,
    v1: u64,
    v2: u64,
    v3: u64,
}

impl State {
    fn new(Key(k0, k1): Key) -> Self {
        Self {
            v0: k0 ^ 0x736f_6d65_7073_6575,
            v1: k1 ^ 0x646f_7261_6e64_6f6d,
            v2: k0 ^ 0x6c79_6765_6e65_7261,
            v3: k1 ^ 0x7465_6462_7974_6573,
        }
    }

    #[inline]
    fn take(&mut self, word: u64) {
        self.v3 ^= word;
        self.round();
        self.v0 ^= word;
    }

    /// `rest` is shorter than a word; the last word holds it and the length of all.
    fn finish(mut self, rest: &[u8], len: usize) -> u64 {
        let mut last = [0; 8];
        for (room, byte) in last.iter_mut().zip(rest) {
            *room = *byte;
        }
        let [len, ..] = len.to_le_bytes();
        self.take(u64::from_le_bytes(last) | u64::from(len) << 56);
        self.v2 ^= 0xff;
        for _ in 0..3 {
            self.round();
        }
        self.v0 ^ self.v1 ^ self.v2 ^ self.v3
    }

    #[inline]
    fn round(&mut self) {
        self.v0 = self.v0.wrapping_add(self.v1);
        self.v2 = self.v2.wrapping_add(self.v3);
        self.v1 = self.v1.rotate_left(13) ^ self.v0;
        self.v3 = self.v3.rotate_left(16) ^ self.v2;
        self.v0 = self.v0.rotate_left(32).wrapping_add(self.v3);
        self.v2 = self.v2.wrapping_add(self.v1);
        self.v1 = self.v1.rotate_left(17) ^ self.v2;
        self.v3 = self.v3.rotate_left(21) ^ self.v0;
        self.v2 = self.v2.rotate_left(32);
    }
}

#[cfg(test)]
mod tests {
    use std::hash::{DefaultHasher, Hasher as _};

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Today's standard library has the same function, with a key of zeros.
        #[test]
        fn it_is_siphash_1_3(bytes: Vec<u8>) {
            let mut theirs = DefaultHasher::new();
            theirs.write(&bytes);
            prop_assert_eq!(Key::new([0; 16]).hash(&bytes), theirs.finish());
        }
    }

    proptest! {
        #[test]
        fn a_running_hash_is_that_of_the_whole(parts: Vec<Vec<u8>>) {
            let key = Key::new(*b"0123456789abcdef");
            let mut running = Running::new(key);
            let mut whole = Vec::new();
            for part in parts {
                running.write(&part);
                whole.extend(part);
                prop_assert_eq!(running.value(), key.hash(&whole));
            }
        }
    }

    /// They lie in journals: a change would forget everything.
    #[test]
    fn keyed_values_stay_as_they_are() {
        let key = Key::new(*b"0123456789abcdef");
        let values = [key.hash(b""), key.hash(b"garden/shed"), key.after(b"t/d").hash(b"21.5")];
        let expected =
            [16_534_995_281_919_384_204, 8_216_072_039_047_460_356, 16_438_595_650_098_559_264];
        assert_eq!(values, expected);
    }
}
