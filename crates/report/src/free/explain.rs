//! `reprieve free --explain`: what binds, how sure the numbers are, and what the machine's own files would have said.

use std::fmt::{self, Write};
use std::os::unix::ffi::OsStrExt;

use reprieve_judgement::{Available, Binding, Headroom, HiddenLimit};
use reprieve_readings::{Bytes, CgroupVersion, Escaped};

use super::{FreeBound, FreeCgroup, FreeReport};

/// The explanation: lines of at most 80 columns, paths apart, which have lines of their own.
pub fn free_explanation(report: &FreeReport) -> String {
    let mut text = String::new();
    // Writing to a String can't fail.
    let _ = write_explanation(&mut text, report);
    text
}

fn write_explanation(text: &mut String, report: &FreeReport) -> fmt::Result {
    write_cgroup(text, report.cgroup.as_ref())?;
    match &report.available {
        Some(available) => write_available(text, report, available)?,
        None => writeln!(text, "How much is left can't be told: neither limits nor MemAvailable are known.")?,
    }
    if let Some(cgroup) = &report.cgroup {
        write_usage(text, cgroup)?;
    }
    write_node(text, report)
}

fn write_cgroup(text: &mut String, cgroup: Option<&FreeCgroup>) -> fmt::Result {
    let Some(cgroup) = cgroup else {
        return writeln!(text, "No memory cgroup can be read here, so this is the machine's memory.\n");
    };
    let version = match cgroup.version {
        CgroupVersion::V1 => "v1",
        CgroupVersion::V2 => "v2",
    };
    writeln!(text, "This process is in the cgroup ({version})\n  {}", cgroup.path)?;
    if cgroup.assumed {
        writeln!(text, "  That is assumed: the paths of the mount and of the process don't fit together.")?;
    }
    writeln!(text)
}

fn write_available(text: &mut String, report: &FreeReport, available: &Available) -> fmt::Result {
    writeln!(text, "                                  at least  most likely      at most")?;
    write_headroom(text, "left until the kernel kills", available.until_kill)?;
    write_binding(text, available.until_kill.binding, &report.kill_bound)?;
    if let Some(throttle) = available.until_throttle {
        write_headroom(text, "left until it is slowed down", throttle)?;
        write_binding(text, throttle.binding, &report.throttle_bound)?;
    }
    if let Some(swap) = available.swap.filter(|swap| *swap > Bytes::ZERO) {
        writeln!(text, "{:<30} {:>12} {:>12} {:>12}", "swap on top of that", "0 B", swap, swap)?;
    }
    write_hidden(text, available.hidden)?;
    writeln!(text)
}

fn write_headroom(text: &mut String, name: &str, headroom: Headroom) -> fmt::Result {
    let estimate = headroom.estimate;
    writeln!(text, "{name:<30} {:>12} {:>12} {:>12}", estimate.low, estimate.best, estimate.high)
}

fn write_binding(text: &mut String, binding: Binding, bound: &FreeBound) -> fmt::Result {
    let what = match binding {
        Binding::Node => "the machine's memory (MemAvailable in /proc/meminfo)".to_owned(),
        Binding::Hidden => "a cgroup's limit that is hidden from here".to_owned(),
        Binding::Level(0) => "the limit of this cgroup".to_owned(),
        Binding::Level(1) => "the limit of the cgroup above".to_owned(),
        Binding::Level(up) => format!("the limit of the cgroup {up} levels above"),
    };
    let limit = bound.limit.map(|limit| format!(", {limit}")).unwrap_or_default();
    writeln!(text, "  bound by {what}{limit}")?;
    match &bound.file {
        Some(file) => writeln!(text, "  {}", Escaped(file.as_os_str().as_bytes())),
        None => Ok(()),
    }
}

fn write_hidden(text: &mut String, hidden: HiddenLimit) -> fmt::Result {
    match hidden {
        HiddenLimit::None => Ok(()),
        HiddenLimit::Possible => writeln!(
            text,
            "\nLevels above this container are hidden, and may have limits that bind earlier.\n\
             REPRIEVE_POD_LIMIT can tell the pod's: an amount such as 512Mi, or a file."
        ),
        HiddenLimit::Proven(limit) => writeln!(
            text,
            "\nA level above, hidden from here, has a limit of {limit}. What others use of it\n\
             can't be seen, so nothing is sure."
        ),
        HiddenLimit::Told(limit) => writeln!(
            text,
            "\nREPRIEVE_POD_LIMIT tells of a limit of {limit}. What others use of it can't be\n\
             seen, so nothing is sure."
        ),
    }
}

