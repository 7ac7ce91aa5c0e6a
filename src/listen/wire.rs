//! A socket with deadlines, for the layers above that have none: hyper and tungstenite.
//!
//! Promises:
//! - a peer that does not read what we write is cut off after `write` without progress;
//! - a peer that says nothing, or sends a request head byte by byte, is cut off (`Phase`);
//! - what a peer makes the layer above keep in its buffers is held from `Memory` while it is being
//!   sent (`measure`), and without memory the read fails;
//! - the last answer arrives: a socket closed with unread bytes in it is reset by the kernel, and
//!   the reset destroys an answer that the peer has not read yet. So after the end of our side, what
//!   still comes in is thrown away for a while (`linger`), always in the middle of a request head;
//! - which deadline ended a connection is known afterwards (`Cut`).
//!
//! ```text
//!  Silent --first byte--> Head --request--> Busy --answer--> Idle --first byte--> Head ...
//!  `- head ----------------------'           no deadline      `- idle
//! ```

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

use crate::listen::memory::Held;

/// What a connection may have in its buffers without holding memory for it.
const FREE_BYTES: usize = 8 * 1024;
/// Bytes thrown away at one go while lingering.
const DISCARD_BYTES: usize = 4 * 1024;
const NOT_CUT: u8 = u8::MAX;

/// How long is waited for a peer at most.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadlines {
    /// From accept, or from the first byte of a later request, to the whole request head.
    pub(crate) head: Duration,
    /// From an answer to the first byte of the next request.
    pub(crate) idle: Duration,
    /// Without a byte of ours taken by the peer.
    pub(crate) write: Duration,
    pub(crate) linger: Duration,
}

/// What the connection is about, as the layer above knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Phase {
    /// Accepted, nothing read yet.
    Silent,
    Head,
    /// A request is being answered, or this is a WebSocket: deadlines are kept elsewhere.
    Busy,
    /// Between two requests.
    Idle,
}

/// The deadline that passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Cut {
    /// Not a byte since accept.
    Silent,
    /// Half a request head.
    Head,
    /// Between two requests.
    Idle,
    /// The peer does not read.
    Unread,
}

/// Shared by a wire and the layer above it.
#[derive(Clone, Debug)]
pub(crate) struct Control(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    phase: AtomicU8,
    linger: AtomicBool,
    /// A `Cut`, or `NOT_CUT`.
    cut: AtomicU8,
}

impl Control {
    pub(crate) fn new() -> Self {
        let phase = AtomicU8::new(Phase::Silent as u8);
        let (linger, cut) = (AtomicBool::new(false), AtomicU8::new(NOT_CUT));
        Self(Arc::new(Shared { phase, linger, cut }))
    }

    pub(crate) fn set(&self, phase: Phase) {
        self.0.phase.store(phase as u8, Ordering::Relaxed); // One task holds both ends.
    }

    /// Whether bytes of the peer may still be on their way when the connection is closed.
    pub(crate) fn set_linger(&self, linger: bool) {
        self.0.linger.store(linger, Ordering::Relaxed);
    }

    pub(crate) fn lingers(&self) -> bool {
        self.0.linger.load(Ordering::Relaxed)
    }

    pub(crate) fn phase(&self) -> Phase {
        let phase = self.0.phase.load(Ordering::Relaxed);
        [Phase::Silent, Phase::Head, Phase::Busy, Phase::Idle]
            .into_iter()
            .find(|one| *one as u8 == phase)
            .unwrap_or(Phase::Busy)
    }

    /// The deadline that ended the connection, if one did.
    pub(crate) fn cut(&self) -> Option<Cut> {
        let cut = self.0.cut.load(Ordering::Relaxed);
        [Cut::Silent, Cut::Head, Cut::Idle, Cut::Unread].into_iter().find(|one| *one as u8 == cut)
    }

    fn cut_off(&self, cut: Cut) {
        self.0.cut.store(cut as u8, Ordering::Relaxed);
    }
}

#[derive(Debug)]
pub(crate) struct Wire<S> {
    io: S,
    deadlines: Deadlines,
    control: Control,
    /// The phase last seen, and since when the peer has been waited for in it.
    seen: (Phase, Instant),
    reading: Alarm,
    writing: Alarm,
    lingering: Alarm,
    our_end_closed: bool,
    meter: Option<Meter>,
}

/// Bytes read that the layer above has not accounted for yet.
#[derive(Debug)]
struct Meter {
    bytes: usize,
    held: Held,
}

impl<S> Wire<S> {
    pub(crate) fn new(io: S, deadlines: Deadlines, control: Control) -> Self {
        Self {
            io,
            deadlines,
            control,
            seen: (Phase::Silent, Instant::now()),
            reading: Alarm::default(),
            writing: Alarm::default(),
            lingering: Alarm::default(),
            our_end_closed: false,
            meter: None,
        }
    }

    /// From here on, what is read is charged to `held` until `account` says that it was used. A
    /// read that finds no memory fails with `OutOfMemory`. `bytes` were read before.
    pub(crate) fn measure(&mut self, held: Held, bytes: usize) {
        self.meter = Some(Meter { bytes, held });
    }

    /// The layer above has used `bytes` of what was read.
    pub(crate) fn account(&mut self, bytes: usize) {
        if let Some(meter) = &mut self.meter {
            meter.bytes = meter.bytes.saturating_sub(bytes);
        }
    }

    /// Memory is held, although everything that was read is accounted for.
    pub(crate) fn holds_for_nothing(&self) -> bool {
        self.meter.as_ref().is_some_and(|meter| meter.bytes == 0 && meter.held.is_anything())
    }

