//! The agent's HTTP: `/metrics` for Prometheus, `/healthz` and `/readyz` for the kubelet's probes.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::serve::Listener;
use reprieve_report::{ExpositionFormat, expose};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::shared::Shared;

/// Serves until the listener fails.
pub(crate) async fn serve(listener: TcpListener, shared: Shared) -> std::io::Result<()> {
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .with_state(shared);
    axum::serve(LimitedListener::new(listener), router).await
}

/// Accepts a bounded number of connections at a time: each may hold a whole answer, and takes a descriptor.
struct LimitedListener {
    listener: TcpListener,
    free: Arc<Semaphore>,
}

impl LimitedListener {
    /// Enough for a few scrapers and the kubelet's probes.
    const CONNECTIONS: usize = 32;

    fn new(listener: TcpListener) -> Self {
        LimitedListener { listener, free: Arc::new(Semaphore::new(Self::CONNECTIONS)) }
    }
}

impl Listener for LimitedListener {
    type Io = LimitedStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        // The semaphore is never closed; if it were, the bound would be gone and nothing else.
        let place = Arc::clone(&self.free).acquire_owned().await.ok();
        // Waits and tries again where the system refuses, for want of descriptors for example.
        let (stream, address) = Listener::accept(&mut self.listener).await;
        (LimitedStream { stream, _place: place }, address)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

/// A connection that gives its place back when it ends.
struct LimitedStream {
    stream: TcpStream,
    _place: Option<OwnedSemaphorePermit>,
}

impl AsyncRead for LimitedStream {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl AsyncWrite for LimitedStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, from)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
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
