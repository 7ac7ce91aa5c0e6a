//! A device on the gateway's WebSocket, `GET /v1/stream?device=`: one reading a message, text for
//! JSON, binary for frames.
//!
//! The gateway counts messages from 1. `{"ack":7}` answers messages 1 to 7, except those a
//! `{"nack":5,"reason":"..","retry":true}` has named before.

use std::{collections::VecDeque, io, time::Duration};

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use serde::Deserialize;
use tokio::{
    net::TcpStream,
    time::{Instant, sleep_until, timeout},
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Error, Message},
};

use super::{Connected, Ended, Next, Runner};
use crate::payload::{self, Encoding};

const CONNECT_MAX: Duration = Duration::from_secs(10);
const WRITE_MAX: Duration = Duration::from_secs(30);
const GOODBYE_MAX: Duration = Duration::from_secs(1);
/// After a "not now": a constrained device does not ask again at once.
const RETRY_WAIT: Duration = Duration::from_millis(500);
/// A gateway that says nothing for so long is asked whether it is there, and left after as long
/// again.
const SILENCE_MAX: Duration = Duration::from_secs(30);
const UNANSWERED_MAX: usize = 64;

type Stream = WebSocketStream<MaybeTlsStream<TcpStream>>;

pub(super) async fn session(runner: &mut Runner) -> io::Result<Ended> {
    let url = runner.shared.gateway.stream_url(&runner.device.name);
    let mut stream = match timeout(CONNECT_MAX, connect_async(url)).await {
        Ok(Ok((stream, _))) => stream,
        Ok(Err(error)) => return Ok(Ended::Failed(error.to_string())),
        Err(_) => return Ok(Ended::Failed("no answer to the handshake".to_owned())),
    };
    let _connected = Connected::new(&runner.shared.watch);
    runner.backoff.reset();
    let mut numbers = Numbers::default();
    let mut quiet_until = Instant::now();
    let mut silence = Silence { asked: false, until: Instant::now() + SILENCE_MAX };
    let leave_at = runner.leave_at();
    while !runner.is_finished() {
        let next = if Instant::now() < quiet_until {
            Next::At(runner.now_ns() + i64::try_from(RETRY_WAIT.as_nanos()).unwrap_or(i64::MAX))
        } else {
            match send(runner, &mut stream, &mut numbers).await? {
                Ok(next) => next,
                Err(why) => return Ok(Ended::Failed(why)),
            }
        };
        let received = tokio::select! {
            received = stream.next() => received,
            () = runner.due(next) => continue,
            () = sleep_until(silence.until) => {
                let ping = timeout(WRITE_MAX, stream.send(Message::Ping(Bytes::new())));
                if silence.asked || !matches!(ping.await, Ok(Ok(()))) {
                    return Ok(Ended::Failed("the gateway says nothing".to_owned()));
                }
                silence = Silence { asked: true, until: Instant::now() + SILENCE_MAX };
                continue;
            }
            () = sleep_until(leave_at) => return Ok(Ended::Left),
        };
        silence = Silence { asked: false, until: Instant::now() + SILENCE_MAX };
        let text = match received {
            Some(Ok(Message::Text(text))) => text,
            Some(Ok(Message::Close(_))) | None => {
                return Ok(Ended::Failed("closed by the gateway".to_owned()));
            }
            Some(Ok(_)) => continue,
            Some(Err(error)) => return Ok(Ended::Failed(error.to_string())),
        };
        match serde_json::from_str::<Answer>(&text) {
            Ok(answer) => {
                if answered(runner, &mut numbers, &answer)? {
                    quiet_until = Instant::now() + RETRY_WAIT;
                }
            }
            Err(error) => return Ok(Ended::Failed(format!("not an answer: {text}: {error}"))),
        }
    }
    // The answer to a close frame is the other side's business.
    drop(timeout(GOODBYE_MAX, stream.close(None)).await);
    Ok(Ended::Finished)
}

async fn send(
    runner: &mut Runner,
    stream: &mut Stream,
    numbers: &mut Numbers,
) -> io::Result<Result<Next, String>> {
    let room = UNANSWERED_MAX.saturating_sub(numbers.unanswered.len());
    if room == 0 {
        return Ok(Ok(Next::Full));
    }
    let (seqs, next) = runner.take(room)?;
    let mut messages = Vec::with_capacity(seqs.len());
    for seq in seqs {
        let mut bytes = Vec::with_capacity(256);
        payload::encode(&runner.device, &[seq], runner.group.encoding, &mut bytes);
        messages.push(message(bytes, runner.group.encoding)?);
        numbers.sent(seq);
    }
    let sending = async {
        for message in messages {
            stream.feed(message).await?;
        }
        stream.flush().await
    };
    Ok(match timeout(WRITE_MAX, sending).await {
        Ok(Ok(())) if numbers.unanswered.len() >= UNANSWERED_MAX => Ok(Next::Full),
        Ok(Ok(())) => Ok(next),
        Ok(Err(error)) => Err::<Next, Error>(error).map_err(|e| e.to_string()),
        Err(_) => Err("the gateway does not read".to_owned()),
    })
}

