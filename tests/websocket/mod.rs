//! Does the stream take what it should, number its answers, and acknowledge only what is durable?

mod ends;
mod full;
mod stream;

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Error, Message, protocol::CloseFrame},
};

use crate::support::inside::PATIENCE;

/// A client that somebody else wrote.
pub struct Device(WebSocketStream<TcpStream>);

impl Device {
    pub async fn connect(port: u16, query: &str) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let url = format!("ws://127.0.0.1:{port}/v1/stream{query}");
        Self(client_async(url, stream).await.unwrap().0)
    }

    pub async fn send(&mut self, text: &str) {
        self.say(Message::text(text)).await;
    }

    pub async fn say(&mut self, message: Message) {
        timeout(PATIENCE, self.0.send(message)).await.expect("not read").unwrap();
    }

    /// The next answer; pings and pongs pass by.
    pub async fn answer(&mut self) -> Value {
        let answer = self.next_within(PATIENCE).await.expect("no answer");
        match answer {
            Ok(Message::Text(text)) => serde_json::from_str(&text).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    pub async fn next_within(&mut self, time: Duration) -> Option<Result<Message, Error>> {
        let next = async {
            loop {
                match self.0.next().await {
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    Some(other) => return other,
                    None => return Err(Error::ConnectionClosed),
                }
            }
        };
        timeout(time, next).await.ok()
    }

    /// Until the message of this number is acknowledged; the nacks on the way.
    pub async fn acked(&mut self, number: u64) -> Vec<Value> {
        let mut nacks = Vec::new();
        loop {
            let answer = self.answer().await;
            match answer["ack"].as_u64() {
                Some(ack) if ack >= number => return nacks,
                Some(_) => {}
                None => nacks.push(answer),
            }
        }
    }

    /// A ping comes back, whatever else comes before it.
    pub async fn ping(&mut self) {
        self.say(Message::Ping("are you there".into())).await;
        let pong =
            async { while !matches!(self.0.next().await.unwrap().unwrap(), Message::Pong(_)) {} };
        timeout(PATIENCE, pong).await.expect("no pong");
    }

    /// The goodbye of the other side, and what it said before.
    pub async fn goodbye(&mut self) -> (Vec<Value>, u16, String) {
        let mut before = Vec::new();
        loop {
            match self.next_within(PATIENCE).await.expect("no goodbye").unwrap() {
                Message::Text(text) => before.push(serde_json::from_str(&text).unwrap()),
                Message::Close(Some(CloseFrame { code, reason })) => {
                    return (before, code.into(), reason.to_string());
                }
                other => panic!("{other:?}"),
            }
        }
    }
}
