//! Whether the container is ready, told by a file and over HTTP to whoever probes it.
//!
//! A container that is short of memory is taken out of service so that it gets no more work. The HTTP server answers any
//! path with one of two answers and closes; it never waits for anybody.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use crate::options::Options;
use crate::slots::Slots;

/// What a request may take.
const PATIENCE: Duration = Duration::from_secs(2);

const READY: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 6\r\nConnection: close\r\n\r\nready\n";
const NOT_READY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nContent-Length: 10\r\n\
    Connection: close\r\n\r\nnot ready\n";

/// The two ways of telling.
#[derive(Debug)]
pub(crate) struct Readiness {
    file: Option<PathBuf>,
    pub(crate) listener: Option<TcpListener>,
    connections: Slots<TcpStream>,
    ready: bool,
}

impl Readiness {
    /// Opens the port and makes the file.
    ///
    /// # Errors
    /// One line that says what can't be done.
    pub(crate) fn open(options: &Options) -> Result<Self, String> {
        let listener = options.ready_address.map(|address| {
            let listener =
                TcpListener::bind(address).and_then(|listener| listener.set_nonblocking(true).map(|()| listener));
            listener.map_err(|error| format!("--ready-port: can't listen on {address}: {error}"))
        });
        let mut readiness = Readiness {
            file: options.ready_file.clone(),
            listener: listener.transpose()?,
            connections: Slots::new(),
            ready: false,
        };
        readiness.set(true).map_err(|error| format!("--ready-file can't be made: {error}"))?;
        Ok(readiness)
    }

    /// What is said now.
    pub(crate) fn is_ready(&self) -> bool {
        self.ready
    }

    /// Says from now on that the container is ready, or not.
    pub(crate) fn set(&mut self, ready: bool) -> std::io::Result<()> {
        self.ready = ready;
        match &self.file {
            Some(file) if ready => std::fs::OpenOptions::new().create(true).append(true).open(file).map(drop),
            Some(file) => match std::fs::remove_file(file) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
                removed => removed,
            },
            None => Ok(()),
        }
    }

    /// Takes a connection; returns its number, for `epoll`. Those that say nothing give way to it.
    pub(crate) fn accept(&mut self, now: Duration) -> Option<(usize, &TcpStream)> {
        let (connection, _) = self.listener.as_ref()?.accept().ok()?;
        connection.set_nonblocking(true).ok()?;
        self.connections.keep_instead(connection, now.saturating_add(PATIENCE))
    }

    /// Reads from a connection, and answers once the first line has come; anything may stand in it.
    #[inline(never)]
    pub(crate) fn serve(&mut self, number: usize) {
        let Some(mut connection) = self.connections.get(number) else { return };
        let mut request = [0; 4096];
        match connection.read(&mut request) {
            Ok(length) if request.get(..length).is_some_and(|request| request.contains(&b'\n')) => {
                // Both fit into an empty socket's buffer. If not, the probe fails, and comes again.
                let _ = connection.write(if self.ready { READY } else { NOT_READY });
                self.connections.close(number);
            }
            Ok(length) if length > 0 => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            _ => self.connections.close(number),
        }
    }

    pub(crate) fn close_overdue(&mut self, now: Duration) {
        self.connections.close_overdue(now);
    }

    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        self.connections.next_deadline()
    }
}
