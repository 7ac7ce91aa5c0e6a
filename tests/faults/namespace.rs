//! A network of the test's own: a kernel network namespace in which there is nothing but 127.0.0.1.
//!
//! ```text
//!  devices, gateway, database  <-->  lo, of this namespace alone
//!                                     iptables: packets lost, swallowed, answered by a reset
//!                                     tbf: a narrow wire, which drops what does not fit
//!                                     link down: the cable is pulled
//! ```
//! What happens to packets here happens to nobody else on the machine. The fleet and the stand-in for
//! the database run in the test's process, so its threads move in; what they start is there as well.
//! Leaves out what the kernels at hand cannot do: reordering and doubled packets want netem.

use std::{
    fs::File,
    os::fd::AsFd as _,
    panic,
    path::PathBuf,
    process,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    thread,
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::tools::{has, run};
use crate::support::missing;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// As of an Ethernet: a lost packet is then some readings, not a whole request.
const MTU: &str = "1500";
/// What may wait before the narrow place; what comes beyond is lost.
const WAITING_MAX: &str = "16kb";

/// What happens to TCP packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packets {
    /// So many of a hundred are lost, whichever.
    Lost(u32),
    /// So many kbit/s pass.
    Narrow(u32),
    /// All are lost.
    Swallowed,
    /// A firewall answers each with a reset.
    Reset,
    /// There is no way at all: the link is down.
    Unplugged,
}

/// Gone when dropped.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// `None`: this machine cannot, and it was said.
    pub fn new() -> Option<Self> {
        if !has("ip", "iproute2") || !has("tc", "iproute2") || !has("iptables", "iptables") {
            return None;
        }
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let namespace = Self { name: format!("tidegate-{}-{number}", process::id()) };
        let made = Command::new("ip").args(["netns", "add", &namespace.name]).output().unwrap();
        if !made.status.success() {
            let why = String::from_utf8_lossy(&made.stderr).trim().to_owned();
            missing("a network namespace", &format!("needs root: {why}"));
            return None;
        }
        namespace.ip(&["link", "set", "lo", "mtu", MTU, "up"]);
        // Both find their parts of the kernel here, or the test could not begin its weather.
        for packets in [Packets::Lost(1), Packets::Narrow(1_000), Packets::Reset] {
            namespace.begin(packets);
            namespace.end(packets);
        }
        Some(namespace)
    }

    /// Runs a test whose every thread is in this network, on a runtime like that of other tests.
    pub fn run<T>(self: &Arc<Self>, test: impl Future<Output = T> + Send) -> T
    where
        T: Send,
    {
        let inside = thread::scope(|scope| {
            let thread = scope.spawn(|| {
                self.enter();
                let namespace = Arc::clone(self);
                let runtime = tokio::runtime::Builder::new_multi_thread()
                    .worker_threads(2)
                    .enable_all()
                    .on_thread_start(move || namespace.enter())
                    .build();
                runtime.unwrap().block_on(test)
            });
            thread.join()
        });
        inside.unwrap_or_else(|failure| panic::resume_unwind(failure))
    }

    /// From now on, for connections that are open as well.
    pub fn begin(&self, packets: Packets) {
        match packets {
            Packets::Lost(percent) => {
                let share = format!("0.{percent:02}");
                let random = ["-m", "statistic", "--mode", "random", "--probability", &share];
                self.filter(&[&random[..], &["-j", "DROP"]].concat());
            }
            Packets::Narrow(rate) => {
                let rate = format!("{rate}kbit");
                let shape = ["tbf", "rate", &rate, "burst", "8kb", "limit", WAITING_MAX];
                self.inside("tc", &[&["qdisc", "add", "dev", "lo", "root"], &shape[..]].concat());
            }
            Packets::Swallowed => self.filter(&["-j", "DROP"]),
            Packets::Reset => {
                // The resets themselves come back this way.
                let others = ["!", "--tcp-flags", "RST", "RST"];
                let answer = ["-j", "REJECT", "--reject-with", "tcp-reset"];
                self.filter(&[others, answer].concat());
            }
            Packets::Unplugged => self.ip(&["link", "set", "lo", "down"]),
        }
    }

    /// Over; how many packets it hit (a link that is down counts none).
    pub fn end(&self, packets: Packets) -> u64 {
        match packets {
            Packets::Lost(_) | Packets::Swallowed | Packets::Reset => {
                let counted = self.inside("iptables", &["-w", "-nvxL", "INPUT"]);
                self.inside("iptables", &["-w", "-F", "INPUT"]);
                // Two lines of titles; then the packets are the first column.
                let rule = counted.lines().nth(2).unwrap_or_else(|| panic!("{counted}"));
                rule.split_whitespace().next().unwrap().parse().unwrap()
            }
            Packets::Narrow(_) => {
                let counted = self.inside("tc", &["-s", "qdisc", "show", "dev", "lo"]);
                self.inside("tc", &["qdisc", "del", "dev", "lo", "root"]);
                let dropped =
                    counted.split("(dropped ").nth(1).unwrap_or_else(|| panic!("{counted}"));
                dropped.split(',').next().unwrap().parse().unwrap()
            }
            Packets::Unplugged => {
                self.ip(&["link", "set", "lo", "up"]);
                0
            }
        }
    }

    fn filter(&self, what: &[&str]) {
        self.inside("iptables", &[&["-w", "-A", "INPUT", "-p", "tcp"], what].concat());
    }

    fn ip(&self, arguments: &[&str]) {
        run("ip", &[&["-n", &self.name], arguments].concat());
    }

    fn inside(&self, program: &str, arguments: &[&str]) -> String {
        run("ip", &[&["netns", "exec", &self.name, program], arguments].concat())
    }

    /// The calling thread, and whatever it starts, is in this network from now on.
    fn enter(&self) {
        let path = PathBuf::from("/run/netns").join(&self.name);
        let file = File::open(path).unwrap();
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        drop(Command::new("ip").args(["netns", "del", &self.name]).output());
    }
}
