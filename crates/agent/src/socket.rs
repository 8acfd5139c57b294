//! The agent's socket: who may read the state directory asks for kills there, and gets lines of JSON.
//!
//! Plain threads, one a connection, and few of them. A reader that is slow or dead is let go after some seconds and holds
//! nothing up: what it gets is read a page at a time, and what it follows waits in a bounded queue.

mod answer;
mod protocol;
#[cfg(test)]
mod tests;

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};

pub use self::protocol::{BadRequest, Closing, KillRequest, SOCKET_NAME};
use crate::journal::Journal;

/// A socket that is served. It is removed when this is dropped; those who are connected stay so.
#[derive(Debug)]
pub(crate) struct Served {
    path: PathBuf,
    inode: u64,
}

/// How much a reader may ask of the agent.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    connections: usize,
    /// How long to wait for a reader to ask, or to take what it asked for.
    patience: Duration,
}

const BOUNDS: Bounds = Bounds { connections: 8, patience: Duration::from_secs(10) };

/// Serves the socket of a state directory from a thread of its own.
///
/// # Errors
/// Another agent serves it, something else has its name, or the directory can't be written.
pub(crate) fn serve(directory: &Path, journal: Journal) -> Result<Served> {
    serve_within(directory, journal, BOUNDS)
}

fn serve_within(directory: &Path, journal: Journal, bounds: Bounds) -> Result<Served> {
    let path = directory.join(SOCKET_NAME);
    clear(&path)?;
    let listener = bind(&path).context("can't be made")?;
    let inode = fs::symlink_metadata(&path).context("is gone")?.ino();
    let run = move || accept(&listener, &journal, bounds);
    std::thread::Builder::new().name("socket".into()).spawn(run).context("can't start a thread")?;
    Ok(Served { path, inode })
}

impl Drop for Served {
    fn drop(&mut self) {
        // Another agent may have put its own there.
        if fs::symlink_metadata(&self.path).is_ok_and(|there| there.ino() == self.inode) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Makes sure that nobody lives at that path.
fn clear(path: &Path) -> Result<()> {
    let there = match fs::symlink_metadata(path) {
        Ok(there) => there,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    if !there.file_type().is_socket() {
        bail!("something else has that name: move it away");
    }
    match UnixStream::connect(path) {
        Ok(_) => bail!("another agent serves it: end that one, or choose another --state-dir"),
        // Nobody has it open: the agent that made it was killed.
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Binds beside it and takes the place in one step: nobody can connect before only the owner may.
fn bind(path: &Path) -> io::Result<UnixListener> {
    let beside = path.with_extension("new");
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&beside)?;
    fs::set_permissions(&beside, fs::Permissions::from_mode(0o600))?;
    fs::rename(&beside, path)?;
    Ok(listener)
}

fn accept(listener: &UnixListener, journal: &Journal, bounds: Bounds) {
    let open = Arc::new(AtomicUsize::new(0));
    for connection in listener.incoming() {
        // Out of descriptors: the next one may find some.
        let Ok(stream) = connection else {
            std::thread::sleep(Duration::from_millis(100));
            continue;
        };
        let place = Place::take(&open);
        if place.number > bounds.connections {
            answer::refuse(&stream);
            continue;
        }
        let journal = journal.clone();
        let patience = bounds.patience;
        let run = move || {
            let _place = place;
            // It has gone, or is too slow: it will ask again.
            let _ = answer::answer(&stream, &journal, patience);
        };
        // Without a thread the connection closes, and the reader sees that.
        let _ = std::thread::Builder::new().name("socket reader".into()).spawn(run);
    }
}

/// One of the places for connections, free again when this is dropped.
struct Place {
    open: Arc<AtomicUsize>,
    number: usize,
}

impl Place {
    fn take(open: &Arc<AtomicUsize>) -> Self {
        Place { open: Arc::clone(open), number: open.fetch_add(1, Ordering::AcqRel) + 1 }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::AcqRel);
    }
}
