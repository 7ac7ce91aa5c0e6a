//! Which path leads where, and what is said where none leads.

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    extract::Request,
    http::{Method, Uri},
    response::Response,
    routing::{any, get, post},
};
use hyper_util::service::TowerToHyperService;

use super::{
    Port, influx, readings,
    refusal::{Dialect, Refusal, Why},
    stream, watching,
};

pub(super) type Routes = TowerToHyperService<Router>;

pub(super) fn all(port: &Arc<Port>) -> Routes {
    let routes = Router::new()
        .route("/write", post(influx::write_v1))
        .route("/api/v2/write", post(influx::write_v2))
        .route("/v1/readings", post(readings::post))
        .route("/v1/stream", get(stream::get))
        .route("/ping", get(watching::ping))
        .route("/health", get(watching::health))
        .route("/healthz", get(watching::alive))
        .route("/readyz", get(watching::ready))
        .route("/metrics", get(watching::metrics))
        .route("/query", any(query))
        .fallback(nothing_here)
        .method_not_allowed_fallback(wrong_method)
        .with_state(Arc::clone(port));
    TowerToHyperService::new(routes)
}

/// What most clients of 1.x ask first: `SHOW DATABASES`, `CREATE DATABASE`.
async fn query() -> Response {
    let text = "tidegate takes writes only: send queries to the database that it writes to";
    Refusal::new(Why::NotFound, text).answer(Dialect::V1)
}

async fn nothing_here(uri: Uri) -> Response {
    let path: String = uri.path().chars().take(128).collect();
    let text = format!(
        "tidegate has nothing at {path}: readings go to /write, /api/v2/write, /v1/readings or /v1/stream"
    );
    Refusal::new(Why::NotFound, text).answer(dialect_of(uri.path()))
}

async fn wrong_method(method: Method, request: Request<Body>) -> Response {
    let path = request.uri().path();
    let text = format!("{method} means nothing at {path}");
    Refusal::new(Why::Method, text).answer(dialect_of(path))
}

fn dialect_of(path: &str) -> Dialect {
    match path {
        "/write" | "/query" => Dialect::V1,
        path if path.starts_with("/api/v2/") => Dialect::V2,
        _ => Dialect::Own,
    }
}
