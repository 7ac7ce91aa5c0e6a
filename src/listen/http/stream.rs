//! `GET /v1/stream`: from a request to a WebSocket.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Request, State},
    response::Response,
};
use tokio_tungstenite::tungstenite::handshake::server::create_response_with_body;

use super::{
    Port,
    connection::{Link, Upgrade},
    delivery, readings,
    refusal::{Dialect, Refusal, Why},
};

pub(super) async fn get(State(port): State<Arc<Port>>, request: Request) -> Response {
    upgrade(&port, request).unwrap_or_else(|refusal| refusal.answer(Dialect::Own))
}

/// Refused like any request while nothing can be taken: the device comes back later.
fn upgrade(port: &Port, mut request: Request) -> Result<Response, Refusal> {
    let answer = create_response_with_body(&request, Body::empty).map_err(|error| {
        Refusal::new(Why::Upgrade, format!("this is a WebSocket (version 13): {error}"))
    })?;
    let device = readings::parameters(&request)?.device;
    delivery::may_take(port)?;
    let upgraded = hyper::upgrade::on(&mut request);
    let link = request
        .extensions()
        .get::<Link>()
        .ok_or_else(|| Refusal::new(Why::Upgrade, "this connection cannot become a WebSocket"))?;
    link.become_websocket(Upgrade { device, upgraded });
    Ok(answer)
}
