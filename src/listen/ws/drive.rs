//! The loop around a `Session`: socket, journal, clock, shutdown.

use std::{io, ops::ControlFlow, pin::pin};

use bytes::Bytes;
use futures_util::{FutureExt as _, SinkExt as _, StreamExt as _};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _},
    time::{Instant, sleep, sleep_until},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error, Message, Utf8Bytes,
        error::ProtocolError,
        protocol::{CloseFrame, Role, WebSocketConfig, frame::coding::CloseCode},
    },
};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::session::{Session, Stopped};
use super::stats::Ended;
use crate::intake::Format;
use crate::listen::room;
use crate::listen::wire::Cut;
use crate::listen::wire::Wire;

/// To a named stream whose numbers cannot go on after a message was sent back.
const LATER: &str = "later: send again what was not acknowledged";

type Socket<S> = WebSocketStream<Wire<S>>;

/// Why a connection ends.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// The peer is gone, or does not read: there is nobody to talk to.
    Gone,
    /// The peer said goodbye; what it sent before is still handed on.
    Closed,
    /// We have something to say about it.
    Said(CloseCode, &'static str),
}

/// What woke the loop up.
enum Event {
    Shutdown,
    Journal(Result<(), Stopped>),
    Message(Option<Result<Message, Error>>),
    Late,
}

/// Serves until the connection ends. Not cancel safe: what is not acknowledged yet never will be.
pub(super) async fn serve<S>(
    mut session: Session<'_>,
    mut socket: Socket<S>,
    config: WebSocketConfig,
    shutdown: &CancellationToken,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let mut silence = Silence { since: Instant::now(), is_pinged: false };
    let end = loop {
        session.seal();
        if write(&mut socket, &mut session).await.is_err() {
            break End::Gone;
        }
        socket = give_buffers_back(socket, config).await;
        if session.is_braked() {
            silence.end(); // Who is not listened to cannot be heard.
        }
        let deadline =
            session.brake_deadline().unwrap_or(silence.since + session.limits().silence_max);
        let event = tokio::select! {
            biased;
            () = shutdown.cancelled() => Event::Shutdown,
            told = session.journal() => Event::Journal(told),
            message = socket.next(), if !session.is_braked() => Event::Message(message),
            () = sleep_until(deadline) => Event::Late,
        };
        let flow = match event {
            Event::Shutdown => ControlFlow::Break(End::Said(CloseCode::Away, "shutting down")),
            Event::Journal(Ok(())) => ControlFlow::Continue(()),
            Event::Journal(Err(Stopped)) => {
                let reason = "the journal failed; send again what was not acknowledged";
                ControlFlow::Break(End::Said(CloseCode::Error, reason))
            }
            Event::Message(first) => {
                silence.end();
                take_what_came(&mut socket, &mut session, first)
            }
            Event::Late if session.is_braked() => {
                session.update_brake();
                ControlFlow::Continue(())
            }
            Event::Late => silence.grow(&mut socket).await,
        };
        if let ControlFlow::Break(end) = flow {
            break end;
        }
    };
    debug!(?end, "websocket ends");
    session.count_end(end.why(socket.get_ref().cut()));
    finish(session, socket, end).await;
}

/// What the peer has not said for how long.
struct Silence {
    since: Instant,
    is_pinged: bool,
}

impl Silence {
    fn end(&mut self) {
        *self = Self { since: Instant::now(), is_pinged: false };
    }

    /// The first time a ping, the second time the end.
    async fn grow<S>(&mut self, socket: &mut Socket<S>) -> ControlFlow<End>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        if self.is_pinged {
            return ControlFlow::Break(End::Said(CloseCode::Policy, "no sign of life"));
        }
        *self = Self { since: Instant::now(), is_pinged: true };
        match socket.send(Message::Ping(Bytes::new())).await {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(End::Gone),
        }
    }
}

/// One message, and whatever else is there already: one submission.
fn take_what_came<S>(
    socket: &mut Socket<S>,
    session: &mut Session<'_>,
    first: Option<Result<Message, Error>>,
) -> ControlFlow<End>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut message = first;
    loop {
        take(socket, session, message)?;
        if session.is_batch_full() {
            return ControlFlow::Continue(());
        }
        match socket.next().now_or_never() {
            Some(next) => message = next,
            None => return ControlFlow::Continue(()),
        }
    }
}

/// A payload is decoded here and now, so nothing keeps the buffer that it lies in.
fn take<S>(
    socket: &mut Socket<S>,
    session: &mut Session<'_>,
    message: Option<Result<Message, Error>>,
) -> ControlFlow<End>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let bytes = match &message {
        Some(Ok(message)) => message.len(),
        Some(Err(error)) => return ControlFlow::Break(End::of(error)),
        None => return ControlFlow::Break(End::Gone),
    };
    socket.get_mut().account(frame_bytes(bytes));
    match message {
        Some(Ok(Message::Text(text))) => session.take(Format::Json, text.as_bytes()),
        Some(Ok(Message::Binary(bytes))) => session.take(Format::Frame, &bytes),
        Some(Ok(Message::Close(_))) => return ControlFlow::Break(End::Closed),
        // tungstenite has its pong ready, and the next write takes it along.
        Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) | Err(_)) | None => {}
    }
    if session.is_cut() {
        return ControlFlow::Break(End::Said(CloseCode::Again, LATER));
    }
    ControlFlow::Continue(())
}

