//! How much the other end takes at once: halved when it says too large, grown back slowly.

/// Requests that must pass before a larger one is tried: one in a hundred may be refused.
const PASSED_BEFORE_GROWTH: u32 = 100;
/// Never smaller: a limit below this is met line by line.
const BYTES_MIN: usize = 4 * 1024;

#[derive(Debug)]
pub struct Size {
    bytes_max: usize,
    limit: usize,
    passed: u32,
}

impl Size {
    pub fn new(limit: usize) -> Self {
        Self { bytes_max: limit, limit, passed: 0 }
    }

    /// The largest request to send, in bytes before compression.
    pub fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    pub fn too_large(&mut self, sent: usize) {
        self.bytes_max = self.bytes_max.min(sent / 2).max(BYTES_MIN);
        self.passed = 0;
    }

    pub fn passed(&mut self) {
        if self.bytes_max == self.limit {
            return;
        }
        self.passed += 1;
        if self.passed >= PASSED_BEFORE_GROWTH {
            self.bytes_max = self.bytes_max.saturating_mul(2).min(self.limit);
            self.passed = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_and_grows_back_to_its_limit() {
        let mut size = Size::new(1 << 20);
        size.too_large(1 << 20);
        size.too_large(1 << 19);
        assert_eq!(size.bytes_max(), 1 << 18);
        // An answer to something that was sent before the first one does not undo that.
        size.too_large(1 << 20);
        assert_eq!(size.bytes_max(), 1 << 18);
        for _ in 0..PASSED_BEFORE_GROWTH {
            size.passed();
        }
        assert_eq!(size.bytes_max(), 1 << 19);
        for _ in 0..10 * PASSED_BEFORE_GROWTH {
            size.passed();
        }
        assert_eq!(size.bytes_max(), 1 << 20);
    }

    #[test]
    fn one_long_line_does_not_make_it_useless() {
        let mut size = Size::new(1 << 20);
        size.too_large(100);
        assert_eq!(size.bytes_max(), BYTES_MIN);
    }
}
