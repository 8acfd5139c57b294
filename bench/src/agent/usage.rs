//! What a process costs: memory by several counts, and CPU time to the nanosecond.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use reprieve_readings::CgroupVersion;

/// The memory of a process, in bytes.
#[derive(Clone, Copy)]
pub(crate) struct Memory {
    /// Pages in RAM, shared ones included (`VmRSS`).
    pub(crate) resident: u64,
    /// The most that `resident` ever was (`VmHWM`).
    pub(crate) peak: u64,
    /// Shared pages counted by their part (`Pss`).
    pub(crate) proportional: u64,
    /// Pages that are nobody else's.
    pub(crate) private: u64,
}

impl Memory {
    /// Reads `/proc/PID/status` and `smaps_rollup`.
    pub(crate) fn of(pid: u32) -> Result<Self> {
        let status = read(format!("/proc/{pid}/status"))?;
        let rollup = read(format!("/proc/{pid}/smaps_rollup"))?;
        Ok(Memory {
            resident: field(&status, "VmRSS:")?,
            peak: field(&status, "VmHWM:")?,
            proportional: field(&rollup, "Pss:")?,
            private: field(&rollup, "Private_Clean:")? + field(&rollup, "Private_Dirty:")?,
        })
    }
}

/// The CPU time of all threads of a process that still run. `schedstat` counts nanoseconds, `stat` only ticks of 10 ms.
pub(crate) fn cpu_time(pid: u32) -> Result<Duration> {
    let mut total = Duration::ZERO;
    let threads = format!("/proc/{pid}/task");
    for thread in fs::read_dir(&threads).with_context(|| format!("{threads} could not be listed"))? {
        let text = read(thread?.path().join("schedstat"))?;
        let nanoseconds = text.split(' ').next().and_then(|first| first.parse().ok());
        total += Duration::from_nanos(nanoseconds.with_context(|| format!("a schedstat reads `{text}`"))?);
    }
    Ok(total)
}

/// Kernel memory charged to a cgroup, in bytes; `None` where this kernel doesn't tell.
pub(crate) fn kernel_memory(cgroup: &Path, version: CgroupVersion) -> Option<u64> {
    match version {
        CgroupVersion::V1 => fs::read_to_string(cgroup.join("memory.kmem.usage_in_bytes")).ok()?.trim().parse().ok(),
        CgroupVersion::V2 => {
            let stat = fs::read_to_string(cgroup.join("memory.stat")).ok()?;
            stat.lines().find_map(|line| line.strip_prefix("kernel "))?.parse().ok()
        }
    }
}

/// A field `NAME: 123 kB`, in bytes.
fn field(text: &str, name: &str) -> Result<u64> {
    let kilobytes = text.lines().find_map(|line| line.strip_prefix(name)?.trim().strip_suffix(" kB")?.parse().ok());
    kilobytes.map(|kilobytes: u64| kilobytes * 1024).with_context(|| format!("the kernel told no `{name}`"))
}

fn read(path: impl AsRef<Path>) -> Result<String> {
    let path = path.as_ref();
    fs::read_to_string(path).with_context(|| format!("{} could not be read", path.display()))
}

#[cfg(test)]
mod tests {
    use super::field;

    #[test]
    fn fields_are_in_kilobytes() {
        let text = "Rss:                3216 kB\nPss:                1608 kB\nPss_Anon:  4 kB\n";
        assert_eq!(field(text, "Pss:").unwrap(), 1608 * 1024);
        assert!(field(text, "Swap:").is_err());
    }
}
