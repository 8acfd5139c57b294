//! systemd's memory pressure protocol (<https://systemd.io/MEMORY_PRESSURE/>), served to the program.
//!
//! `MEMORY_PRESSURE_WATCH` names a socket. Whoever connects to it gets a byte each time that memory is short, and is to
//! give back what it can spare. What clients write, which for the kernel's own files would be a threshold, is let go of: here
//! the ladder decides.

use std::fs::{Permissions, set_permissions};
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use reprieve_readings::Escaped;

use crate::options::{Options, PressureSocketPlace};
use crate::slots::Slots;

/// The variable that names the socket.
pub(crate) const WATCH: &str = "MEMORY_PRESSURE_WATCH";
/// The variable with what a client writes after it has connected.
pub(crate) const WRITE: &str = "MEMORY_PRESSURE_WRITE";
/// What systemd has clients write, too: `some 200000 2000000` and a NUL, in Base64.
pub(crate) const WRITTEN: &[u8] = b"c29tZSAyMDAwMDAgMjAwMDAwMAA=";

/// The socket and its clients.
#[derive(Debug)]
pub(crate) struct PressureSocket {
    path: PathBuf,
    pub(crate) listener: UnixListener,
    clients: Slots<UnixStream>,
}

/// There are as many clients as can be told.
#[derive(Debug)]
pub(crate) struct TooManyClients;

impl PressureSocket {
    /// Makes the socket if a rung needs it, and nobody else serves the protocol already.
    ///
    /// # Errors
    /// One line that says why it can't be made.
    pub(crate) fn open(options: &Options) -> Result<Option<Self>, String> {
        if !options.any_step(|steps| steps.notify) || std::env::var_os(WATCH).is_some() {
            return Ok(None);
        }
        let directories = match &options.pressure_socket {
            PressureSocketPlace::Off => return Ok(None),
            PressureSocketPlace::In(directory) => vec![directory.clone()],
            PressureSocketPlace::Usual => {
                let own = std::env::var_os("XDG_RUNTIME_DIR").filter(|own| Path::new(own).is_absolute());
                let usual = ["/run", "/dev/shm", "/tmp"].map(PathBuf::from);
                own.map(PathBuf::from).into_iter().chain(usual).collect()
            }
        };
        let mut last = None;
        for directory in &directories {
            match bind_in(directory) {
                Ok((path, listener)) => {
                    listener.set_nonblocking(true).map_err(|error| error.to_string())?;
                    return Ok(Some(PressureSocket { path, listener, clients: Slots::new() }));
                }
                Err(error) => last = Some((directory, error)),
            }
        }
        let shown = |directory: &Path| Escaped(directory.as_os_str().as_bytes()).to_string();
        let last = last.map(|(directory, error)| format!("{}: {error}", shown(directory))).unwrap_or_default();
        Err(format!("no place for the socket of {WATCH} ({last}); --pressure-socket DIR names one"))
    }

    /// The variables that tell the program of it.
    pub(crate) fn variables(&self) -> [(&'static str, &[u8]); 2] {
        [(WATCH, self.path.as_os_str().as_bytes()), (WRITE, WRITTEN)]
    }

    /// Takes a client; returns its number, for `epoll`. `Err` where there are too many: it is turned away.
    pub(crate) fn accept(&mut self) -> Result<Option<(usize, &UnixStream)>, TooManyClients> {
        let Ok((client, _)) = self.listener.accept() else { return Ok(None) };
        if client.set_nonblocking(true).is_err() {
            return Ok(None);
        }
        self.clients.keep(client, None).map(Some).ok_or(TooManyClients)
    }

    /// Lets go of what a client wrote, or of the client.
    pub(crate) fn serve(&mut self, number: usize) {
        let Some(mut client) = self.clients.get(number) else { return };
        match client.read(&mut [0; 256]) {
            Ok(length) if length > 0 => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            _ => self.clients.close(number),
        }
    }

    /// Tells all clients that memory is short; returns how many there are.
    pub(crate) fn notify(&mut self) -> usize {
        let mut told = 0;
        for number in self.clients.numbers() {
            let Some(mut client) = self.clients.get(number) else { continue };
            match client.write(b"\n") {
                Ok(_) => told += 1,
                // It has not read the last one yet, and will.
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => told += 1,
                Err(_) => self.clients.close(number),
            }
        }
        told
    }
}

/// The file goes with the process.
impl Drop for PressureSocket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Containers may share a directory, and all have a process 1: the first free name is taken.
fn bind_in(directory: &Path) -> std::io::Result<(PathBuf, UnixListener)> {
    const NAMES: u32 = 100;
    let mut failed = std::io::Error::from(std::io::ErrorKind::AddrInUse);
    for number in 0..NAMES {
        let path = directory.join(format!("reprieve-init-{}-{number}.socket", std::process::id()));
        match UnixListener::bind(&path) {
            Ok(listener) => {
                // The program may become another user before it connects.
                let _ = set_permissions(&path, Permissions::from_mode(0o666));
                return Ok((path, listener));
            }
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => failed = error,
            Err(error) => return Err(error),
        }
    }
    Err(failed)
}
