//! Which process group a terminal's keys signal.
//!
//! The kernel shows a group of an outer pid namespace as 0, which no safe crate of ours takes for a group.
#![allow(unsafe_code, reason = "getpgid(2) and tcgetpgrp(3) of groups that have no number here")]

use std::os::fd::{AsFd, AsRawFd};

use rustix::process::Pid;

/// Makes the group that `to` leads the terminal's foreground group, if the group of `from` is so far: whoever is in the
/// background must not take the terminal from others. Returns whether it was done.
pub fn hand_over_terminal(terminal: impl AsFd, from: Pid, to: Pid) -> bool {
    // SAFETY: getpgid(2) takes and returns a number.
    let owner = unsafe { libc::getpgid(from.as_raw_nonzero().get()) };
    // SAFETY: tcgetpgrp(3) takes a descriptor, which is open, and returns a number.
    let foreground = unsafe { libc::tcgetpgrp(terminal.as_fd().as_raw_fd()) };
    // −1 is a failure: no terminal, or not this session's.
    owner >= 0 && owner == foreground && rustix::termios::tcsetpgrp(terminal, to).is_ok()
}

/// Makes the group of this process the terminal's foreground group, if it is the one that `from` leads, or led.
pub fn take_back_terminal(terminal: impl AsFd, from: Pid) -> bool {
    let terminal = terminal.as_fd().as_raw_fd();
    // SAFETY: these take a descriptor, which is open, and numbers, and return numbers.
    unsafe {
        libc::tcgetpgrp(terminal) == from.as_raw_nonzero().get() && libc::tcsetpgrp(terminal, libc::getpgrp()) == 0
    }
}

/// Whether a descriptor is the terminal that controls this process's session.
pub fn is_own_terminal(descriptor: impl AsFd) -> bool {
    // SAFETY: tcgetpgrp(3) takes a descriptor, which is open, and returns a number; −1 for any other terminal or file.
    unsafe { libc::tcgetpgrp(descriptor.as_fd().as_raw_fd()) >= 0 }
}
