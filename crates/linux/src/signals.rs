//! Taking signals from a queue instead of being interrupted by them, and sending them.
//!
//! A first process blocks every signal and reads them from a `signalfd`: no handler runs, so nothing has to be safe to
//! call at any moment, and a signal that comes before the child is started waits. What was blocked before is given to
//! the child.
#![allow(unsafe_code, reason = "no safe crate of ours has sigprocmask(2) and signalfd(2)")]

use std::fmt;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

use reprieve_readings::Signal;
use rustix::io::Errno;
use rustix::process::Pid;

use crate::error::last_errno;

/// Signals that are blocked.
#[derive(Clone, Copy)]
pub struct SignalMask(libc::sigset_t);

impl fmt::Debug for SignalMask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SignalMask")
    }
}

impl SignalMask {
    /// All signals but the two that glibc keeps for itself (32 and 33), which no other program sends.
    fn all() -> SignalMask {
        let mut set = MaybeUninit::uninit();
        // SAFETY: sigfillset initialises the set that it is given, and fails only for a null pointer.
        let set = unsafe {
            libc::sigfillset(set.as_mut_ptr());
            set.assume_init()
        };
        SignalMask(set)
    }

    /// The same signals without this one.
    fn without(mut self, signal: Signal) -> SignalMask {
        // SAFETY: the set is initialised and valid for the call, which fails only for a number that is no signal's.
        unsafe { libc::sigdelset(&raw mut self.0, signal.number()) };
        self
    }

    /// Blocks these signals and no others, and returns which were blocked before. SIGKILL and SIGSTOP never are.
    pub fn set(&self) -> Result<SignalMask, Errno> {
        let mut before = MaybeUninit::uninit();
        // SAFETY: both sets are valid for the call; the kernel fills the second one when it succeeds.
        let done = unsafe { libc::sigprocmask(libc::SIG_SETMASK, &raw const self.0, before.as_mut_ptr()) };
        if done != 0 {
            return Err(last_errno());
        }
        // SAFETY: the call succeeded, so the set is filled.
        Ok(SignalMask(unsafe { before.assume_init() }))
    }
}

/// Every signal that was sent to this process, one after the other.
#[derive(Debug)]
pub struct SignalQueue(OwnedFd);

/// A signal, and who sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReceivedSignal {
    /// Which.
    pub signal: Signal,
    /// The process that sent it; 0 where that is the kernel, or one outside of the pid namespace.
    pub sender: u32,
}

impl SignalQueue {
    /// Blocks all signals of this process, which must have one thread only, and opens the queue of them. Also returns
    /// which were blocked before. SIGCHLD gets its default: ignored, the kernel would reap children by itself, and tell
    /// nobody.
    pub fn open() -> Result<(SignalQueue, SignalMask), Errno> {
        // SAFETY: the default action is no handler, so nothing of this program is called.
        if unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) } == libc::SIG_ERR {
            return Err(last_errno());
        }
        let all = SignalMask::all();
        let before = all.set()?;
        // SAFETY: the set is valid for the call; −1 asks for a new descriptor.
        let queue = unsafe { libc::signalfd(-1, &raw const all.0, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
        if queue < 0 {
            return Err(last_errno());
        }
        // SAFETY: the kernel has just made the descriptor, and nobody else knows it.
        Ok((SignalQueue(unsafe { OwnedFd::from_raw_fd(queue) }), before))
    }

    /// The next signal, without waiting and without allocating. `None` where there is none.
    pub fn next(&self) -> Result<Option<ReceivedSignal>, Errno> {
        const SIZE: usize = size_of::<libc::signalfd_siginfo>();
        let mut record = [0_u8; SIZE];
        match rustix::io::read(&self.0, &mut record) {
            Ok(SIZE) => {}
            Ok(_) | Err(Errno::AGAIN | Errno::INTR) => return Ok(None),
            Err(errno) => return Err(errno),
        }
        // SAFETY: the record has the size of the structure, of which every bit pattern is valid.
        let record: libc::signalfd_siginfo = unsafe { ptr::read_unaligned(record.as_ptr().cast()) };
        let signal = i32::try_from(record.ssi_signo).ok().and_then(Signal::new);
        Ok(signal.map(|signal| ReceivedSignal { signal, sender: record.ssi_pid }))
    }
}

impl AsFd for SignalQueue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Whom a signal is sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recipient {
    /// One process.
    Process(Pid),
    /// All processes of the group that this process leads.
    Group(Pid),
}

/// Sends a signal. SRCH: there is no such process any more.
pub fn send_signal(recipient: Recipient, signal: Signal) -> Result<(), Errno> {
    let pid = match recipient {
        Recipient::Process(pid) => pid.as_raw_nonzero().get(),
        Recipient::Group(pid) => -pid.as_raw_nonzero().get(),
    };
    // SAFETY: kill(2) takes two numbers and touches no memory.
    if unsafe { libc::kill(pid, signal.number()) } == 0 { Ok(()) } else { Err(last_errno()) }
}

/// Has a signal that stops processes (SIGTSTP, SIGTTIN, SIGTTOU) do so to the group of this process, as a terminal's key
/// would: this process stops too, although it blocks all signals, and the call returns when it goes on. Where no shell
/// would have it go on, the kernel lets nothing happen (an orphaned process group, `kernel/signal.c`; nor to PID 1).
pub fn stop_own_group(signal: Signal) -> Result<(), Errno> {
    let before = SignalMask::all().without(signal).set()?;
    // SAFETY: kill(2) takes two numbers and touches no memory; 0 is the caller's group.
    let sent = if unsafe { libc::kill(0, signal.number()) } == 0 { Ok(()) } else { Err(last_errno()) };
    before.set()?;
    sent
}

/// Has the kernel send this process a signal when its parent ends.
pub fn signal_on_parent_death(signal: Signal) -> Result<(), Errno> {
    // SAFETY: prctl(PR_SET_PDEATHSIG) takes a number and touches no memory.
    if unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, signal.number()) } == 0 { Ok(()) } else { Err(last_errno()) }
}

/// Makes this process the parent of its descendants' orphans, as PID 1 is without asking.
pub fn become_subreaper() -> Result<(), Errno> {
    // SAFETY: prctl(PR_SET_CHILD_SUBREAPER) takes a number and touches no memory.
    if unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1) } == 0 { Ok(()) } else { Err(last_errno()) }
}
