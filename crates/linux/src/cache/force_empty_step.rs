//! v1's `memory.force_empty`, cut short as soon as enough is gone.
//!
//! The file takes no amount: a write to it frees until nothing is left. But between two small batches the kernel looks for
//! a signal and then returns (`mem_cgroup_force_empty`, mm/memcontrol-v1.c: `if (signal_pending(current)) return -EINTR`).
//! So a process of its own does the write, and is killed when the cgroup is as small as it is to be. A thread would not do:
//! no signal that does not end the whole process can be sent to one without unsafe code.
//!
//! Nothing goes on when the keeper is gone: the kernel kills the writer with the thread that has started it, and by its
//! limit of processor time also where that thread is stopped.

use std::ffi::OsString;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use reprieve_readings::{CacheMeans, Signal};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit};

use super::{CacheError, CacheTarget, reclaim};
use crate::signals::signal_on_parent_death;

/// Between two looks at how much is gone. Sleeping also gives the processor to the writer where both share one.
const LOOK: Duration = Duration::from_micros(100);
/// A step that has freed too little by then is ended: the kernel waits for a disk.
const LONGEST: Duration = Duration::from_secs(1);
const LONGEST_LINE: u64 = 1000;
/// Processor time after which the kernel ends a writer that nobody has ended.
const LONGEST_UNSEEN: Duration = Duration::from_secs(1);

/// A program that calls [`write_force_empty`] with its last argument.
#[derive(Debug, Clone)]
pub struct ForceEmptyWriter {
    program: PathBuf,
    arguments: Vec<OsString>,
}

impl ForceEmptyWriter {
    /// The program that is running now, called with these arguments and the number of the process that has called it.
    pub fn this_program(arguments: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        // The link works where the file is gone or another one by now.
        ForceEmptyWriter::new("/proc/self/exe", arguments)
    }

    /// A program called with these arguments and the number of the process that has called it.
    pub fn new(program: impl Into<PathBuf>, arguments: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        ForceEmptyWriter { program: program.into(), arguments: arguments.into_iter().map(Into::into).collect() }
    }

    /// Writes until `is_enough`. Returns whether it never was: nothing more could be freed, or not soon.
    pub(super) fn write_until(
        &self,
        target: &CacheTarget,
        mut is_enough: impl FnMut() -> Result<bool, CacheError>,
    ) -> Result<bool, CacheError> {
        let absent = |error: io::Error| CacheError::Absent(CacheMeans::ForceEmptyStep, error.to_string());
        let mut writer = Writing(self.start(reclaim::open_force_empty(target)?).map_err(absent)?);
        let started = Instant::now();
        loop {
            thread::sleep(LOOK);
            let ended = writer.0.try_wait().map_err(absent)?;
            if let Some(status) = ended.filter(|status| !status.success()) {
                return Err(absent(io::Error::other(format!("the writer ended with {status}: {}", writer.said()))));
            }
            if is_enough()? {
                return Ok(false);
            }
            if ended.is_some() || started.elapsed() >= LONGEST {
                return Ok(true);
            }
        }
    }

    fn start(&self, file: OwnedFd) -> io::Result<Child> {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).arg(std::process::id().to_string()).env_clear();
        command.stdin(Stdio::inherit()).stdout(Stdio::from(file)).stderr(Stdio::piped()).spawn()
    }
}

/// A running writer, which is ended when this is dropped.
struct Writing(Child);

impl Writing {
    /// The first line on its stderr, once it has ended.
    fn said(&mut self) -> String {
        let mut said = String::new();
        if let Some(stderr) = self.0.stderr.take() {
            // What can't be read was not said.
            let _ = stderr.take(LONGEST_LINE).read_to_string(&mut said);
        }
        said.lines().next().unwrap_or_default().to_owned()
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        // Not reaped yet, so this is no other process's number. It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What the writer does: writes to its standard output, which is `memory.force_empty`, until `parent` kills it.
///
/// # Errors
/// The kernel does not let it: nothing was written where `parent` is gone already (SRCH).
pub fn write_force_empty(parent: u32) -> Result<(), Errno> {
    let limit = Some(LONGEST_UNSEEN.as_secs());
    rustix::process::setrlimit(Resource::Cpu, Rlimit { current: limit, maximum: limit })?;
    signal_on_parent_death(Signal::KILL)?;
    // It may have ended before that.
    let now = rustix::process::getppid().map_or(0, |pid| pid.as_raw_nonzero().get().unsigned_abs());
    if now != parent {
        return Err(Errno::SRCH);
    }
    rustix::io::write(io::stdout(), b"0").map(drop)
}
