//! The agent's HTTP: `/metrics` for Prometheus, `/healthz` and `/readyz` for the kubelet's probes.

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use reprieve_report::{ExpositionFormat, expose};
use tokio::net::TcpListener;

use crate::shared::Shared;

/// Serves until the listener fails.
pub(crate) async fn serve(listener: TcpListener, shared: Shared) -> std::io::Result<()> {
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .with_state(shared);
    axum::serve(listener, router).await
}

async fn metrics(State(shared): State<Shared>, headers: HeaderMap) -> Response {
    let Some(snapshot) = shared.latest() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "the first scan is not finished\n").into_response();
    };
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let format = ExpositionFormat::accepted(accept);
    match expose(&snapshot, format) {
        Ok(exposition) => ([(header::CONTENT_TYPE, format.content_type())], exposition).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

/// Healthy as long as scans go on: a restart would help if they stopped.
async fn healthz(State(shared): State<Shared>) -> (StatusCode, &'static str) {
    if shared.is_stale() { (StatusCode::SERVICE_UNAVAILABLE, "scans have stopped\n") } else { (StatusCode::OK, "ok\n") }
}

/// Ready as soon as there is something to tell.
async fn readyz(State(shared): State<Shared>) -> (StatusCode, &'static str) {
    match shared.latest() {
        None => (StatusCode::SERVICE_UNAVAILABLE, "the first scan is not finished\n"),
        Some(_) if shared.is_stale() => (StatusCode::SERVICE_UNAVAILABLE, "scans have stopped\n"),
        Some(_) => (StatusCode::OK, "ok\n"),
    }
}
