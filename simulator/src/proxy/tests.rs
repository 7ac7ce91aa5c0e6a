//! Does each kind of weather do what it says, to connections that are open and to new ones?

use std::{io, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{Instant, timeout},
};

use super::{Proxy, Weather};

const PATIENCE: Duration = Duration::from_secs(10);
/// Long enough for loopback, if something is to come at all.
const NOTHING: Duration = Duration::from_millis(200);

/// A server that answers every byte with itself, behind a proxy.
struct Echo {
    proxy: Proxy,
    _server: JoinSet<()>,
}

impl Echo {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Proxy::start(listener.local_addr().unwrap()).await.unwrap();
        let mut server = JoinSet::new();
        server.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                connections.spawn(async move {
                    let (mut from, mut to) = stream.split();
                    // A reset is as good an end as any.
                    drop(tokio::io::copy(&mut from, &mut to).await);
                });
            }
        });
        Self { proxy, _server: server }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.proxy.address()).await.unwrap()
    }
}

async fn ask(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<Vec<u8>> {
    stream.write_all(bytes).await?;
    let mut answer = vec![0; bytes.len()];
    timeout(PATIENCE, stream.read_exact(&mut answer)).await.expect("an answer")?;
    Ok(answer)
}

async fn is_silent(stream: &mut TcpStream, bytes: &[u8]) -> bool {
    stream.write_all(bytes).await.unwrap();
    timeout(NOTHING, stream.read_u8()).await.is_err()
}

#[tokio::test]
async fn in_clear_weather_every_byte_arrives_and_so_does_the_end() {
    let echo = Echo::start().await;
    let mut stream = echo.connect().await;
    let bytes: Vec<u8> = (0..200_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    assert_eq!(ask(&mut stream, &bytes).await.unwrap(), bytes);
    stream.shutdown().await.unwrap();
    assert_eq!(timeout(PATIENCE, stream.read(&mut [0; 1])).await.unwrap().unwrap(), 0);
}

#[tokio::test]
async fn late_is_late_in_both_directions() {
    let echo = Echo::start().await;
    let mut stream = echo.connect().await;
    echo.proxy.set(Weather::Late(Duration::from_millis(50)));
    let began = Instant::now();
    assert_eq!(ask(&mut stream, b"hello").await.unwrap(), b"hello");
    assert!(began.elapsed() >= Duration::from_millis(100), "{:?}", began.elapsed());
}

#[tokio::test]
async fn drips_arrive_whole_and_slowly() {
    let echo = Echo::start().await;
    echo.proxy.set(Weather::Drip(Duration::from_millis(5)));
    let mut stream = echo.connect().await;
    let began = Instant::now();
    let bytes = [b'x'; 70];
    assert_eq!(ask(&mut stream, &bytes).await.unwrap(), bytes);
    assert!(began.elapsed() >= Duration::from_millis(50), "{:?}", began.elapsed());
}

#[tokio::test]
async fn nothing_comes_out_of_the_hole_and_what_fell_in_stays_there() {
    let echo = Echo::start().await;
    let mut stream = echo.connect().await;
    ask(&mut stream, b"before").await.unwrap();
    echo.proxy.set(Weather::Hole);
    assert!(is_silent(&mut stream, b"lost").await);
    assert!(is_silent(&mut echo.connect().await, b"as lost").await);
    echo.proxy.set(Weather::Clear);
    assert!(is_silent(&mut stream, b"a piece is missing").await);
    assert_eq!(ask(&mut echo.connect().await, b"anew").await.unwrap(), b"anew");
}

#[tokio::test]
async fn a_cut_resets_what_is_open_and_what_comes() {
    let echo = Echo::start().await;
    let mut stream = echo.connect().await;
    ask(&mut stream, b"before").await.unwrap();
    echo.proxy.set(Weather::Cut);
    let ended = timeout(PATIENCE, stream.read_u8()).await.unwrap().unwrap_err();
    assert_eq!(ended.kind(), io::ErrorKind::ConnectionReset);
    assert!(ask(&mut echo.connect().await, b"during").await.is_err());
    echo.proxy.set(Weather::Clear);
    assert_eq!(ask(&mut echo.connect().await, b"after").await.unwrap(), b"after");
}

#[tokio::test]
async fn a_swallowed_answer_was_heard_by_the_server() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = Proxy::start(listener.local_addr().unwrap()).await.unwrap();
    proxy.set(Weather::Swallow);
    let mut client = TcpStream::connect(proxy.address()).await.unwrap();
    let (mut server, _) = timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
    client.write_all(b"question").await.unwrap();
    let mut heard = [0; 8];
    timeout(PATIENCE, server.read_exact(&mut heard)).await.unwrap().unwrap();
    assert_eq!(&heard, b"question");
    server.write_all(b"answer").await.unwrap();
    assert!(timeout(NOTHING, client.read_u8()).await.is_err(), "the answer got through");
}

#[tokio::test]
async fn a_reset_ends_what_is_open_and_lets_in_what_comes() {
    let echo = Echo::start().await;
    let (mut stream, mut lost) = (echo.connect().await, echo.connect().await);
    ask(&mut stream, b"before").await.unwrap();
    ask(&mut lost, b"before").await.unwrap();
    echo.proxy.set(Weather::Hole);
    assert!(is_silent(&mut lost, b"into the hole").await);
    echo.proxy.set(Weather::Clear);
    echo.proxy.reset();
    for stream in [&mut stream, &mut lost] {
        let ended = timeout(PATIENCE, stream.read_u8()).await.unwrap().unwrap_err();
        assert_eq!(ended.kind(), io::ErrorKind::ConnectionReset);
    }
    assert_eq!(ask(&mut echo.connect().await, b"after").await.unwrap(), b"after");
}
