//! Tickets and marks: how a connection learns that what it handed over is durable.

/// One connection's mark: hands out tickets in order and tells how far they are kept.
#[derive(Debug, Default)]
pub struct Mark {}

/// All tickets of this mark up to and including this number are durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kept(pub u64);

/// A ticket was dropped unsettled: nothing after it can be acknowledged. Close the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a submission failed; what is not acknowledged must be sent again")]
pub struct Broken;

impl Mark {
    pub fn new() -> Self {
        Self::default()
    }

    /// The next ticket; the first is number 1. Submissions of one mark must be appended in the
    /// order of their tickets.
    pub fn ticket(&mut self) -> Ticket {
        unimplemented!()
    }

    /// How far the mark stands now.
    pub fn kept(&self) -> Result<Kept, Broken> {
        unimplemented!()
    }

    /// Waits until the mark stands beyond what the last call of `moved` returned (0 at first).
    /// Cancel safe.
    pub async fn moved(&mut self) -> Result<Kept, Broken> {
        std::future::pending().await
    }
}

/// Settled by the journal's writer after the sync, or broken when dropped.
#[derive(Debug)]
#[must_use = "dropping a ticket breaks its mark"]
pub struct Ticket {
    number: u64,
}

impl Ticket {
    /// For submissions that nobody waits for: QoS 0, polls.
    pub fn nobody() -> Self {
        Self { number: 0 }
    }

    /// 0 for nobody's.
    pub fn number(&self) -> u64 {
        self.number
    }
}
