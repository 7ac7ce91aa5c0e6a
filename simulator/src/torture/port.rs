//! Free ports of 127.0.0.1 for parts that are told their port: the gateway, and databases that
//! refuse connections for a while.
//!
//! Below the kernel's own range for outgoing connections: a port that nobody listens on for a moment
//! must not be given to a connection, least of all to one that tries to reach that port. A port is
//! tried by binding it, without listening. Free is free at one moment only; who takes it next is told
//! by the error of whoever wanted it.

use std::{io, net::SocketAddr};

use tokio::net::TcpSocket;

const FIRST: u16 = 15_000;
const COUNT: u16 = 16_000;

/// As many different ports as are asked for.
pub(super) struct Ports {
    next: u16,
    tried: u16,
}

impl Ports {
    /// Different runs begin at different places.
    pub(super) fn new(random: &mut fastrand::Rng) -> Self {
        Self { next: random.u16(..COUNT), tried: 0 }
    }

    pub(super) fn free(&mut self) -> io::Result<SocketAddr> {
        while self.tried < COUNT {
            let port = FIRST + self.next;
            self.next = (self.next + 1) % COUNT;
            self.tried += 1;
            let address = SocketAddr::from(([127, 0, 0, 1], port));
            if is_free(address).is_ok() {
                return Ok(address);
            }
        }
        Err(io::Error::new(io::ErrorKind::AddrInUse, "no free port on 127.0.0.1"))
    }
}

fn is_free(address: SocketAddr) -> io::Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?; // As whoever will listen there does.
    socket.bind(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_that_is_taken_is_not_given_and_none_is_given_twice() {
        let mut ports = Ports::new(&mut fastrand::Rng::new());
        let taken = ports.free().unwrap();
        let held = std::net::TcpListener::bind(taken).unwrap();
        let mut again = Ports { next: taken.port() - FIRST, tried: 0 };
        let (one, other) = (again.free().unwrap(), again.free().unwrap());
        assert!(one != taken && other != taken && one != other, "{taken} {one} {other}");
        drop(held);
    }
}