    pub(crate) fn give_back(&mut self) {
        if let Some(meter) = &mut self.meter {
            meter.held.give_back();
        }
    }

    /// Bytes of the peer may still be on their way when the connection is closed.
    pub(crate) fn set_linger(&self) {
        self.control.set_linger(true);
    }

    /// The deadline that ended the connection, if one did.
    pub(crate) fn cut(&self) -> Option<Cut> {
        self.control.cut()
    }

    fn phase_since(&mut self) -> (Phase, Instant) {
        let phase = self.control.phase();
        if phase != self.seen.0 {
            self.seen = (phase, Instant::now());
        }
        self.seen
    }

    fn note_read(&mut self, bytes: usize) -> io::Result<()> {
        if bytes == 0 {
            return Ok(());
        }
        match self.phase_since() {
            // The time since accept counts: a head has its deadline from the beginning.
            (Phase::Silent, since) => self.begin_head(since),
            (Phase::Idle, _) => self.begin_head(Instant::now()),
            (Phase::Head | Phase::Busy, _) => {}
        }
        self.control.set(self.seen.0);
        self.meter.as_mut().map_or(Ok(()), |meter| meter.charge(bytes))
    }

    /// Should the head be refused, the rest of it is still on its way.
    fn begin_head(&mut self, since: Instant) {
        self.seen = (Phase::Head, since);
        self.control.set_linger(true);
    }
}

impl Meter {
    fn charge(&mut self, bytes: usize) -> io::Result<()> {
        self.bytes += bytes;
        if self.bytes <= FREE_BYTES || self.held.grow_to(self.bytes) {
            return Ok(());
        }
        Err(io::Error::new(io::ErrorKind::OutOfMemory, "no memory left for large messages"))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        if let Poll::Ready(result) = Pin::new(&mut this.io).poll_read(cx, buf) {
            this.reading.disarm();
            result?;
            return Poll::Ready(this.note_read(buf.filled().len() - before));
        }
        let (phase, since) = this.phase_since();
        let (waits_max, cut) = match phase {
            Phase::Silent => (this.deadlines.head, Cut::Silent),
            Phase::Head => (this.deadlines.head, Cut::Head),
            Phase::Idle => (this.deadlines.idle, Cut::Idle),
            Phase::Busy => return Poll::Pending,
        };
        ready!(this.reading.poll_at(cx, since + waits_max));
        this.control.cut_off(cut);
        match cut {
            Cut::Idle => Poll::Ready(Ok(())), // As if the peer had hung up: nobody is owed a word.
            _ => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
        }
    }
}

impl<S: AsyncWrite + AsyncRead + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.io).poll_write(cx, buf);
        this.in_time(cx, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.io).poll_write_vectored(cx, bufs);
        this.in_time(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = Pin::new(&mut this.io).poll_flush(cx);
        this.in_time(cx, flushed)
    }

    /// Closes our side, then lingers if it was asked to.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.our_end_closed {
            let closed = Pin::new(&mut this.io).poll_shutdown(cx);
            ready!(this.in_time(cx, closed))?;
            this.our_end_closed = true;
            this.seen.1 = Instant::now();
        }
        if !this.control.lingers() {
            return Poll::Ready(Ok(()));
        }
        let ends = this.seen.1 + this.deadlines.linger;
        while Instant::now() < ends && ready!(this.poll_discard(cx, ends)) {}
        Poll::Ready(Ok(()))
    }
}

impl<S> Wire<S> {
    /// Gives a write that makes no progress its deadline.
    fn in_time<T>(
        &mut self,
        cx: &mut Context<'_>,
        result: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.writing.disarm();
            return result;
        }
        ready!(self.writing.poll_after(cx, self.deadlines.write));
        self.control.cut_off(Cut::Unread);
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer does not read")))
    }
}

impl<S: AsyncRead + Unpin> Wire<S> {
    /// Throws away what there is to read. False at the end, or at `ends`.
    fn poll_discard(&mut self, cx: &mut Context<'_>, ends: Instant) -> Poll<bool> {
        let mut scratch = [0; DISCARD_BYTES];
        let mut scratch = ReadBuf::new(&mut scratch);
        match Pin::new(&mut self.io).poll_read(cx, &mut scratch) {
            Poll::Ready(Ok(())) => Poll::Ready(!scratch.filled().is_empty()),
            Poll::Ready(Err(_)) => Poll::Ready(false),
            Poll::Pending => self.lingering.poll_at(cx, ends).map(|()| false),
        }
    }
}

/// A timer that allocates when it is first needed and is used again afterwards.
#[derive(Debug, Default)]
struct Alarm {
    sleep: Option<Pin<Box<Sleep>>>,
    set: bool,
}

impl Alarm {
    fn poll_at(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        self.set = true;
        match &mut self.sleep {
            Some(sleep) => {
                if sleep.deadline() != deadline {
                    sleep.as_mut().reset(deadline);
                }
                sleep.as_mut().poll(cx)
            }
            none => none.insert(Box::pin(sleep_until(deadline))).as_mut().poll(cx),
        }
    }

    /// Ready `wait` after the first call since it was disarmed.
    fn poll_after(&mut self, cx: &mut Context<'_>, wait: Duration) -> Poll<()> {
        let deadline = match &self.sleep {
            Some(sleep) if self.set => sleep.deadline(),
            _ => Instant::now() + wait,
        };
        self.poll_at(cx, deadline)
    }

    fn disarm(&mut self) {
        self.set = false;
    }
}

#[cfg(test)]
mod tests;
