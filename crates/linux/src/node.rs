//! Reading the machine's own memory.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

use reprieve_readings::{
    BootId, Bytes, Meminfo, NodeMemory, ParseError, Pressure, parse_cpu_list, parse_vmstat_oom_kill,
};

use rustix::fs::Mode;

use crate::error::{Problems, ReadError};
use crate::file::{self, Buffer};
use crate::roots::Roots;

/// The machine's memory at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct NodeReading {
    /// `/proc/meminfo`.
    pub meminfo: Option<Meminfo>,
    /// Processes killed by the OOM killer since boot (`/proc/vmstat`, Linux 4.13).
    pub oom_kills: Option<u64>,
    /// `/proc/pressure/memory` (Linux 4.20, unless PSI is off).
    pub pressure: Option<Pressure>,
}

/// Reads the machine's memory. What a kernel lacks is `None`; what can't be read or understood is a problem too.
pub fn read_node(roots: &Roots, problems: &mut Problems) -> NodeReading {
    NodeReading {
        meminfo: read_one(roots, "meminfo", Meminfo::parse, problems),
        oom_kills: read_one(roots, "vmstat", parse_vmstat_oom_kill, problems).flatten(),
        pressure: read_one(roots, "pressure/memory", Pressure::parse, problems),
    }
}

/// Which boot of the machine this is; `None` where that can't be read.
pub fn read_boot_id(roots: &Roots, problems: &mut Problems) -> Option<BootId> {
    let path = roots.proc("sys/kernel/random/boot_id");
    let text = problems.keep(file::read(&path))?;
    problems.keep(BootId::parse(&text).map_err(|error| ReadError::parse(path, error)))
}

/// The machine's count of OOM kills, read as often as wanted. The file stays open.
#[derive(Debug)]
pub struct NodeKillCounter {
    path: PathBuf,
    vmstat: Option<OwnedFd>,
    buffer: Buffer,
}

impl NodeKillCounter {
    /// Opens `/proc/vmstat`.
    pub fn open(roots: &Roots, problems: &mut Problems) -> Self {
        let path = roots.proc("vmstat");
        let opened = rustix::fs::open(&path, file::OPEN, Mode::empty()).map_err(|errno| ReadError::io(&path, errno));
        NodeKillCounter { vmstat: problems.keep(opened), path, buffer: Buffer::new() }
    }

    /// Processes killed since boot; `None` where the kernel does not count them (before 4.13) or can't be asked, which is a
    /// problem.
    pub fn read(&mut self, problems: &mut Problems) -> Option<u64> {
        let file = self.vmstat.as_ref()?;
        // A list: more than a page comes in pieces.
        let text = problems.keep(self.buffer.read_to_end(file).map_err(|failure| failure.at(&self.path)))?;
        problems.keep(parse_vmstat_oom_kill(text).map_err(|error| ReadError::parse(&self.path, error))).flatten()
    }
}

/// How long the machine has slept since boot: by so much CLOCK_BOOTTIME is ahead of [`time_since_boot`].
pub fn time_asleep() -> Duration {
    let boot = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let boot = duration(boot);
    boot.saturating_sub(time_since_boot())
}

/// How long the machine runs, by the clock of the kernel's log, which stands still while the machine sleeps.
pub fn time_since_boot() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    duration(now)
}

/// What is before the epoch is none.
fn duration(time: rustix::time::Timespec) -> Duration {
    let nanoseconds = Duration::from_nanos(u64::try_from(time.tv_nsec).unwrap_or(0));
    Duration::from_secs(u64::try_from(time.tv_sec).unwrap_or(0)).saturating_add(nanoseconds)
}

/// The text of `/proc/meminfo`, where it can be read.
pub fn read_meminfo_text(roots: &Roots, problems: &mut Problems) -> Option<Vec<u8>> {
    problems.keep(file::read(&roots.proc("meminfo")))
}

/// Reads what a judgement of available memory needs of the machine, as often as wanted. The file stays open.
#[derive(Debug)]
pub struct NodeMemoryReader {
    path: PathBuf,
    meminfo: Option<OwnedFd>,
    processors: u32,
}

impl NodeMemoryReader {
    /// Opens `/proc/meminfo`. Where the number of processors is not told, there is one.
    pub fn open(roots: &Roots, problems: &mut Problems) -> Self {
        let path = roots.proc("meminfo");
        let opened = rustix::fs::open(&path, file::OPEN, Mode::empty()).map_err(|errno| ReadError::io(&path, errno));
        let meminfo = problems.keep(opened);
        NodeMemoryReader { path, meminfo, processors: read_processors(roots, problems) }
    }

    /// Whether there is something to read.
    pub fn is_open(&self) -> bool {
        self.meminfo.is_some()
    }

    /// Reads the machine's memory now. What can't be read is unknown, and a problem.
    pub fn read(&self, problems: &mut Problems) -> NodeMemory {
        let page_size = Bytes::new(rustix::param::page_size() as u64);
        let meminfo = self.read_meminfo().and_then(|meminfo| problems.keep(meminfo)).unwrap_or_default();
        NodeMemory::new(meminfo, self.processors, page_size)
    }

    fn read_meminfo(&self) -> Option<Result<Meminfo, ReadError>> {
        let file = self.meminfo.as_ref()?;
        let meminfo = file::parse_record(file, Meminfo::parse).map_err(|failure| failure.at(&self.path));
        Some(meminfo.and_then(|meminfo| meminfo.map_err(|error| ReadError::parse(&self.path, error))))
    }
}

/// How many processors are online.
fn read_processors(roots: &Roots, problems: &mut Problems) -> u32 {
    let path = roots.sys("devices/system/cpu/online");
    let text = problems.keep(file::read_if_present(&path)).flatten();
    let count =
        text.and_then(|text| problems.keep(parse_cpu_list(&text).map_err(|error| ReadError::parse(path, error))));
    count.unwrap_or(1)
}

fn read_one<T>(
    roots: &Roots,
    name: &str,
    parse: fn(&[u8]) -> Result<T, ParseError>,
    problems: &mut Problems,
) -> Option<T> {
    let path = roots.proc(name);
    let text = match file::read_if_present(&path) {
        // PSI can be compiled in and switched off: the file is there and answers so.
        Err(error) if error.errno() == Some(rustix::io::Errno::OPNOTSUPP) => None,
        read => problems.keep(read)?,
    }?;
    problems.keep(parse(&text).map_err(|error| ReadError::parse(path, error)))
}
