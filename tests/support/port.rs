//! Free TCP ports for parts that cannot be asked to choose one themselves.
//!
//! Below the kernel's own range for outgoing connections, so that none of those can take a port between
//! its choice and its use; different test processes start at different places.
//!
//! A port is tried by binding it, without listening: a process that is being started by another test
//! in that moment holds a copy of the socket until its own program runs, and a copy that listened would
//! keep the port from its user.

use std::{
    io,
    net::SocketAddr,
    process,
    sync::atomic::{AtomicU32, Ordering},
};

use tokio::net::TcpSocket;

const FIRST: u32 = 15_000;
const COUNT: u32 = 16_000;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A port of 127.0.0.1 on which nothing listens. Never the same twice in one process.
pub fn free() -> u16 {
    let start = process::id().wrapping_mul(97);
    for _ in 0..COUNT {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = u16::try_from(FIRST + start.wrapping_add(step) % COUNT).unwrap();
        if is_free(port).is_ok() {
            return port;
        }
    }
    panic!("no free port between {FIRST} and {}", FIRST + COUNT);
}

fn is_free(port: u16) -> io::Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?; // As whoever will listen there does.
    socket.bind(SocketAddr::from(([127, 0, 0, 1], port)))
}
