//! The port from which another process sets the behaviour and looks at what was stored.

use std::{
    net::SocketAddr,
    sync::{Arc, Weak},
};

use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use proto::Value;
use serde_json::json;
use tokio::{
    net::{TcpListener, TcpStream},
    time::{Duration, sleep},
};
use tokio_util::task::TaskTracker;

use super::{
    Behaviour, Faulty,
    answer::{Body, Dialect, error, json_body, text_body},
};
use crate::verify::Row;

impl Faulty {
    /// Opens the admin port and serves it until this database is dropped.
    pub async fn admin(self: &Arc<Self>, address: SocketAddr) -> std::io::Result<SocketAddr> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        // Weak: the port must not keep the database alive that it belongs to.
        let accepting = accept(listener, Arc::downgrade(self), self.tasks.clone());
        let closing = self.closing.clone();
        self.tasks.spawn(async move { closing.run_until_cancelled(accepting).await });
        Ok(address)
    }

    async fn manage(
        &self,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, std::convert::Infallible> {
        let path = request.uri().path().to_owned();
        Ok(match (request.method(), path.as_str()) {
            (&Method::GET, "/behaviour") => json_body(StatusCode::OK, &json!(self.behaviour())),
            (&Method::POST, "/behaviour") => self.set_from(request).await,
            (&Method::GET, "/stats") => json_body(StatusCode::OK, &json!(self.stats())),
            (&Method::GET, "/points") => lines(self.rows().iter().map(row_to_json)),
            (&Method::GET, "/changes") => lines(self.changes().into_iter().map(|change| {
                json!({
                    "series": change.series,
                    "time": change.time,
                    "field": change.field,
                    "from": value_to_json(&change.from),
                    "to": value_to_json(&change.to),
                    "request": change.request,
                })
            })),
            _ => wrong(StatusCode::NOT_FOUND, "no such path"),
        })
    }

    async fn set_from(&self, request: Request<Incoming>) -> Response<Body> {
        let body = match Limited::new(request.into_body(), 64 * 1024).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) => return wrong(StatusCode::BAD_REQUEST, &error.to_string()),
        };
        let behaviour: Behaviour = match serde_json::from_slice(&body) {
            Ok(behaviour) => behaviour,
            Err(error) => return wrong(StatusCode::BAD_REQUEST, &error.to_string()),
        };
        match self.set(behaviour).await {
            Ok(()) => json_body(StatusCode::OK, &json!(self.behaviour())),
            Err(error) => wrong(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
        }
    }
}

async fn accept(listener: TcpListener, faulty: Weak<Faulty>, tasks: TaskTracker) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(tasks.spawn(serve(stream, Weak::clone(&faulty)))),
            Err(error) => {
                tracing::warn!(%error, "cannot accept");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// One connection; ends with the database.
async fn serve(stream: TcpStream, faulty: Weak<Faulty>) {
    let Some(closing) = faulty.upgrade().map(|faulty| faulty.closing.clone()) else { return };
    let service = service_fn(|request| {
        let faulty = faulty.upgrade();
        async move {
            match faulty {
                Some(faulty) => faulty.manage(request).await,
                None => Ok(wrong(StatusCode::GONE, "closing")),
            }
        }
    });
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    if let Some(Err(error)) = closing.run_until_cancelled(connection).await {
        tracing::debug!(%error, "admin connection ended");
    }
}

fn wrong(status: StatusCode, text: &str) -> Response<Body> {
    error(Dialect::V2, status, text)
}

fn lines(values: impl Iterator<Item = serde_json::Value>) -> Response<Body> {
    let mut text = String::new();
    for value in values {
        text.push_str(&value.to_string());
        text.push('\n');
    }
    text_body(StatusCode::OK, "application/x-ndjson", text)
}

/// A row as `/points` gives it; each value under its type, for JSON has but one kind of number.
pub(crate) fn row_to_json(row: &Row) -> serde_json::Value {
    let fields: serde_json::Map<_, _> =
        row.fields.iter().map(|(name, value)| (name.clone(), value_to_json(value))).collect();
    json!({
        "measurement": row.measurement,
        "device": row.device,
        "time": row.time,
        "fields": fields,
    })
}

/// The inverse of `row_to_json`.
pub(crate) fn row_from_json(text: &str) -> Option<Row> {
    let json: serde_json::Value = serde_json::from_str(text).ok()?;
    let fields = json.get("fields")?.as_object()?;
    let fields: Option<Vec<_>> =
        fields.iter().map(|(k, v)| Some((k.clone(), value_from_json(v)?))).collect();
    Some(Row {
        measurement: json.get("measurement")?.as_str()?.to_owned(),
        device: json.get("device")?.as_str()?.to_owned(),
        time: json.get("time")?.as_i64()?,
        fields: fields?,
    })
}

fn value_to_json(value: &Value) -> serde_json::Value {
    match value {
        Value::Float(value) => json!({ "float": value }),
        Value::Signed(value) => json!({ "integer": value }),
        Value::Unsigned(value) => json!({ "unsigned": value }),
        Value::Boolean(value) => json!({ "boolean": value }),
        Value::Text(value) => json!({ "string": value }),
    }
}

fn value_from_json(json: &serde_json::Value) -> Option<Value> {
    let (kind, value) = json.as_object()?.iter().next()?;
    match kind.as_str() {
        "float" => value.as_f64().map(Value::Float),
        "integer" => value.as_i64().map(Value::Signed),
        "unsigned" => value.as_u64().map(Value::Unsigned),
        "boolean" => value.as_bool().map(Value::Boolean),
        "string" => value.as_str().map(|text| Value::Text(text.to_owned())),
        _ => None,
    }
}
