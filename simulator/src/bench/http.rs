//! HTTP: each connection posts the same body of line protocol over and over, on a connection kept
//! alive, and reads just enough of the answer to know its status.

use std::{
    io::{self, Write as _},
    num::NonZeroU32,
    time::Duration,
};

use flate2::{Compression, write::GzEncoder};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use super::{Part, Report, Until, Watched};

#[derive(Clone, Debug)]
pub struct Options {
    /// `host:port`
    pub address: String,
    pub connections: u32,
    /// Lines of each POST.
    pub lines: NonZeroU32,
    pub gzip: bool,
    pub until: Until,
    /// Processes to watch.
    pub pids: Vec<u32>,
}

const SILENCE_MAX: Duration = Duration::from_mins(1);
/// What a "not now" is answered with.
const RETRY_WAIT: Duration = Duration::from_millis(100);

pub async fn run(options: &Options) -> io::Result<Report> {
    let mut connected = Vec::new();
    for index in 0..options.connections {
        let stream = timeout(SILENCE_MAX, TcpStream::connect(&options.address)).await??;
        stream.set_nodelay(true)?;
        connected.push((index, stream, request(options, index)?));
    }
    let watched = Watched::start(&options.pids)?;
    let mut running = JoinSet::new();
    for (index, stream, request) in connected {
        let part = Part::of(options.until, index, options.connections);
        let lines = u64::from(options.lines.get());
        running.spawn(post_all(stream, request, lines, part));
    }
    watched.all(running).await
}

/// A whole request; every line of it another device, so that every line is another series.
fn request(options: &Options, connection: u32) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    for line in 0..options.lines.get() {
        writeln!(
            body,
            "climate,device=c{connection}-{line} temperature={}.{:02},humidity={},battery=3.{:02}",
            18 + line % 9,
            line % 100,
            40 + line % 31,
            line % 90,
        )?;
    }
    let mut encoding = "";
    if options.gzip {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(&body)?;
        body = encoder.finish()?;
        encoding = "Content-Encoding: gzip\r\n";
    }
    let mut request = format!(
        "POST /write?precision=ns HTTP/1.1\r\nHost: {}\r\n{encoding}Content-Length: {}\r\n\r\n",
        options.address,
        body.len()
    )
    .into_bytes();
    request.extend_from_slice(&body);
    Ok(request)
}

async fn post_all(
    mut stream: TcpStream,
    request: Vec<u8>,
    lines: u64,
    part: Part,
) -> io::Result<Report> {
    let mut report = Report::default();
    let mut sent = 0;
    let mut buffer = vec![0; 16 * 1024];
    while !part.is_over(sent) {
        let began = Instant::now();
        let exchange = async {
            stream.write_all(&request).await?;
            status(&mut stream, &mut buffer).await
        };
        let status = timeout(SILENCE_MAX, exchange).await??;
        if (200..300).contains(&status) {
            report.latency.add(began.elapsed(), 1);
            report.readings += lines;
            sent += lines;
        } else {
            report.refused += 1;
            if status != 429 && status != 503 {
                return Err(io::Error::other(format!("answered with {status}")));
            }
            sleep(RETRY_WAIT).await;
        }
    }
    Ok(report)
}

/// Reads one answer to its end.
async fn status(stream: &mut TcpStream, buffer: &mut [u8]) -> io::Result<u16> {
    let odd = |what| io::Error::new(io::ErrorKind::InvalidData, what);
    let mut length = 0;
    loop {
        let room = buffer.get_mut(length..).filter(|room| !room.is_empty());
        let read = stream.read(room.ok_or_else(|| odd("a long answer"))?).await?;
        if read == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "closed without an answer"));
        }
        length += read;
        let seen = buffer.get(..length).unwrap_or_default();
        let Some(head) = seen.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let text = str::from_utf8(seen.get(..head).unwrap_or_default())
            .map_err(|_| odd("an answer that is not text"))?;
        let status = text.get(9..12).and_then(|code| code.parse().ok());
        if length >= head + 4 + body_length(text) {
            return status.ok_or_else(|| odd("an answer without a status"));
        }
    }
}

fn body_length(head: &str) -> usize {
    let header = |line: &str| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    };
    head.lines().find_map(header).unwrap_or(0)
}
