//! The agent: one loop that reads all cgroups of a node, listens for kills, and tells of both by log and HTTP.
//!
//! The loop (`node_watch`) is a thread of its own and synchronous; it publishes a snapshot after each scan. HTTP runs
//! on the main thread and only ever reads the last snapshot, so a slow scraper can't hold up a kill's log line.

mod aftermath;
mod containers;
mod http;
mod journal;
mod keeper;
mod keeper_acts;
mod keeper_forecasts;
mod keeper_log;
mod kill_book;
mod kill_log;
mod kill_marks;
mod kills;
mod kubelet_settings;
mod log;
mod node;
mod node_watch;
mod problems;
mod processes;
mod shared;
mod snapshot;
mod socket;
mod witnesses;

use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use reprieve_linux::Roots;
use reprieve_readings::Escaped;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

pub use keeper::{EvictionOptions, KeepCache};
pub use kubelet_settings::AskConfiguration;
pub use log::LogFormat;
pub use processes::CommandLines;
pub use reprieve_store::Retention;
pub use socket::{BadRequest, Closing, KillRequest, SOCKET_NAME};

use crate::journal::Journal;
use crate::node_watch::NodeWatch;
use crate::shared::Shared;
use crate::socket::Served;

/// What the agent is to do.
#[derive(Debug, Clone)]
pub struct AgentOptions {
    /// Time from one scan to the next.
    pub interval: Duration,
    /// Where to serve HTTP.
    pub listen: SocketAddr,
    /// How log lines look.
    pub log_format: LogFormat,
    /// Where `/proc` and `/sys` are.
    pub roots: Roots,
    /// How many files of cgroups to keep open at most.
    pub open_files: usize,
    /// Whether to use the kernel's tracepoints, where they are to be had.
    pub trace: bool,
    /// What to keep of the arguments of processes.
    pub command_lines: CommandLines,
    /// Where to keep kills over restarts; `None` where there is no place for them.
    pub state_directory: Option<PathBuf>,
    /// How long to keep kills, and how many.
    pub retention: Retention,
    /// What is known of the kubelet, and what the cache keeper may do.
    pub eviction: EvictionOptions,
}

/// How long to wait at the end for the watch, which may be in the middle of a scan and waits for an act on cache.
const LAST_SCAN: Duration = Duration::from_secs(3);

/// How long to wait at the end for a disk to take what has been told.
const LAST_WRITE: Duration = Duration::from_secs(2);

/// Runs the agent until SIGTERM or SIGINT.
///
/// # Errors
/// There is no memory controller, or the address to listen on can't be had. Nothing that happens later ends the agent.
pub fn run(options: &AgentOptions) -> Result<()> {
    log::start(options.log_format);
    let shared = Shared::new(options.interval);
    let (journal, saved) = Journal::open(options.state_directory.clone(), options.retention);
    let _socket = options.state_directory.as_deref().and_then(|directory| serve_socket(directory, &journal));
    let watch = NodeWatch::open(options, shared.clone(), journal.clone(), saved)?;
    // Its end tells the watch to end.
    let (keep_watching, end) = UnixStream::pair().context("can't make a pair of sockets")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("can't start")?;
    let ended = runtime.block_on(async {
        let listener = TcpListener::bind(options.listen)
            .await
            .with_context(|| format!("can't listen on {}; choose another address with --listen", options.listen))?;
        let address = listener.local_addr().context("can't tell the address listened on")?;
        let mut terminate = signal(SignalKind::terminate()).context("can't wait for SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("can't wait for SIGINT")?;
        tracing::info!(%address, interval = ?options.interval, "reprieve agent is up: metrics at http://{address}/metrics");
        let mut running = start_watch(watch, end)?;
        let ended = tokio::select! {
            served = http::serve(listener, shared) => served.context("HTTP server failed"),
            _ = &mut running => return Err(anyhow!("the watch over the cgroups has ended: this is a bug, please report it")),
            _ = terminate.recv() => Ok(()),
            _ = interrupt.recv() => Ok(()),
        };
        // The watch gives back what it has of the kernel, such as its tracing.
        drop(keep_watching);
        if tokio::time::timeout(LAST_SCAN, running).await.is_err() {
            tracing::warn!("the watch over the cgroups does not end: its tracing goes on until the next start");
        }
        ended
    });
    if !journal.flush(LAST_WRITE) {
        tracing::warn!("the last kills told could not be stored");
    }
    ended
}

/// Serves the socket. An agent without one goes on.
fn serve_socket(directory: &Path, journal: &Journal) -> Option<Served> {
    let path = directory.join(SOCKET_NAME);
    socket::serve(directory, journal.clone())
        .inspect_err(|error| {
            let path = Escaped(path.as_os_str().as_bytes());
            tracing::warn!("`reprieve kills` can't ask this agent: {path}: {error:#}");
        })
        .ok()
}

/// Starts the watch's thread, which goes on until the other side of `end` is closed. The answer resolves when it ends.
fn start_watch(watch: NodeWatch, end: UnixStream) -> Result<oneshot::Receiver<()>> {
    let (alive, ended) = oneshot::channel();
    let run = move || {
        // Dropped when the thread ends, however it ends.
        let _alive: oneshot::Sender<()> = alive;
        watch.run(&end);
    };
    std::thread::Builder::new().name("node-watch".into()).spawn(run).context("can't start a thread")?;
    Ok(ended)
}
