//! The end of a connection: store what was read, acknowledge what becomes durable, say why, close.
//!
//! Promises: bounded in time, whatever the client, the journal and the disk do. Closing a socket
//! with unread bytes in it makes the kernel discard the last words on their way, so what still comes
//! is read and thrown away for a moment.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, timeout, timeout_at};

use super::Connection;

use crate::listen::mqtt::session::Ending;

/// For storing and acknowledging what was read before the end.
pub(super) const DRAIN_MAX: Duration = Duration::from_secs(5);
/// For the last words.
const FAREWELL_MAX: Duration = Duration::from_secs(5);
/// For a client to close its side after the last words.
const LINGER_MAX: Duration = Duration::from_secs(1);

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    pub(super) async fn end(&mut self, ending: Ending) {
        drop(self.registration.take()); // A client that comes back now takes over from nobody.
        self.shared.stats.ended(ending);
        if self.session.is_connected() {
            self.shared.stats.clients.dec();
        }
        let until = Instant::now() + DRAIN_MAX;
        if ending.submits() {
            self.submit_rest(until).await;
        }
        if ending.acknowledges() {
            self.answer_rest(until).await;
        }
        if ending.is_writable() {
            self.session.farewell(ending, &mut self.output.bytes);
            self.close().await;
        }
    }

    /// What is not stored in time was not acknowledged either: its tickets drop here.
    async fn submit_rest(&mut self, until: Instant) {
        self.seal();
        while let Some(gathered) = self.outbox.next() {
            let Some(submitting) = self.hand_over(gathered) else { return };
            let submitted = timeout_at(until, submitting).await;
            self.outbox.arrived();
            if !matches!(submitted, Ok(Ok(()))) {
                return;
            }
        }
    }

    /// Ends early when the client is gone or a ticket was dropped.
    async fn answer_rest(&mut self, until: Instant) {
        let answered = poll_fn(|cx| {
            if self.poll_answers(cx).is_err() || !(self.session.owes() || self.output.is_waiting())
            {
                return Poll::Ready(());
            }
            Poll::Pending
        });
        if timeout_at(until, answered).await.is_err() {
            tracing::debug!("a connection closed before all its messages were acknowledged");
        }
    }

    async fn close(&mut self) {
        let has_words = self.output.is_waiting();
        let told = timeout(FAREWELL_MAX, poll_fn(|cx| self.poll_close(cx))).await;
        if has_words && matches!(told, Ok(Ok(()))) {
            // Ended by the client or by the clock: both are fine.
            drop(timeout(LINGER_MAX, poll_fn(|cx| self.poll_discard(cx))).await);
        }
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Ending>> {
        let written = ready!(self.output.poll_write(cx, &mut self.stream));
        self.shared.stats.bytes_sent.inc_by(self.output.take_sent());
        written?;
        Pin::new(&mut self.stream).poll_shutdown(cx).map_err(|_| Ending::Failed)
    }

    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut unwanted = [0; 1024];
        loop {
            let mut unwanted = ReadBuf::new(&mut unwanted);
            match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut unwanted)) {
                Ok(()) if !unwanted.filled().is_empty() => {}
                _ => return Poll::Ready(()),
            }
        }
    }
}
