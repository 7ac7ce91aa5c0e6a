//! `/v1/stream`: readings over a WebSocket, each message answered by its number.
//!
//! ```text
//!  socket --messages that came together--> Gather --ticket--> submit --> Unanswered
//!    ^                                                                       |
//!    `------- nacks, one {"ack":n} ---------------- mark moved --------------+
//! ```
//!
//! Text messages are JSON, binary ones frames, numbered from 1 by their order on the connection
//! (`unanswered` has the words of the answers).
//!
//! Promises:
//! - nothing is acknowledged before it is durable; what was refused is recorded before it is named;
//! - a PING is answered even while the journal is stuck. Beyond `unacked_*` the brake goes on: the
//!   socket is not read for as long as `full_wait` at most, then messages are read again and sent
//!   back with `retry`, until half of what was handed on is answered;
//! - memory for one connection: 4 KiB of buffer, and what it holds from `Memory`;
//! - every end has a close code and a reason: 1001 we are going (after the last acknowledgement),
//!   1002 not WebSocket, 1007 not UTF-8, 1008 no sign of life, 1009 too large, 1011 the journal
//!   failed, 1013 no memory for large messages now.
//!
//! With `?stream=NAME&from=N` the first message has the number N, and what the stream's earlier
//! connections stored is acknowledged and not stored again. Such a stream has no holes: where a
//! message would be sent back with `retry`, the connection ends (1013) instead.
//!
//! A message that was not acknowledged when a connection ends may be stored all the same.

mod drive;
mod session;
mod stats;
mod unanswered;

use std::time::Duration;

use bytes::Bytes;
use journal::Source;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::protocol::{Role, WebSocketConfig},
};
use tokio_util::sync::CancellationToken;

use self::session::Session;
use crate::intake::Intake;
use crate::intake::resends;
use crate::listen::memory::Memory;
use crate::listen::wire::Wire;
use crate::stats::Gauge;

pub use self::stats::Stats;

/// Read at a time, and kept by an idle connection.
const READ_BUFFER_BYTES: usize = 4 * 1024;
/// Answers written together.
const WRITE_BUFFER_BYTES: usize = 4 * 1024;

#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub message_bytes_max: usize,
    /// Messages and bytes that may be unacknowledged before the brake goes on.
    pub unacked_messages_max: usize,
    pub unacked_bytes_max: usize,
    /// A peer silent for so long is pinged; silent for as long again, it is closed.
    pub silence_max: Duration,
    /// How long the journal may be full before messages are sent back.
    pub full_wait: Duration,
    /// How long acknowledgements are waited for at the end of a connection.
    pub durable_max: Duration,
}

/// A stream that numbers its messages over all its connections.
#[derive(Debug)]
pub(crate) struct Numbered {
    pub(crate) stream: resends::Stream,
    /// The number of this connection's first message; at least 1.
    pub(crate) from: u64,
}

/// A connection that has become a WebSocket.
pub(crate) struct Stream<'a, S> {
    pub(crate) wire: Wire<S>,
    /// What came behind the request, already read.
    pub(crate) read_before: Bytes,
    /// `?device=`.
    pub(crate) device: Option<String>,
    /// `?stream=&from=`.
    pub(crate) numbered: Option<Numbered>,
    pub(crate) intake: Intake,
    pub(crate) source: Source,
    pub(crate) limits: Limits,
    pub(crate) stats: &'a Stats,
    pub(crate) memory: Memory,
}

/// Serves until the peer goes or `shutdown`; then reads no more, waits until what was read is
/// durable and acknowledged, says goodbye and returns. Cancelled: nothing more is acknowledged.
pub(crate) async fn run<S>(stream: Stream<'_, S>, shutdown: &CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let _open = OpenOne::count(&stream.stats.open);
    let mut wire = stream.wire;
    wire.measure(stream.memory.hold_nothing(), stream.read_before.len());
    let config = config(&stream.limits);
    let socket = WebSocketStream::from_partially_read(
        wire,
        stream.read_before.into(),
        Role::Server,
        Some(config),
    )
    .await;
    let session = Session::new(
        stream.intake,
        stream.source,
        stream.device,
        stream.numbered,
        stream.limits,
        stream.stats,
        stream.memory.hold_nothing(),
    );
    drive::serve(session, socket, config, shutdown).await;
}

fn config(limits: &Limits) -> WebSocketConfig {
    let message_bytes_max = limits.message_bytes_max;
    WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(WRITE_BUFFER_BYTES)
        .max_write_buffer_size(16 * WRITE_BUFFER_BYTES)
        .max_message_size(Some(message_bytes_max))
        .max_frame_size(Some(message_bytes_max))
}

/// Counted from here until it is dropped.
struct OpenOne<'a>(&'a Gauge);

impl<'a> OpenOne<'a> {
    fn count(open: &'a Gauge) -> Self {
        open.inc();
        Self(open)
    }
}

impl Drop for OpenOne<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}
