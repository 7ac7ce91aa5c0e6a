//! A wire with deadlines, over pipes and a paused clock.

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::time::sleep;

use super::*;
use crate::listen::memory::Memory;

const DEADLINES: Deadlines = Deadlines {
    head: Duration::from_secs(10),
    idle: Duration::from_secs(75),
    write: Duration::from_secs(30),
    linger: Duration::from_secs(2),
};

fn wire(pipe_bytes: usize) -> (Wire<DuplexStream>, DuplexStream, Control) {
    let (ours, theirs) = duplex(pipe_bytes);
    let control = Control::new();
    (Wire::new(ours, DEADLINES, control.clone()), theirs, control)
}

async fn read_one(wire: &mut Wire<DuplexStream>) -> io::Result<usize> {
    wire.read(&mut [0; 1]).await
}

#[tokio::test(start_paused = true)]
async fn a_head_that_trickles_has_its_deadline_from_accept() {
    let (mut wire, mut peer, _) = wire(64);
    let began = Instant::now();
    let trickle = async {
        loop {
            sleep(Duration::from_secs(3)).await;
            if peer.write_all(b"x").await.is_err() {
                return;
            }
        }
    };
    let read = async {
        loop {
            if let Err(error) = read_one(&mut wire).await {
                return error;
            }
        }
    };
    let error = tokio::select! { error = read => error, () = trickle => unreachable!() };
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert_eq!(began.elapsed(), DEADLINES.head);
}

#[tokio::test(start_paused = true)]
async fn who_is_being_answered_has_no_deadline_and_who_was_answered_a_longer_one() {
    let (mut wire, mut peer, control) = wire(64);
    peer.write_all(b"x").await.unwrap();
    read_one(&mut wire).await.unwrap();
    control.set(Phase::Busy);
    let waited = tokio::time::timeout(Duration::from_hours(1), read_one(&mut wire)).await;
    assert!(waited.is_err(), "a long answer is not the peer's fault");

    control.set(Phase::Idle);
    let began = Instant::now();
    assert_eq!(read_one(&mut wire).await.unwrap(), 0, "closed like by the peer, not an error");
    assert_eq!(began.elapsed(), DEADLINES.idle);

    // The next head has its own deadline, from its first byte.
    peer.write_all(b"x").await.unwrap();
    read_one(&mut wire).await.unwrap();
    let began = Instant::now();
    assert_eq!(read_one(&mut wire).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    assert_eq!(began.elapsed(), DEADLINES.head);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_read_is_cut_off_and_one_that_reads_slowly_is_not() {
    let (mut wire, mut peer, _) = wire(4);
    let slowly = async {
        for _ in 0..20 {
            sleep(DEADLINES.write.mul_f32(0.9)).await;
            peer.read_exact(&mut [0; 4]).await.unwrap();
        }
    };
    let (written, ()) = tokio::join!(wire.write_all(&[7; 80]), slowly);
    written.unwrap();

    wire.write_all(&[7; 4]).await.unwrap(); // The pipe is full now.
    let began = Instant::now();
    let error = wire.write_all(b"x").await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert_eq!(began.elapsed(), DEADLINES.write);
}

#[tokio::test(start_paused = true)]
async fn what_still_comes_in_is_thrown_away_but_not_for_ever() {
    let (mut lingers, mut peer, control) = wire(64);
    control.set_linger(true);
    let began = Instant::now();
    let sends_on = async {
        while peer.write_all(&[0; 64]).await.is_ok() {
            sleep(Duration::from_millis(100)).await;
            if began.elapsed() > Duration::from_mins(1) {
                break;
            }
        }
    };
    let shut = async {
        lingers.shutdown().await.unwrap();
        let took = began.elapsed();
        drop(lingers);
        took
    };
    let (took, ()) = tokio::join!(shut, sends_on);
    assert_eq!(took, DEADLINES.linger);

    // Nobody waits for a peer that hangs up, nor where everything has been read.
    let (mut lingers, peer, control) = wire(64);
    control.set_linger(true);
    drop(peer);
    let began = Instant::now();
    lingers.shutdown().await.unwrap();
    let (mut hurries, _peer, _) = wire(64);
    hurries.shutdown().await.unwrap();
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn what_is_read_and_not_accounted_for_holds_memory() {
    let (mut wire, mut peer, control) = wire(64 * 1024);
    control.set(Phase::Busy);
    let memory = Memory::new(20 * 1024);
    wire.measure(memory.hold_nothing(), 0);
    peer.write_all(&vec![0; 64 * 1024]).await.unwrap();

    let mut buffer = vec![0; 8 * 1024];
    wire.read_exact(&mut buffer).await.unwrap();
    assert!(!wire.holds_for_nothing());
    assert!(memory.hold_nothing().grow_to(20 * 1024), "small messages cost nothing");
    wire.read_exact(&mut buffer).await.unwrap();
    assert!(!memory.hold_nothing().grow_to(5 * 1024), "16 of 20 KiB are held");
    let error = wire.read_exact(&mut buffer).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::OutOfMemory);

    wire.account(24 * 1024);
    assert!(wire.holds_for_nothing());
    wire.give_back();
    assert!(!wire.holds_for_nothing());
    assert!(memory.hold_nothing().grow_to(20 * 1024));
    wire.read_exact(&mut buffer).await.unwrap();
}
