//! The files of one process below `/proc`, read without allocating: a first process reads them while memory is short.
//! What has a large buffer is never inlined: the buffer would lie on the caller's frame all the time.

use std::ffi::CStr;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use reprieve_readings::{
    Bytes, CgroupVersion, ProcessName, ProcessStat, Signal, SignalSets, is_signalfd_for, parse_cgroup_procs,
    parse_resident,
};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::path::DecInt;

use crate::file;

/// More than `/proc/PID/status` is, whose only long line is `Groups`.
const LARGEST: usize = 4096;

/// The list of a cgroup's processes.
#[derive(Debug)]
pub enum ProcessList {
    /// Kept open: the kernel charges whoever opens a file for it, and a first process reads this also while memory is short.
    Open(OwnedFd),
    /// Opened anew each time: v1 shows an open file the same list for as long as it is read once a second
    /// (`cgroup_pidlist_start`, kernel/cgroup/cgroup-v1.c, Linux 6.18).
    Anew(PathBuf),
}

impl ProcessList {
    /// The list of the cgroup with this directory. `None` where it can't be read.
    pub fn of(cgroup: &Path, version: CgroupVersion) -> Option<Self> {
        let path = cgroup.join("cgroup.procs");
        match version {
            CgroupVersion::V1 => Some(ProcessList::Anew(path)),
            CgroupVersion::V2 => rustix::fs::open(path, file::OPEN, Mode::empty()).ok().map(ProcessList::Open),
        }
    }

    /// Those that run, without any outside of the own pid namespace. None where the cgroup is gone.
    pub fn pids(&self) -> Vec<u32> {
        let text = match self {
            ProcessList::Open(list) => file::read_whole(list).ok(),
            ProcessList::Anew(path) => file::read(path).ok(),
        };
        text.and_then(|text| parse_cgroup_procs(&text).ok()).unwrap_or_default()
    }
}

/// The name of a process. `None` where it is gone.
pub fn process_name(pid: u32) -> Option<ProcessName> {
    let mut buffer = [0; 64];
    read(pid, "comm", &mut buffer).ok().map(ProcessName::new)
}

/// What a process has in memory. `None` where it is gone.
pub fn process_resident(pid: u32) -> Option<Bytes> {
    let mut buffer = [0; 256];
    let page_size = Bytes::new(rustix::param::page_size() as u64);
    parse_resident(read(pid, "statm", &mut buffer).ok()?, page_size).ok()
}

/// What the first thread of a process does about signals, and which wait for the process. `None` where it is gone.
#[inline(never)]
pub fn process_signals(pid: u32) -> Option<SignalSets> {
    let mut buffer = [0; LARGEST];
    SignalSets::parse(read(pid, "status", &mut buffer).ok()?).ok()
}

/// Whether a signal that is sent to a process is read from a signalfd: it has one, and no thread would be interrupted.
///
/// That all threads block it is not enough: many libraries block all signals for the moment in which they start a program.
/// A thread in `sigwait` can't be known: for that time the kernel unblocks what it waits for (`do_sigtimedwait`,
/// kernel/signal.c), which looks like what would end the program.
pub fn reads_signal(pid: u32, signal: Signal) -> bool {
    all_threads_block(pid, signal) && has_signalfd_for(pid, signal)
}

fn has_signalfd_for(pid: u32, signal: Signal) -> bool {
    /// They are opened early, and the kernel lists the lowest numbers first.
    const DESCRIPTORS: usize = 1024;
    let Ok(descriptors) = std::fs::read_dir(format!("/proc/{pid}/fdinfo")) else { return false };
    let mut infos = descriptors.take(DESCRIPTORS).filter_map(|descriptor| file::read(&descriptor.ok()?.path()).ok());
    infos.any(|info| is_signalfd_for(&info, signal))
}

fn all_threads_block(pid: u32, signal: Signal) -> bool {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return false };
    threads.filter_map(Result::ok).all(|thread| {
        let status = file::read(&thread.path().join("status"));
        // A thread that has ended meanwhile takes no signal.
        status.map_or(true, |status| SignalSets::parse(&status).is_ok_and(|sets| sets.blocks(signal)))
    })
}

