//! Bytes on their way to the client: one write for all that is ready, no buffer while idle.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::AsyncWrite;
use tokio::time::Instant;

use crate::listen::mqtt::session::Ending;

/// While more than this waits for a client that does not read, nothing more is read from it.
const BACKLOG_BYTES_MAX: usize = 16 * 1024;
/// A buffer that grew beyond this is given back once it is written.
const CAPACITY_KEPT: usize = 512;

#[derive(Debug, Default)]
pub(super) struct Output {
    pub(super) bytes: Vec<u8>,
    sent: usize,
    /// Since when the client takes nothing.
    stalled_since: Option<Instant>,
    /// Since the last look by `take_sent`.
    sent_total: u64,
}

impl Output {
    pub(super) fn is_waiting(&self) -> bool {
        !self.bytes.is_empty()
    }

    pub(super) fn is_backed_up(&self) -> bool {
        self.bytes.len() - self.sent > BACKLOG_BYTES_MAX
    }

    pub(super) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    pub(super) fn take_sent(&mut self) -> u64 {
        std::mem::take(&mut self.sent_total)
    }

    /// When the client has taken nothing for too long.
    pub(super) fn deadline(&self, write_max: Duration) -> Option<Instant> {
        self.stalled_since.map(|since| since + write_max)
    }

    /// Ready when everything is written.
    pub(super) fn poll_write<S: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut S,
    ) -> Poll<Result<(), Ending>> {
        while let Some(rest) = self.bytes.get(self.sent..).filter(|rest| !rest.is_empty()) {
            match Pin::new(&mut *stream).poll_write(cx, rest) {
                Poll::Ready(Ok(written @ 1..)) => {
                    self.sent += written;
                    self.sent_total += written as u64;
                    self.stalled_since = None;
                }
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Err(Ending::Failed)),
                Poll::Pending => {
                    self.stalled_since.get_or_insert_with(Instant::now);
                    return Poll::Pending;
                }
            }
        }
        self.reset();
        let flushed = ready!(Pin::new(stream).poll_flush(cx));
        Poll::Ready(flushed.map_err(|_| Ending::Failed))
    }

    fn reset(&mut self) {
        self.sent = 0;
        if self.bytes.capacity() > CAPACITY_KEPT {
            self.bytes = Vec::new();
        } else {
            self.bytes.clear();
        }
    }
}