fn write_usage(text: &mut String, cgroup: &FreeCgroup) -> fmt::Result {
    let stat = cgroup.memory.stat.unwrap_or_default();
    let kernel = stat.kernel.or(cgroup.memory.kernel_usage);
    let rows = [
        ("used by this cgroup", cgroup.memory.usage),
        ("  programs (anonymous)", stat.anon),
        ("  shared memory and tmpfs", stat.shmem),
        ("  page cache in use", stat.active_file),
        ("  page cache not in use", stat.inactive_file),
        ("    to be written first", stat.file_dirty.map(|_| stat.unclean())),
        ("  locked or pinned", stat.unevictable),
        ("  the kernel's", kernel),
        ("    that can be freed", stat.slab_reclaimable),
        ("  huge pages (hugetlb)", stat.hugetlb.filter(|bytes| *bytes > Bytes::ZERO)),
    ];
    for (name, bytes) in rows {
        if let Some(bytes) = bytes {
            writeln!(text, "{name:<30} {bytes:>12}")?;
        }
    }
    writeln!(text)
}

fn write_node(text: &mut String, report: &FreeReport) -> fmt::Result {
    let cell = |bytes: Option<Bytes>| bytes.map_or_else(|| "unknown".to_owned(), |bytes| bytes.to_string());
    writeln!(
        text,
        "/proc/meminfo speaks of the machine: {} in all, {} available.",
        cell(report.node.total),
        cell(report.node.available)
    )
}

#[cfg(test)]
mod tests {
    use reprieve_judgement::Estimate;
    use reprieve_readings::{CgroupMemory, CgroupPath, Meminfo};

    use super::super::free_json;
    use super::*;

    fn headroom(mib: u64, binding: Binding) -> Headroom {
        let estimate =
            Estimate { low: Bytes::from_mib(mib - 1), best: Bytes::from_mib(mib), high: Bytes::from_mib(mib + 1) };
        Headroom { estimate, binding }
    }

    fn report() -> FreeReport {
        let usage = Some(Bytes::from_mib(200));
        FreeReport {
            container: Meminfo::default(),
            node: Meminfo::default(),
            cgroup: Some(FreeCgroup {
                path: CgroupPath::new(b"/a\x1b[2J\n/b"),
                version: CgroupVersion::V2,
                assumed: true,
                memory: CgroupMemory { usage, ..CgroupMemory::default() },
            }),
            limit: Some(Bytes::from_mib(256)),
            available: Some(Available {
                until_kill: headroom(120, Binding::Level(1)),
                until_throttle: Some(headroom(20, Binding::Level(0))),
                swap: Some(Bytes::from_mib(5)),
                hidden: HiddenLimit::Possible,
            }),
            kill_bound: FreeBound { limit: Some(Bytes::from_mib(300)), file: Some("/x\x1b/memory.max".into()) },
            throttle_bound: FreeBound::default(),
        }
    }

    #[test]
    fn says_what_binds_how_surely_and_what_is_hidden() {
        assert_eq!(
            free_explanation(&report()),
            "This process is in the cgroup (v2)\n  /a\\x1b[2J\\n/b\n  \
             That is assumed: the paths of the mount and of the process don't fit together.\n\n                                  \
             at least  most likely      at most\n\
             left until the kernel kills       119.0 MiB    120.0 MiB    121.0 MiB\n  \
             bound by the limit of the cgroup above, 300.0 MiB\n  /x\\x1b/memory.max\n\
             left until it is slowed down       19.0 MiB     20.0 MiB     21.0 MiB\n  \
             bound by the limit of this cgroup\n\
             swap on top of that                     0 B      5.0 MiB      5.0 MiB\n\n\
             Levels above this container are hidden, and may have limits that bind earlier.\n\
             REPRIEVE_POD_LIMIT can tell the pod's: an amount such as 512Mi, or a file.\n\n\
             used by this cgroup               200.0 MiB\n\n\
             /proc/meminfo speaks of the machine: unknown in all, unknown available.\n"
        );
    }

    #[test]
    fn every_line_fits_a_terminal_and_carries_no_control_characters() {
        let available = report().available;
        for hidden in [HiddenLimit::Proven(Bytes::from_mib(64)), HiddenLimit::Told(Bytes::from_mib(64))] {
            let available = available.map(|available| Available { hidden, ..available });
            for text in [free_explanation(&FreeReport { available, ..report() }), free_explanation(&report())] {
                assert!(text.lines().all(|line| line.len() <= 80 && !line.chars().any(char::is_control)), "{text}");
            }
        }
        assert!(!free_json(&report()).chars().any(char::is_control));
    }

    #[test]
    fn without_a_cgroup_or_numbers_it_still_says_so() {
        let nothing = FreeReport { cgroup: None, available: None, ..report() };
        let text = free_explanation(&nothing);
        assert!(text.contains("No memory cgroup can be read here") && text.contains("can't be told"), "{text}");
    }
}
