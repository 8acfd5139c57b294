//! The agent's HTTP: `/metrics` for Prometheus, `/healthz` and `/readyz` for the kubelet's probes.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
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
use tokio::sync::oneshot;

use crate::shared::Shared;

/// Serves until the listener fails.
pub(crate) async fn serve(listener: TcpListener, shared: Shared) -> std::io::Result<()> {
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .with_state(shared);
    axum::serve(BoundedListener::new(listener), router).await
}

/// Accepts connections and keeps a bounded number of them: each may hold a whole answer, and takes a descriptor. Another one
/// ends the oldest, so that clients who only hold connections open keep nobody out.
struct BoundedListener {
    listener: TcpListener,
    /// What ends a connection when it is dropped, in the order in which they came.
    open: VecDeque<oneshot::Sender<Infallible>>,
}

impl BoundedListener {
    /// Enough for a few scrapers and the kubelet's probes.
    const CONNECTIONS: usize = 32;

    fn new(listener: TcpListener) -> Self {
        BoundedListener { listener, open: VecDeque::new() }
    }

    fn keep(&mut self, stream: TcpStream) -> BoundedStream {
        self.open.retain(|connection| !connection.is_closed());
        if self.open.len() >= Self::CONNECTIONS {
            self.open.pop_front();
        }
        let (end, ended) = oneshot::channel();
        self.open.push_back(end);
        BoundedStream { stream, ended }
    }
}

impl Listener for BoundedListener {
    type Io = BoundedStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        // Waits and tries again where the system refuses, for want of descriptors for example.
        let (stream, address) = Listener::accept(&mut self.listener).await;
        (self.keep(stream), address)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

/// A connection, until the listener ends it for the sake of another.
struct BoundedStream {
    stream: TcpStream,
    ended: oneshot::Receiver<Infallible>,
}

impl BoundedStream {
    /// Fails where it is ended; if not, the task is woken when it is.
    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        match Pin::new(&mut self.ended).poll(context) {
            Poll::Ready(_) => Err(io::ErrorKind::ConnectionAborted.into()),
            Poll::Pending => Ok(()),
        }
    }
}

impl AsyncRead for BoundedStream {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl AsyncWrite for BoundedStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        self.check(context)?;
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
