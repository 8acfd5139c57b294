//! The first process of a container: it starts the program, passes signals on to it, reaps orphans and exits as the
//! program does, as tini and dumb-init do. It also knows the container's memory: it tells of every kill by the kernel,
//! and climbs a ladder of warnings before one comes.
//!
//! One thread, one `epoll` loop, no signal handlers: `supervisor` is that loop. What is decided about memory is decided in
//! `judgement` (`ladder`, `victims`); each of the other files holds one thing that is done.
//!
//! | file | holds |
//! |---|---|
//! | `arguments`, `options` | the command line and the environment, and what they ask for |
//! | `supervisor` | the loop: signals, children, deadlines |
//! | `main_program` | starting the program, and what it does about a signal |
//! | `memory_watch` | the container's memory: kills counted, the ladder climbed |
//! | `process_table` | the container's processes, for the names of victims and the choice of the next |
//! | `hook`, `readiness`, `pressure_socket` | the steps of the ladder that need something set up |
//! | `termination_log`, `log` | where is told what happened |
//!
//! It keeps still: lines that nobody reads are dropped, sockets never block, and files are written without waiting.

mod arguments;
mod hook;
mod log;
mod main_program;
mod memory_watch;
mod options;
mod pressure_socket;
mod process_table;
mod readiness;
mod slots;
mod supervisor;
mod termination_log;

use std::ffi::OsString;

use arguments::Request;
use log::{Level, Log};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use supervisor::Supervisor;

/// Wrong arguments, or the system did not allow it.
const FAILURE: u8 = 2;

/// Runs what the arguments ask for, without the program's own name; returns the exit code. The process must have one
/// thread only.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    occupy_standard_descriptors();
    match arguments::read(arguments, |name| std::env::var_os(name)) {
        Ok(Request::Print(text)) if print(text.as_bytes()) => 0,
        Ok(Request::Print(_)) => FAILURE,
        Ok(Request::Run(options)) => {
            let most = match options.verbosity {
                0 => Level::Error,
                1 => Level::Warning,
                2 => Level::Info,
                _ => Level::Debug,
            };
            let log = Log::new(options.log_format, most);
            match Supervisor::start(*options, log) {
                Ok(supervisor) => supervisor.run(),
                Err(failure) => {
                    Log::new(failure.format, most).say(Level::Error, format_args!("{}", failure.message));
                    FAILURE
                }
            }
        }
        Err(mistake) => {
            Log::new(log::LogFormat::Text, Level::Error).say(Level::Error, format_args!("{mistake}"));
            FAILURE
        }
    }
}

/// Writes to stdout; whether all was taken.
fn print(mut text: &[u8]) -> bool {
    while !text.is_empty() {
        match rustix::io::write(rustix::stdio::stdout(), text) {
            Ok(length) if length > 0 => text = text.get(length..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            _ => return false,
        }
    }
    true
}

/// Opens what is closed of the descriptors 0 to 2, so that no other file gets their numbers and is written to as stderr.
/// The program finds them as they were.
fn occupy_standard_descriptors() {
    let null = || rustix::fs::open(c"/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty());
    // The lowest free number is taken. Beyond 2, it is closed again.
    while let Ok(opened) = null() {
        if std::os::fd::AsRawFd::as_raw_fd(&opened) > 2 {
            break;
        }
        std::mem::forget(opened);
    }
}
