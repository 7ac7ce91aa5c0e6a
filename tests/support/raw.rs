//! An HTTP/1.1 client that sends exactly the bytes it is told to, and waits only as long as it is told to.

use std::{fmt::Write as _, time::Duration};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use super::inside::PATIENCE;

pub struct Raw {
    pub stream: TcpStream,
    /// Read, and belonging to the next answer.
    ahead: Vec<u8>,
}

#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }
}

impl Raw {
    pub async fn connect(port: u16) -> Self {
        Self { stream: TcpStream::connect(("127.0.0.1", port)).await.unwrap(), ahead: Vec::new() }
    }

    pub async fn send(&mut self, bytes: &[u8]) {
        timeout(PATIENCE, self.stream.write_all(bytes)).await.expect("not read").unwrap();
    }

    /// A whole request with a body of known length.
    pub async fn request(&mut self, line: &str, headers: &[(&str, &str)], body: &[u8]) {
        let mut head =
            format!("{line} HTTP/1.1\r\nhost: here\r\ncontent-length: {}\r\n", body.len());
        for (name, value) in headers {
            write!(head, "{name}: {value}\r\n").unwrap();
        }
        head.push_str("\r\n");
        self.send(&[head.as_bytes(), body].concat()).await;
    }

    pub async fn answer(&mut self) -> Answer {
        timeout(PATIENCE, self.read_answer()).await.expect("no answer").expect("closed unanswered")
    }

    /// `None`: nothing came in that time.
    pub async fn answer_within(&mut self, time: Duration) -> Option<Answer> {
        timeout(time, self.read_answer())
            .await
            .ok()
            .map(|answer| answer.expect("closed unanswered"))
    }

    /// Reads until the other side closes; what came.
    pub async fn rest(&mut self) -> Vec<u8> {
        let mut bytes = std::mem::take(&mut self.ahead);
        let read = self.stream.read_to_end(&mut bytes);
        match timeout(PATIENCE, read).await.expect("never closed") {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}"),
        }
        bytes
    }

    /// `None` if the connection ends before an answer begins.
    async fn read_answer(&mut self) -> Option<Answer> {
        let head_end = loop {
            if let Some(at) = self.ahead.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            if self.more().await == 0 {
                return None;
            }
        };
        let head: Vec<u8> = self.ahead.drain(..head_end).collect();
        let head = String::from_utf8(head).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut answer = Answer { status, head, body: String::new() };
        let length = answer.header("content-length").map_or(0, |length| length.parse().unwrap());
        while self.ahead.len() < length {
            assert_ne!(self.more().await, 0, "an answer cut off: {answer:?}");
        }
        answer.body = String::from_utf8(self.ahead.drain(..length).collect()).unwrap();
        Some(answer)
    }

    async fn more(&mut self) -> usize {
        let mut buffer = [0; 4096];
        let read = self.stream.read(&mut buffer).await.unwrap_or(0);
        self.ahead.extend_from_slice(&buffer[..read]);
        read
    }
}

/// One request on a connection of its own.
pub async fn ask(port: u16, line: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let mut raw = Raw::connect(port).await;
    raw.request(line, headers, body).await;
    raw.answer().await
}