/// What a client's message of so many bytes takes on the wire, in one frame and the shortest form:
/// never more than it really took.
fn frame_bytes(payload: usize) -> usize {
    const HEAD_AND_MASK: usize = 2 + 4;
    match payload {
        0..=125 => HEAD_AND_MASK + payload,
        126..=0xFFFF => HEAD_AND_MASK + 2 + payload,
        _ => HEAD_AND_MASK + 8 + payload,
    }
}

impl End {
    fn of(error: &Error) -> Self {
        match error {
            Error::Capacity(_) => Self::Said(CloseCode::Size, "the message is too large"),
            Error::Utf8(_) => Self::Said(CloseCode::Invalid, "text must be UTF-8"),
            Error::Io(error) if error.kind() == io::ErrorKind::OutOfMemory => {
                let reason = "too many large messages at a time; come again later";
                Self::Said(CloseCode::Again, reason)
            }
            Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)
            | Error::ConnectionClosed
            | Error::AlreadyClosed
            | Error::Io(_) => Self::Gone,
            error => {
                debug!(%error, "websocket protocol broken");
                Self::Said(CloseCode::Protocol, "this is not what RFC 6455 asks for")
            }
        }
    }
}

impl End {
    /// For the counters; `cut` is the deadline of the wire that passed.
    fn why(&self, cut: Option<Cut>) -> Ended {
        match self {
            Self::Gone if cut == Some(Cut::Unread) => Ended::Unread,
            Self::Gone => Ended::HungUp,
            Self::Closed => Ended::Left,
            Self::Said(CloseCode::Away, _) => Ended::ShuttingDown,
            Self::Said(CloseCode::Error, _) => Ended::Journal,
            Self::Said(CloseCode::Policy, _) => Ended::Silent,
            Self::Said(CloseCode::Size, _) => Ended::TooLarge,
            Self::Said(CloseCode::Invalid, _) => Ended::Utf8,
            Self::Said(CloseCode::Again, LATER) => Ended::SentBack,
            Self::Said(CloseCode::Again, _) => Ended::Memory,
            Self::Said(..) => Ended::Protocol,
        }
    }
}

/// Writes all answers there are, and a pong if one is due. The wire ends a peer that does not read.
async fn write<S>(socket: &mut Socket<S>, session: &mut Session<'_>) -> Result<(), Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    for answer in session.answers.drain(..) {
        socket.feed(Message::Text(Utf8Bytes::from(answer))).await?;
    }
    socket.flush().await
}

/// tungstenite's buffer stays as large as the largest message was. Between two messages, when
/// everything that was read is accounted for and so nothing is in it, a new one takes its place.
async fn give_buffers_back<S>(mut socket: Socket<S>, config: WebSocketConfig) -> Socket<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    if !socket.get_ref().holds_for_nothing() {
        return socket;
    }
    socket.get_mut().give_back();
    WebSocketStream::from_raw_socket(socket.into_inner(), Role::Server, Some(config)).await
}

/// Hands on what was taken, waits for the answers if there is somebody to hear them, says goodbye.
async fn finish<S>(mut session: Session<'_>, mut socket: Socket<S>, end: End)
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let intake = session.intake().clone();
    let limits = *session.limits();
    let mut patience = pin!(async {
        tokio::select! {
            () = room::full_for(&intake, limits.full_wait) => {}
            () = sleep(limits.durable_max) => {}
        }
    });
    loop {
        session.seal();
        let is_done = match end {
            End::Gone | End::Closed => session.is_handed_on(),
            End::Said(..) if write(&mut socket, &mut session).await.is_err() => return,
            End::Said(..) => session.is_idle(),
        };
        if is_done {
            break;
        }
        let told = tokio::select! {
            biased;
            told = session.journal() => told,
            () = &mut patience => Err(Stopped),
        };
        if told.is_err() {
            break;
        }
    }
    goodbye(socket, end).await;
}

async fn goodbye<S>(mut socket: Socket<S>, end: End)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let said = match end {
        End::Gone => return,
        End::Closed => socket.flush().await, // The answer to their goodbye.
        End::Said(code, reason) => {
            let reason = Utf8Bytes::from_static(reason);
            socket.send(Message::Close(Some(CloseFrame { code, reason }))).await
        }
    };
    match said {
        Ok(()) | Err(Error::ConnectionClosed) => {}
        Err(error) => {
            debug!(%error, "the peer did not hear our goodbye");
            return;
        }
    }
    // Their goodbye, or what they are still sending, is thrown away while it lasts.
    let wire = socket.get_mut();
    wire.set_linger();
    if let Err(error) = wire.shutdown().await {
        debug!(%error, "websocket shut down");
    }
}
