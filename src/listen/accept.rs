//! Accepts connections, a bounded number, and hands each one to a tracked task.

/// What an open port allows.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub connections_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections_max: 10_000 }
    }
}