/// Whether a SIGKILL has ended a process that nobody let go of yet, or one is on its way to it.
#[inline(never)]
pub fn is_dying(pid: u32) -> bool {
    let mut buffer = [0; LARGEST];
    let Ok(status) = read(pid, "status", &mut buffer) else { return false };
    if status.split(|&byte| byte == b'\n').any(|line| line.starts_with(b"State:\tZ")) {
        return ended_by(pid) == Some(Signal::KILL);
    }
    SignalSets::parse(status).is_ok_and(|sets| sets.is_pending(Signal::KILL))
}

/// The signal that ended a process which nobody let go of yet. The kernel tells it to those who may trace the process.
#[inline(never)]
fn ended_by(pid: u32) -> Option<Signal> {
    let mut buffer = [0; 1024];
    ProcessStat::parse_ending_signal(read(pid, "stat", &mut buffer).ok()?)
}

/// Whether a process that was forked has executed no program yet, and still is what its parent is.
#[inline(never)]
pub fn is_copy_of_its_parent(pid: u32) -> bool {
    let mut buffer = [0; 1024];
    read(pid, "stat", &mut buffer).ok().and_then(ProcessStat::parse_is_copy) == Some(true)
}

/// The adjustment of a process's badness in the eyes of the OOM killer: −1000 to 1000. `None` where it is gone.
pub fn oom_score_adj(pid: u32) -> Option<i16> {
    let mut buffer = [0; 64];
    let text = read(pid, "oom_score_adj", &mut buffer).ok()?;
    std::str::from_utf8(text).ok()?.trim().parse().ok()
}

/// Sets it. Raising one's own processes' is allowed to anybody; lowering as far as it was when it was last set with
/// CAP_SYS_RESOURCE (`__set_oom_adj`, fs/proc/base.c, Linux 6.18).
pub fn set_oom_score_adj(pid: u32, adj: i16) -> Result<(), Errno> {
    let mut path = [0; 64];
    let opened =
        rustix::fs::open(path_of(pid, "oom_score_adj", &mut path)?, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut text = [0; 8];
    let mut rest = &mut text[..];
    write!(rest, "{adj}").map_err(|_| Errno::RANGE)?;
    let left = rest.len();
    let length = text.len() - left;
    rustix::io::write(opened, text.get(..length).unwrap_or_default()).map(drop)
}

fn read<'b>(pid: u32, name: &str, buffer: &'b mut [u8]) -> Result<&'b [u8], Errno> {
    let mut path = [0; 64];
    let opened = rustix::fs::open(path_of(pid, name, &mut path)?, file::OPEN, Mode::empty())?;
    let length = file::retry_interrupted(|| rustix::io::read(&opened, &mut *buffer))?;
    Ok(buffer.get(..length).unwrap_or_default())
}

fn path_of<'b>(pid: u32, name: &str, buffer: &'b mut [u8; 64]) -> Result<&'b CStr, Errno> {
    // Without the standard library's formatting: a small first process would have its pages in memory for this alone.
    let pid = DecInt::new(pid);
    let parts = [b"/proc/", pid.as_bytes(), b"/", name.as_bytes(), b"\0"];
    buffer.iter_mut().zip(parts.into_iter().flatten()).for_each(|(place, byte)| *place = *byte);
    // Too long a name leaves no room for the NUL.
    CStr::from_bytes_until_nul(buffer).map_err(|_| Errno::NAMETOOLONG)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_read() {
        let own = std::process::id();
        let name = process_name(own).unwrap();
        assert_eq!(std::fs::read("/proc/self/comm").unwrap(), [name.as_bytes(), b"\n"].concat());
        assert!(process_resident(own).unwrap() > Bytes::from_kib(100));
        assert!(!process_signals(own).unwrap().is_pending(Signal::KILL));
        assert!(!is_dying(own));
        // What is set already may be set.
        set_oom_score_adj(own, oom_score_adj(own).unwrap()).unwrap();
        assert_eq!((process_name(u32::MAX), oom_score_adj(u32::MAX)), (None, None));
    }

    #[test]
    fn a_list_is_read_anew_each_time() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("cgroup.procs");
        for version in [CgroupVersion::V1, CgroupVersion::V2] {
            std::fs::write(&file, "1\n2\n").unwrap();
            let list = ProcessList::of(directory.path(), version).unwrap();
            assert_eq!(list.pids(), [1, 2]);
            std::fs::write(&file, "7\n").unwrap();
            assert_eq!(list.pids(), [7]);
        }
        assert_eq!(ProcessList::Anew(directory.path().join("no")).pids(), [0; 0]);
    }
}
