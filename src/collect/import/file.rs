//! Reads a file or standard input on a thread of its own, and cuts it into pieces of whole lines.
//!
//! ```text
//!  bytes --gunzip--> | mark, header | imported before, compared by its hash | piece | piece | ...
//!                    0              begin                                   from
//! ```
//! What was imported before is passed over only if all bytes up to there are those that were
//! imported then; else it is another file, and begins at its beginning.
//!
//! Blocks on the disk and on the pipe, so the reader is a thread and not a task: whoever stops
//! listening ends it at its next piece.

use std::{
    fs::{self, File},
    io::{self, BufRead as _, BufReader, Cursor, Read},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use flate2::bufread::MultiGzDecoder;

use super::form::{DOCUMENT_BYTES_MAX, Form, Format, Settings};
use crate::intake::pieces::{Pieces, STEP_BYTES};
use crate::intake::resends::{Running, Stored};

const GZIP: [u8; 2] = [0x1f, 0x8b];
/// Of a file, looked at before anything else; a header must fit.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// Where to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    File(PathBuf),
    Stdin,
}

impl Source {
    /// What can be read once more from its beginning. Pipes cannot, whatever they are called.
    pub(super) fn is_regular(&self) -> bool {
        match self {
            Self::File(path) => fs::metadata(path).is_ok_and(|file| file.is_file()),
            Self::Stdin => false,
        }
    }

    /// What is read once, and not known again: standard input, a named pipe.
    pub fn is_pipe(&self) -> bool {
        match self {
            Self::File(path) => fs::metadata(path).is_ok_and(|file| !file.is_file()),
            Self::Stdin => true,
        }
    }
}

/// What a reader has to say, in this order: `Begun`, pieces, the end.
#[derive(Debug)]
pub(super) enum Event {
    Begun(Begun),
    Piece(Piece),
    /// `None`: nothing more comes. Else why.
    End(Option<String>),
}

#[derive(Debug)]
pub(super) struct Begun {
    pub(super) form: Box<Form>,
    /// What was imported before, if it goes on there.
    pub(super) after: Option<Stored>,
}

/// Whole lines, or the beginning of one that is too long.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) bytes: Vec<u8>,
    pub(super) is_too_long: bool,
    /// Lines before it.
    pub(super) lines_before: u64,
    /// Behind it.
    pub(super) place: Place,
}

/// How far a file is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) bytes: u64,
    pub(super) lines: u64,
    /// Of the bytes up to here.
    pub(super) hash: u64,
    /// Inside a line that was given up.
    pub(super) is_skipping: bool,
}

/// One reading of one source.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) source: Source,
    pub(super) settings: Arc<Settings>,
    /// Not a pipe.
    pub(super) is_regular: bool,
    /// What was imported before.
    pub(super) known: Option<Stored>,
    /// Of nothing yet.
    pub(super) hash: Running,
    /// Bytes taken at a time; a piece for each, or as large as it may be.
    pub(super) step: Option<usize>,
    /// What was read of the source, compressed as it is.
    pub(super) raw: Arc<AtomicU64>,
}

/// The bytes, and how far they are read.
struct Stream {
    read: Box<dyn Read>,
    hash: Running,
    place: Place,
}

struct Counting<R>(R, Arc<AtomicU64>);

impl<R: Read> Read for Counting<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let bytes = self.0.read(into)?;
        self.1.fetch_add(bytes as u64, Ordering::Relaxed);
        Ok(bytes)
    }
}

impl Reading {
    /// To the end, or until `say` says that nobody listens.
    pub(super) fn run(mut self, mut say: impl FnMut(Event) -> bool) {
        let end = match self.tell(&mut say) {
            Ok(true) => None,
            Ok(false) => return,
            Err(why) => Some(why),
        };
        say(Event::End(end));
    }

    /// `false`: nobody listens.
    fn tell(&mut self, say: &mut dyn FnMut(Event) -> bool) -> Result<bool, String> {
        let (form, mut stream) = self.begin()?;
        let mut known = self.known.take();
        if let Some(stored) = &known
            && !stream.passes(stored).map_err(told)?
        {
            self.raw.store(0, Ordering::Relaxed);
            known = None;
            stream = self.begin()?.1;
        }
        if known.is_none() {
            stream.skip_to(form.begin.0).map_err(told)?;
            stream.place.lines = form.begin.1;
        }
        if !say(Event::Begun(Begun { form: Box::new(form.clone()), after: known })) {
            return Ok(false);
        }
        match form.format {
            Format::Json => stream.document(say),
            Format::Line | Format::Ndjson | Format::Csv => self.lines(&form, &mut stream, say),
        }
    }

    fn begin(&self) -> Result<(Form, Stream), String> {
        let (name, mut read) = self.open().map_err(told)?;
        let head = head(&mut read).map_err(told)?;
        let form = Form::of(&self.settings, &name, &head)?;
        if form.begin.0 >= HEAD_BYTES_MAX as u64 {
            return Err(format!("its header is longer than {HEAD_BYTES_MAX} bytes"));
        }
        let read = Box::new(Cursor::new(head).chain(read));
        Ok((form, Stream { read, hash: self.hash.clone(), place: Place::default() }))
    }

    fn open(&self) -> io::Result<(PathBuf, Box<dyn Read>)> {
        let raw = Arc::clone(&self.raw);
        let (name, raw): (_, Box<dyn Read>) = match &self.source {
            Source::File(path) => (path.clone(), Box::new(Counting(File::open(path)?, raw))),
            Source::Stdin => (PathBuf::from("-"), Box::new(Counting(io::stdin(), raw))),
        };
        let mut read = BufReader::with_capacity(STEP_BYTES, raw);
        let is_gzip = read.fill_buf()?.starts_with(&GZIP);
        Ok((name, if is_gzip { Box::new(MultiGzDecoder::new(read)) } else { Box::new(read) }))
    }

