//! A GET whose answer is read line by line: as long as it likes, a bounded part of it in memory.

use std::{io, time::Duration};

use bytes::{Buf as _, Bytes, BytesMut};
use http::{Request, Response};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio::time::timeout;

/// Longest wait for the next piece of an answer: a database may think long before the first.
const SILENCE_MAX: Duration = Duration::from_mins(2);
const LINE_BYTES_MAX: usize = 256 * 1024 * 1024;
const ERROR_BYTES_MAX: usize = 64 * 1024;

pub(super) struct Lines {
    body: Incoming,
    buffer: BytesMut,
    ended: bool,
}

/// An error if the answer is not 200; its body is in the error's text.
pub(super) async fn get(url: &str, authorization: Option<&str>) -> io::Result<Lines> {
    let client: Client<HttpConnector, Empty<Bytes>> =
        Client::builder(TokioExecutor::new()).build_http();
    let mut request = Request::get(url);
    if let Some(authorization) = authorization {
        request = request.header(http::header::AUTHORIZATION, authorization);
    }
    let request = request.body(Empty::new()).map_err(io::Error::other)?;
    let response =
        timeout(SILENCE_MAX, client.request(request)).await?.map_err(io::Error::other)?;
    if response.status() != http::StatusCode::OK {
        return Err(refused(response).await);
    }
    Ok(Lines { body: response.into_body(), buffer: BytesMut::new(), ended: false })
}

async fn refused(response: Response<Incoming>) -> io::Error {
    let status = response.status();
    let body = Limited::new(response.into_body(), ERROR_BYTES_MAX).collect();
    let text = match timeout(SILENCE_MAX, body).await {
        Ok(Ok(body)) => String::from_utf8_lossy(&body.to_bytes()).into_owned(),
        _ => String::new(),
    };
    io::Error::other(format!("{status}: {text}"))
}

impl Lines {
    /// The next line that is not empty, without its newline.
    pub(super) async fn next(&mut self) -> io::Result<Option<Bytes>> {
        let mut searched = 0;
        loop {
            let unread = self.buffer.get(searched..).unwrap_or_default();
            if let Some(at) = unread.iter().position(|&b| b == b'\n') {
                let line = self.buffer.split_to(searched + at).freeze();
                self.buffer.advance(1);
                searched = 0;
                if !line.trim_ascii().is_empty() {
                    return Ok(Some(line));
                }
                continue;
            }
            searched = self.buffer.len();
            if self.ended {
                let rest = self.buffer.split().freeze();
                return Ok(Some(rest).filter(|rest| !rest.trim_ascii().is_empty()));
            }
            if searched > LINE_BYTES_MAX {
                return Err(io::Error::other("a line of the answer is too long"));
            }
            match timeout(SILENCE_MAX, self.body.frame()).await? {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
                Some(Err(error)) => return Err(io::Error::other(error)),
                None => self.ended = true,
            }
        }
    }
}
