//! Starting a child, and waiting for children without blocking and without allocating.
#![allow(unsafe_code, reason = "no safe crate of ours has fork(2), and waitid(2) with the child's pid")]

use std::mem::MaybeUninit;

use reprieve_readings::Signal;
use rustix::io::Errno;
use rustix::process::Pid;

use crate::error::last_errno;

/// What a child did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChildEvent {
    /// Which child.
    pub pid: Pid,
    /// What it did.
    pub what: ChildChange,
}

/// A change of a child's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChildChange {
    /// It ended by itself, with this code.
    Exited(i32),
    /// A signal ended it.
    Killed(Signal),
    /// A signal stopped it.
    Stopped(Signal),
    /// It goes on after a stop.
    Continued,
    /// It is stopped for this process as its debugger: it has asked to be traced by its parent.
    Traced(Signal),
}

/// Starts a child that does `then` and ends with the code that it returns. Both have one thread only, so the child may do
/// whatever its parent may.
pub fn fork(then: impl FnOnce() -> u8) -> Result<Pid, Errno> {
    // SAFETY: with one thread, no lock is held by a thread that the child lacks.
    match unsafe { libc::fork() } {
        0 => {
            let code = then();
            // SAFETY: _exit(2) ends the process; it does not run the parent's exit handlers a second time.
            unsafe { libc::_exit(code.into()) }
        }
        pid => Pid::from_raw(pid).filter(|_| pid > 0).ok_or_else(last_errno),
    }
}

/// The next child that has ended, which stays as it is: its name can still be read. A child that waits for this process
/// as its debugger is among them. `None` where there is none for now, or none at all.
pub fn next_ended_child() -> Result<Option<ChildEvent>, Errno> {
    wait(libc::P_ALL, 0, libc::WEXITED | libc::WNOWAIT)
}

/// Lets go of a child that has ended. `None` where somebody else did.
pub fn reap(pid: Pid) -> Result<Option<ChildEvent>, Errno> {
    wait(libc::P_PID, pid_number(pid), libc::WEXITED)
}

/// Whether a child was stopped, or goes on, since last asked.
pub fn stop_or_continuation(pid: Pid) -> Result<Option<ChildEvent>, Errno> {
    wait(libc::P_PID, pid_number(pid), libc::WSTOPPED | libc::WCONTINUED)
}

/// Lets a child go on that asked to be traced by this process, which is no debugger. It gets the signal that it was
/// stopped for, unless that is the trap of its own `exec`.
pub fn stop_tracing(pid: Pid, signal: Signal) -> Result<(), Errno> {
    let signal = if signal.number() == libc::SIGTRAP { 0 } else { signal.number() };
    let none = std::ptr::null_mut::<libc::c_void>();
    // SAFETY: PTRACE_DETACH takes numbers only, in the places of pointers.
    let done = unsafe { libc::ptrace(libc::PTRACE_DETACH, pid.as_raw_nonzero().get(), none, signal as libc::c_long) };
    if done == 0 { Ok(()) } else { Err(last_errno()) }
}

fn pid_number(pid: Pid) -> libc::id_t {
    pid.as_raw_nonzero().get().unsigned_abs()
}

fn wait(which: libc::idtype_t, id: libc::id_t, options: libc::c_int) -> Result<Option<ChildEvent>, Errno> {
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    loop {
        // SAFETY: the structure is valid for the call, and was zeroed, so that it is initialised either way.
        let done = unsafe { libc::waitid(which, id, info.as_mut_ptr(), options | libc::WNOHANG) };
        match (done, last_errno()) {
            (0, _) => break,
            (_, Errno::INTR) => {}
            (_, Errno::CHILD) => return Ok(None),
            (_, errno) => return Err(errno),
        }
    }
    // SAFETY: zeroed above, and filled by the kernel where there was a child.
    let info = unsafe { info.assume_init() };
    // SAFETY: waitid fills the fields of SIGCHLD, or leaves the zeros.
    let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
    let Some(pid) = Pid::from_raw(pid) else { return Ok(None) };
    let signal = || Signal::new(status).ok_or(Errno::INVAL);
    let what = match info.si_code {
        libc::CLD_KILLED | libc::CLD_DUMPED => ChildChange::Killed(signal()?),
        libc::CLD_STOPPED => ChildChange::Stopped(signal()?),
        libc::CLD_CONTINUED => ChildChange::Continued,
        // The status of a stop at a ptrace event has the event in its upper bits.
        libc::CLD_TRAPPED => ChildChange::Traced(Signal::new(status & 0x7f).ok_or(Errno::INVAL)?),
        _ => ChildChange::Exited(status),
    };
    Ok(Some(ChildEvent { pid, what }))
}