fn message(bytes: Vec<u8>, encoding: Encoding) -> io::Result<Message> {
    match encoding {
        Encoding::Frame => Ok(Message::binary(bytes)),
        Encoding::Json | Encoding::Line => {
            String::from_utf8(bytes).map(Message::text).map_err(io::Error::other)
        }
    }
}

/// True if the gateway asked for patience.
fn answered(runner: &mut Runner, numbers: &mut Numbers, answer: &Answer) -> io::Result<bool> {
    match answer {
        Answer::Ack { ack } => {
            runner.acknowledged(&numbers.acknowledged(*ack))?;
            Ok(false)
        }
        Answer::Nack { nack, reason, retry } => {
            let Some(seq) = numbers.refused(*nack) else { return Ok(false) };
            if *retry {
                runner.shared.watch.deferred();
                runner.outbox.retry(seq);
            } else {
                runner.refused(&[seq], reason)?;
            }
            Ok(*retry)
        }
    }
}

struct Silence {
    asked: bool,
    until: Instant,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Answer {
    Ack {
        ack: u64,
    },
    Nack {
        nack: u64,
        #[serde(default)]
        reason: String,
        #[serde(default)]
        retry: bool,
    },
}

/// Which reading is which message on this connection.
#[derive(Debug, Default)]
struct Numbers {
    /// The number of the last message before the oldest that is not answered.
    answered: u64,
    /// Readings of the messages after that, `None` where a `nack` took it out.
    unanswered: VecDeque<Option<u64>>,
}

impl Numbers {
    fn sent(&mut self, seq: u64) {
        self.unanswered.push_back(Some(seq));
    }

    fn acknowledged(&mut self, up_to: u64) -> Vec<u64> {
        let mut seqs = Vec::new();
        while self.answered < up_to
            && let Some(slot) = self.unanswered.pop_front()
        {
            self.answered += 1;
            seqs.extend(slot);
        }
        seqs
    }

    fn refused(&mut self, number: u64) -> Option<u64> {
        let place = number.checked_sub(self.answered + 1)?;
        let seq = self.unanswered.get_mut(usize::try_from(place).ok()?)?.take();
        // An `ack` need not come after it, if it was the last message.
        while self.unanswered.front().is_some_and(Option::is_none) {
            self.unanswered.pop_front();
            self.answered += 1;
        }
        seq
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ack_answers_all_before_it_except_what_was_nacked() {
        let mut numbers = Numbers::default();
        for seq in [30, 31, 32, 33] {
            numbers.sent(seq);
        }
        assert_eq!(numbers.refused(2), Some(31));
        assert_eq!(numbers.refused(2), None);
        assert_eq!(numbers.acknowledged(3), [30, 32]);
        assert_eq!(numbers.refused(3), None, "answered before");
        assert_eq!(numbers.acknowledged(3), Vec::<u64>::new());
        assert_eq!(numbers.acknowledged(99), [33], "no more than was sent");
    }

    #[test]
    fn messages_that_were_all_nacked_leave_room_without_an_ack() {
        let mut numbers = Numbers::default();
        for seq in [30, 31, 32] {
            numbers.sent(seq);
        }
        assert_eq!((numbers.refused(2), numbers.unanswered.len()), (Some(31), 3));
        assert_eq!((numbers.refused(1), numbers.unanswered.len()), (Some(30), 1));
        assert_eq!(numbers.refused(3), Some(32));
        assert!(numbers.unanswered.is_empty());
        numbers.sent(33);
        assert_eq!(numbers.acknowledged(3), Vec::<u64>::new(), "an ack that comes late");
        assert_eq!(numbers.acknowledged(4), [33]);
    }

    #[test]
    fn reads_both_answers() {
        let ack = serde_json::from_str(r#"{"ack":7}"#).unwrap();
        assert!(matches!(ack, Answer::Ack { ack: 7 }));
        let nack = serde_json::from_str(r#"{"nack":5,"reason":"full","retry":true}"#).unwrap();
        assert!(matches!(nack, Answer::Nack { nack: 5, retry: true, .. }));
        assert!(serde_json::from_str::<Answer>(r#"{"hello":1}"#).is_err());
    }
}
