//! `GET /v1/stream`: from a request to a WebSocket.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Request, State},
    response::Response,
};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::handshake::server::create_response_with_body;

use super::{
    Port,
    connection::{Link, Upgrade},
    delivery, readings,
    refusal::{Dialect, Refusal, Why},
};
use crate::listen::ws;

const STREAM_BYTES_MAX: usize = 256;

pub(super) async fn get(State(port): State<Arc<Port>>, request: Request) -> Response {
    upgrade(&port, request).unwrap_or_else(|refusal| refusal.answer(Dialect::Own))
}

/// Refused like any request while nothing can be taken: the device comes back later.
fn upgrade(port: &Port, mut request: Request) -> Result<Response, Refusal> {
    let answer = create_response_with_body(&request, Body::empty).map_err(|error| {
        Refusal::new(Why::Upgrade, format!("this is a WebSocket (version 13): {error}"))
    })?;
    let readings::Parameters { device, stream, from } = readings::parameters(&request)?;
    delivery::may_take(port)?;
    let numbered = numbered(port, stream, from)?;
    let upgraded = hyper::upgrade::on(&mut request);
    let link = request
        .extensions()
        .get::<Link>()
        .ok_or_else(|| Refusal::new(Why::Upgrade, "this connection cannot become a WebSocket"))?;
    link.become_websocket(Upgrade { device, numbered, upgraded });
    Ok(answer)
}

fn numbered(
    port: &Port,
    stream: Option<String>,
    from: Option<u64>,
) -> Result<Option<ws::Numbered>, Refusal> {
    let wrong = |text| Err(Refusal::new(Why::Query, text));
    let from = match (&stream, from) {
        (None, None) => return Ok(None),
        (None, Some(_)) => return wrong("`from` needs a `stream` that it counts in"),
        (Some(_), Some(0)) => return wrong("`from` counts from 1"),
        (Some(_), from) => from.unwrap_or(1),
    };
    let name = stream.unwrap_or_default();
    if name.is_empty() || name.len() > STREAM_BYTES_MAX {
        return wrong("the name of a `stream` has 1 to 256 bytes");
    }
    let Some(stream) = port.intake.resends().stream(&name, Instant::now()) else {
        return Err(Refusal::new(Why::Busy, "the stream's last connection is still at work"));
    };
    Ok(Some(ws::Numbered { stream, from }))
}
