//! MADV_COLD, given from outside to a process that maps a file. process_madvise(2) has no face without unsafe code, so
//! Python gives it, where there is one.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

/// Says what went wrong on stderr.
const SCRIPT: &str = "
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
class Range(ctypes.Structure):
    _fields_ = [('start', ctypes.c_void_p), ('length', ctypes.c_size_t)]
pid, file = int(sys.argv[1]), sys.argv[2]
process = os.pidfd_open(pid)
for line in open(f'/proc/{pid}/maps'):
    if line.rstrip().endswith(file):
        start, end = (int(part, 16) for part in line.split()[0].split('-'))
        # 440 is process_madvise, 20 is MADV_COLD. One call takes at most 2 GiB.
        done = libc.syscall(440, process, ctypes.byref(Range(start, end - start)), 1, 20, 0)
        if done != end - start:
            sys.exit(f'process_madvise: {done}, {os.strerror(ctypes.get_errno())}')
";

pub(super) fn is_there() -> bool {
    let mut python = Command::new("python3");
    python.args(["-c", "import ctypes, os; os.pidfd_open"]).stdin(Stdio::null()).stderr(Stdio::null());
    python.status().is_ok_and(|status| status.success())
}

pub(super) fn give(pid: u32, file: &Path) -> Result<()> {
    let mut python = Command::new("python3");
    python.args(["-c", SCRIPT, &pid.to_string()]).arg(file).stdin(Stdio::null());
    let status = python.status().context("no python3")?;
    ensure!(status.success(), "python3 ended with {status}");
    Ok(())
}