    /// `false`: nobody listens.
    fn lines(
        &self,
        form: &Form,
        stream: &mut Stream,
        say: &mut dyn FnMut(Event) -> bool,
    ) -> Result<bool, String> {
        let mut pieces = form.pieces();
        pieces.go_on_at((0, stream.place.is_skipping));
        let step = self.step.unwrap_or(STEP_BYTES);
        loop {
            let before = pieces.bytes().len();
            let read = stream.append(step, pieces.bytes());
            let bytes = pieces.bytes().len() - before;
            let is_end = read.is_ok() && bytes == 0;
            // What a pipe has is not to wait for what it has not.
            let is_all_there_is = !self.is_regular && bytes < step;
            let is_due = self.step.is_some() || is_all_there_is || pieces.is_full();
            if (is_due || is_end || read.is_err()) && !stream.cut(&mut pieces, is_end, say) {
                return Ok(false);
            }
            read.map_err(told)?;
            if is_end {
                return Ok(true);
            }
        }
    }
}

impl Stream {
    /// Whether its first bytes are those that were imported; then it stands behind them.
    fn passes(&mut self, stored: &Stored) -> io::Result<bool> {
        self.skip_to(stored.from)?;
        self.place.lines = stored.lines;
        self.place.is_skipping = stored.is_skipping;
        Ok(self.place.bytes == stored.from && self.hash.value() == stored.hash)
    }

    /// Or to the end, if that comes before.
    fn skip_to(&mut self, bytes: u64) -> io::Result<()> {
        let mut buffer = vec![0; STEP_BYTES];
        while self.place.bytes < bytes {
            let left = usize::try_from(bytes - self.place.bytes).unwrap_or(usize::MAX);
            let room = buffer.get_mut(..left.min(STEP_BYTES)).unwrap_or_default();
            let read = retried(|| self.read.read(room))?;
            if read == 0 {
                break;
            }
            self.take(room.get(..read).unwrap_or_default());
        }
        Ok(())
    }

    /// Reads until there are so many more bytes, or (at the end of a file, from a pipe) fewer.
    fn append(&mut self, bytes: usize, into: &mut Vec<u8>) -> io::Result<()> {
        let before = into.len();
        into.resize(before + bytes, 0);
        let read = retried(|| self.read.read(into.get_mut(before..).unwrap_or_default()));
        into.truncate(before + read.as_ref().map_or(0, |read| *read));
        read.map(|_| ())
    }

    /// Hands on the whole lines there are. `false`: nobody listens.
    fn cut(
        &mut self,
        pieces: &mut Pieces,
        is_end: bool,
        say: &mut dyn FnMut(Event) -> bool,
    ) -> bool {
        let lines_before = self.place.lines;
        let piece = pieces.cut(is_end).map(|piece| (piece.bytes.to_vec(), piece.is_too_long));
        self.take(pieces.done());
        self.place.lines += newlines(pieces.done());
        pieces.forget();
        self.place.is_skipping = pieces.place().1;
        let Some((bytes, is_too_long)) = piece else { return true };
        say(Event::Piece(Piece { bytes, is_too_long, lines_before, place: self.hashed() }))
    }

    /// A document is one piece.
    fn document(&mut self, say: &mut dyn FnMut(Event) -> bool) -> Result<bool, String> {
        let mut bytes = Vec::new();
        let room = DOCUMENT_BYTES_MAX as u64 + 1;
        self.read.by_ref().take(room).read_to_end(&mut bytes).map_err(told)?;
        if bytes.len() > DOCUMENT_BYTES_MAX {
            return Err(format!(
                "a JSON document of more than {} MiB; one reading a line may be as many as you like: \
                 jq -c '.[]'",
                DOCUMENT_BYTES_MAX / (1024 * 1024)
            ));
        }
        if bytes.trim_ascii().is_empty() {
            return Ok(true);
        }
        let lines_before = self.place.lines;
        self.take(&bytes);
        self.place.lines += newlines(&bytes);
        let place = self.hashed();
        Ok(say(Event::Piece(Piece { bytes, is_too_long: false, lines_before, place })))
    }

    fn take(&mut self, bytes: &[u8]) {
        self.hash.write(bytes);
        self.place.bytes += bytes.len() as u64;
    }

    fn hashed(&self) -> Place {
        Place { hash: self.hash.value(), ..self.place }
    }
}

/// At least the first line, if it fits and there is one.
fn head(read: &mut dyn Read) -> io::Result<Vec<u8>> {
    let mut head = vec![0; HEAD_BYTES_MAX];
    let mut len = 0;
    while len < head.len() && !head.get(..len).unwrap_or_default().contains(&b'\n') {
        let bytes = retried(|| read.read(head.get_mut(len..).unwrap_or_default()))?;
        if bytes == 0 {
            break;
        }
        len += bytes;
    }
    head.truncate(len);
    Ok(head)
}

/// A signal that came in between is no end.
fn retried(mut read: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match read() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

pub(super) fn newlines(bytes: &[u8]) -> u64 {
    bytes.split(|byte| *byte == b'\n').count() as u64 - 1
}

#[expect(clippy::needless_pass_by_value, reason = "to be handed to `map_err`")]
fn told(error: io::Error) -> String {
    error.to_string()
}
