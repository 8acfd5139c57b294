//! Why the kernel's tracepoints can't be used, and what would help.

use reprieve_readings::ParseError;
use rustix::io::Errno;

/// Why nothing can be traced here.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// There is no tracefs below this `/sys`, and none of our own may be mounted.
    #[error("no tracefs at {path}: mount it there; in a container, mount the host's")]
    Absent {
        /// Where it should be.
        path: String,
    },
    /// There is none, and the kernel refused a mount.
    #[error("no tracefs at {path}, and mounting one is refused ({errno}): mount it there, or grant CAP_SYS_ADMIN")]
    MountRefused {
        /// Where it should be.
        path: String,
        /// What the kernel answered.
        errno: Errno,
    },
    /// It is there, but may not be used.
    #[error(
        "{path}: {errno}; tracing takes root and a tracefs mounted read-write, or CAP_SYS_ADMIN to mount one; a kernel in \
         lockdown (confidentiality) refuses it to all"
    )]
    Denied {
        /// What was tried.
        path: String,
        /// What the kernel answered.
        errno: Errno,
    },
    /// The kernel doesn't have what is needed.
    #[error("{path}: {errno}; the kernel lacks the tracepoint {tracepoint}")]
    NoTracepoint {
        /// The file that is missing.
        path: String,
        /// What the kernel answered.
        errno: Errno,
        /// The tracepoint.
        tracepoint: String,
    },
    /// The kernel describes its events in a way that is not understood.
    #[error("{path}: {error}")]
    Unknown {
        /// The file.
        path: String,
        /// What is wrong with it.
        error: ParseError,
    },
    /// The pages of this machine can't be read.
    #[error("reading the kernel's trace is not supported on big-endian machines")]
    BigEndian,
    /// Anything else.
    #[error("{path}: {errno}")]
    Other {
        /// What was tried.
        path: String,
        /// What the kernel answered.
        errno: Errno,
    },
}

impl TraceError {
    pub(super) fn new(path: String, errno: Errno) -> Self {
        match errno {
            Errno::PERM | Errno::ACCESS | Errno::ROFS => TraceError::Denied { path, errno },
            _ => TraceError::Other { path, errno },
        }
    }
}
