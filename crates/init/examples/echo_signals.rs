//! Prints the number of each signal that it is sent, one a line; ends at SIGTERM. For the tests.
#![allow(clippy::unwrap_used)]

use std::io::Write;
use std::os::fd::AsFd;

use reprieve_linux::SignalQueue;
use reprieve_readings::Signal;
use rustix::event::{PollFd, PollFlags, poll};

fn main() {
    let (signals, _) = SignalQueue::open().unwrap();
    let mut stdout = std::io::stdout();
    writeln!(stdout, "ready").unwrap();
    loop {
        poll(&mut [PollFd::new(&signals.as_fd(), PollFlags::IN)], None).unwrap();
        while let Some(received) = signals.next().unwrap() {
            writeln!(stdout, "{}", received.signal.number()).unwrap();
            if received.signal == Signal::TERM {
                return;
            }
        }
    }
}
