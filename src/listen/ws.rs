//! `/v1/stream`: the WebSocket.
