//! Reading the machine's own memory.

use reprieve_readings::{Bytes, Meminfo, NodeMemory, ParseError, Pressure, parse_cpu_list, parse_vmstat_oom_kill};

use crate::error::{Problems, ReadError};
use crate::file;
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

/// The text of `/proc/meminfo`, where it can be read.
pub fn read_meminfo_text(roots: &Roots, problems: &mut Problems) -> Option<Vec<u8>> {
    problems.keep(file::read(&roots.proc("meminfo")))
}

/// What a judgement of available memory needs of the machine. Where the number of processors is not told, there is one.
pub fn read_node_memory(roots: &Roots, problems: &mut Problems) -> NodeMemory {
    let meminfo = read_one(roots, "meminfo", Meminfo::parse, problems).unwrap_or_default();
    let page_size = Bytes::new(rustix::param::page_size() as u64);
    NodeMemory::new(meminfo, read_processors(roots, problems), page_size)
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
