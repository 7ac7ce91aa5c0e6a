//! The accept loop: its limit, its answer beyond the limit, its end.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

struct Served {
    addr: SocketAddr,
    stats: Stats,
    shutdown: CancellationToken,
    serving: JoinSet<()>,
}

/// Greets with `hi`, then echoes bytes until end of input or shutdown, and says `bye` then.
async fn echo(mut stream: TcpStream, stop: CancellationToken) {
    stream.write_all(b"hi").await.unwrap();
    let mut byte = [0];
    loop {
        tokio::select! {
            () = stop.cancelled() => return stream.write_all(b"bye").await.unwrap(),
            read = stream.read(&mut byte) => match read {
                Ok(1) if byte == *b"!" => panic!("a handler that panics"),
                Ok(1) => stream.write_all(&byte).await.unwrap(),
                _ => return,
            },
        }
    }
}

async fn serving(connections_max: usize) -> Served {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (stats, shutdown) = (Stats::default(), CancellationToken::new());
    let mut serving = JoinSet::new();
    let (theirs, stop) = (stats.clone(), shutdown.clone());
    serving.spawn(async move {
        let told = stop.clone();
        let handle = |stream, _| echo(stream, told.clone());
        let refuse = |mut stream: TcpStream, _| async move {
            stream.write_all(b"no room").await.unwrap();
        };
        serve(listener, Limits { connections_max }, &theirs, &stop, handle, refuse).await;
    });
    Served { addr, stats, shutdown, serving }
}

async fn read_exactly<const N: usize>(stream: &mut TcpStream) -> [u8; N] {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).await.unwrap();
    bytes
}

async fn everything(mut stream: TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    stream.read_to_end(&mut all).await.unwrap();
    all
}

#[tokio::test]
async fn open_connections_are_told_of_the_shutdown_and_waited_for() {
    let mut served = serving(2).await;
    let mut one = TcpStream::connect(served.addr).await.unwrap();
    assert_eq!(read_exactly(&mut one).await, *b"hi");
    served.shutdown.cancel();
    assert_eq!(everything(one).await, b"bye");
    served.serving.join_next().await.unwrap().unwrap();
    assert!(TcpStream::connect(served.addr).await.is_err(), "the port is closed");
    assert_eq!(served.stats.connections.get(), 0);
    assert_eq!(served.stats.accepted.get(), 1);
}

#[tokio::test]
async fn a_peer_beyond_the_limit_is_told_why_and_there_is_room_again_when_one_leaves() {
    let served = serving(1).await;
    let mut one = TcpStream::connect(served.addr).await.unwrap();
    assert_eq!(read_exactly(&mut one).await, *b"hi");
    let two = TcpStream::connect(served.addr).await.unwrap();
    assert_eq!(everything(two).await, b"no room");
    assert_eq!(served.stats.refused.get(), 1);

    one.shutdown().await.unwrap();
    assert_eq!(everything(one).await, b"");
    let three = async {
        loop {
            // The end of the first is noticed by another task: until then the answer is no.
            let mut stream = TcpStream::connect(served.addr).await.unwrap();
            if read_exactly(&mut stream).await == *b"hi" {
                break stream;
            }
        }
    };
    let mut three = tokio::time::timeout(Duration::from_secs(10), three).await.unwrap();
    three.write_all(b"x").await.unwrap();
    assert_eq!(read_exactly(&mut three).await, *b"x");
}

#[tokio::test]
async fn a_handler_that_panics_ends_serving() {
    let mut served = serving(2).await;
    let mut one = TcpStream::connect(served.addr).await.unwrap();
    one.write_all(b"!").await.unwrap();
    let ended = served.serving.join_next().await.unwrap();
    assert!(ended.unwrap_err().is_panic());
}

#[test]
fn the_limit_of_open_files_is_raised_or_the_connections_are_fewer() {
    let few = make_room_for(10);
    assert!((1..=10).contains(&few));
    let before = getrlimit(Resource::Nofile);
    let hard = before.maximum.unwrap_or(u64::MAX);
    let allowed = make_room_for(2_000);
    let now = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    assert!(now >= allowed as u64 + OPEN_FILES_RESERVED, "{allowed} connections, {now} files");
    assert!(allowed == 2_000 || now == hard, "{allowed} connections, {now} files, {hard} at most");
}

#[test]
fn a_peer_that_hung_up_is_no_reason_to_pause() {
    assert!(is_about_one_peer(&io::ErrorKind::ConnectionAborted.into()));
    let no_descriptor = io::Error::from(rustix::io::Errno::MFILE);
    assert!(!is_about_one_peer(&no_descriptor));
}
