//! A seeded hash for what devices choose: nobody outside can aim at a collision.
//!
//! Not for the network, and not promised to stay the same from release to release: a state that was
//! written with another one only forgets.

use std::hash::{BuildHasher, Hasher, RandomState};

/// A secret, new for every process unless it comes out of a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed(pub [u64; 3]);

impl Seed {
    pub fn random() -> Self {
        let random = RandomState::new();
        Self([random.hash_one(1), random.hash_one(2) | 1, random.hash_one(3) | 1])
    }

    /// Of some bytes and a number.
    pub fn hash(&self, bytes: &[u8], number: u64) -> u64 {
        let [seed, odd, last] = self.0;
        // Folded before anything is mixed in: a byte of a name must not cancel one of the number.
        let mut hash = fold(seed ^ number, last);
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            hash = fold(hash ^ u64::from_le_bytes(*word), odd);
        }
        // The length tells apart what zeros would pad to the same.
        hash = fold(hash ^ padded(rest), last);
        fold(hash ^ bytes.len() as u64, odd)
    }
}

/// The two halves of a 128-bit product, folded: each bit of the input reaches every bit.
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    #[expect(clippy::cast_possible_truncation, reason = "the two halves")]
    let (low, high) = (product as u64, (product >> 64) as u64);
    low ^ high
}

fn padded(rest: &[u8]) -> u64 {
    let mut padded = [0; 8];
    for (to, from) in padded.iter_mut().zip(rest) {
        *to = *from;
    }
    u64::from_le_bytes(padded)
}

/// The same for the maps of the standard library.
#[derive(Clone, Copy, Debug)]
pub struct Seeded(Seed);

impl Default for Seeded {
    fn default() -> Self {
        Self(Seed::random())
    }
}

impl BuildHasher for Seeded {
    type Hasher = Folded;

    fn build_hasher(&self) -> Folded {
        Folded { seed: self.0, hash: 0 }
    }
}

#[derive(Clone, Debug)]
pub struct Folded {
    seed: Seed,
    hash: u64,
}

impl Hasher for Folded {
    fn finish(&self) -> u64 {
        self.hash
    }

    fn write(&mut self, bytes: &[u8]) {
        self.hash = self.seed.hash(bytes, self.hash);
    }

    // The length of a slice: `write` takes it in anyway.
    fn write_usize(&mut self, _: usize) {}

    // What ends a text.
    fn write_u8(&mut self, _: u8) {}
}

/// For keys that are hashes already.
#[derive(Clone, Copy, Debug, Default)]
pub struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 ^= padded(bytes);
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}
