//! What an output's state may take in memory: one limit for everything that grows with the series.

#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    used: usize,
    limit: usize,
}

impl Budget {
    pub(super) fn new(limit: usize) -> Self {
        Self { used: 0, limit }
    }

    pub(super) fn used(&self) -> usize {
        self.used
    }

    /// So full that what is not needed should go.
    pub(super) fn is_tight(&self) -> bool {
        self.used > self.limit - self.limit / 16
    }

    /// Takes so many bytes, if they are there.
    #[must_use]
    pub(super) fn take(&mut self, bytes: usize) -> bool {
        let fits = self.used.saturating_add(bytes) <= self.limit;
        if fits {
            self.used += bytes;
        }
        fits
    }

    /// What a state brings is there, whether it fits or not.
    pub(super) fn take_anyway(&mut self, bytes: usize) {
        self.used = self.used.saturating_add(bytes);
    }

    pub(super) fn give_back(&mut self, bytes: usize) {
        debug_assert!(bytes <= self.used, "more is given back than was taken");
        self.used = self.used.saturating_sub(bytes);
    }
}
