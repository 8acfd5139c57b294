//! Processes, as far as kills need them: who they are, since when they run, and whether they still do.

use crate::bytes::Bytes;
use crate::parse::{self, ParseError};
use crate::signal::Signal;

/// A process that can't be mistaken for a later one with the same pid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ProcessId {
    /// The pid, as the reader's namespace sees it.
    pub pid: u32,
    /// When it started, in clock ticks since boot.
    pub start_time: u64,
}

/// `/proc/PID/stat`, as far as needed.
///
/// Source: proc_pid_stat(5); `do_task_stat` in fs/proc/array.c, Linux 6.18.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessStat {
    /// Which process it is.
    pub id: ProcessId,
    /// Whether it has ended and only waits for its parent to notice (state `Z` or `X`).
    pub ended: bool,
    /// Its name, at most 15 bytes, as it chose it itself.
    pub name: Vec<u8>,
    /// Its memory in RAM, in pages. The kernel counts it per processor, so it can be some pages off.
    pub resident_pages: u64,
}

impl ProcessStat {
    /// Parses the file: `PID (NAME) STATE …`, where the name may hold spaces, parentheses and newlines.
    pub fn parse(text: &[u8]) -> Result<Self, ParseError> {
        Self::parse_fields(text).ok_or_else(|| ParseError::new("`PID (NAME) STATE …`", text))
    }

    /// The signal that ended the process, from the wait status in the last field (52). `None` where it ended by itself,
    /// lives, or the kernel does not say.
    pub fn parse_ending_signal(text: &[u8]) -> Option<Signal> {
        let close = text.iter().rposition(|&byte| byte == b')')?;
        let rest = text.get(close + 1..)?.strip_prefix(b" ")?.trim_ascii_end();
        let status = parse::decimal(rest.split(|&byte| byte == b' ').nth(49)?)?;
        Signal::new(i32::try_from(status & 0x7f).ok()?)
    }

    /// Whether the process is still a copy of its parent, and has executed no program of its own: `PF_FORKNOEXEC`
    /// (include/linux/sched.h) among the flags, field 9.
    pub fn parse_is_copy(text: &[u8]) -> Option<bool> {
        const PF_FORKNOEXEC: u64 = 0x40;
        let close = text.iter().rposition(|&byte| byte == b')')?;
        let rest = text.get(close + 1..)?.strip_prefix(b" ")?;
        let flags = parse::decimal(rest.split(|&byte| byte == b' ').nth(6)?)?;
        Some(flags & PF_FORKNOEXEC != 0)
    }

    fn parse_fields(text: &[u8]) -> Option<Self> {
        let open = text.iter().position(|&byte| byte == b'(')?;
        let close = text.iter().rposition(|&byte| byte == b')')?;
        let pid = text.get(..open)?.strip_suffix(b" ").and_then(parse::decimal)?;
        let name = text.get(open + 1..close)?.to_vec();
        // After the name: field 3, the state; the start time is field 22, and what is resident field 24.
        let mut fields = text.get(close + 1..)?.strip_prefix(b" ")?.split(|&byte| byte == b' ');
        let state = fields.next()?;
        let start_time = parse::decimal(fields.nth(18)?)?;
        let resident_pages = parse::decimal(fields.nth(1)?)?;
        let id = ProcessId { pid: u32::try_from(pid).ok()?, start_time };
        Some(ProcessStat { id, ended: matches!(state, b"Z" | b"X"), name, resident_pages })
    }
}

/// A process's name as the kernel keeps it: at most 15 bytes, without allocation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ProcessName {
    bytes: [u8; 15],
    length: u8,
}

impl ProcessName {
    /// A name; what is beyond 15 bytes is cut off. A line end at its end, as in `/proc/PID/comm`, is no part of it.
    pub fn new(name: &[u8]) -> Self {
        let name = name.strip_suffix(b"\n").unwrap_or(name);
        let mut kept = ProcessName::default();
        for (place, byte) in kept.bytes.iter_mut().zip(name) {
            *place = *byte;
            kept.length += 1;
        }
        kept
    }

    /// The name.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length.into()).unwrap_or_default()
    }
}

/// Parses `/proc/PID/statm`: what the process has in memory.
///
/// Source: proc_pid_statm(5); the second field, in pages.
pub fn parse_resident(statm: &[u8], page_size: Bytes) -> Result<Bytes, ParseError> {
    let pages = statm.split(u8::is_ascii_whitespace).nth(1).and_then(parse::decimal);
    let pages = pages.ok_or_else(|| ParseError::new("numbers of pages", statm))?;
    Ok(Bytes::new(pages.saturating_mul(page_size.get())))
}

/// Parses `cgroup.procs`: a pid a line. A pid of 0 stands for a process outside the reader's namespace and is left out.
pub fn parse_cgroup_procs(text: &[u8]) -> Result<Vec<u32>, ParseError> {
    let lines = text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    let mut pids = Vec::with_capacity(lines.clone().count());
    for line in lines {
        match parse::decimal(line).and_then(|pid| u32::try_from(pid).ok()) {
            Some(0) => {}
            Some(pid) => pids.push(pid),
            None => return Err(ParseError::new("a pid", line)),
        }
    }
    Ok(pids)
}

/// Whether `/proc/PID/status` shows the first process of a pid namespace of its own: a container's PID 1.
/// `NSpid` (Linux 4.1) lists its pid in each namespace, from the reader's inwards.
pub fn parse_is_namespace_init(status: &[u8]) -> bool {
    let line = status.split(|&byte| byte == b'\n').find_map(|line| line.strip_prefix(b"NSpid:"));
    let Some(line) = line else { return false };
    let mut pids = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let nested = pids.next().is_some();
    nested && pids.next_back() == Some(b"1")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const REST: &str = "S 1 2 3 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 987654 0 0 18446744073709551615";

    #[test]
    fn reads_pid_state_and_start_time() {
        let stat = ProcessStat::parse(format!("42 (sh) {REST}\n").as_bytes()).unwrap();
        assert_eq!(stat.id, ProcessId { pid: 42, start_time: 987_654 });
        assert!(!stat.ended);
        let zombie = ProcessStat::parse(format!("42 (sh) {}", REST.replacen('S', "Z", 1)).as_bytes()).unwrap();
        assert!(zombie.ended);
    }

    #[test]
    fn a_copy_of_its_parent_is_told_by_its_flags() {
        let stat = |flags: &str| format!("42 (a) 1 (b) S 1 42 42 0 -1 {flags} 0 0\n");
        assert_eq!(ProcessStat::parse_is_copy(stat("4194368").as_bytes()), Some(true));
        assert_eq!(ProcessStat::parse_is_copy(stat("4194304").as_bytes()), Some(false));
        assert_eq!(ProcessStat::parse_is_copy(b"42 (a"), None);
    }

    #[test]
    fn the_signal_that_ended_a_process_is_in_the_last_field() {
        let fields = ["0"; 48].join(" ");
        let ended =
            |status: &str| ProcessStat::parse_ending_signal(format!("7 (a) b) Z {fields} {status}\n").as_bytes());
        assert_eq!(ended("9"), Some(Signal::KILL));
        assert_eq!(ended("139").map(Signal::number), Some(11), "with a core dump");
        assert_eq!((ended("0"), ended("256"), ended("x")), (None, None, None));
        assert_eq!(ProcessStat::parse_ending_signal(b"7 (a) Z 1 2"), None);
    }

    #[test]
    fn malformed_stat_is_an_error() {
        for text in ["", "42", "42 (sh", "42 sh) S", "42 (sh) S 1 2", "x (sh) S", "4294967296 (sh) S", ") ("] {
            assert!(ProcessStat::parse(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn a_name_is_cut_where_the_kernel_cuts_it() {
        assert_eq!(ProcessName::new(b"sh\n").as_bytes(), b"sh");
        assert_eq!(ProcessName::new(b"0123456789abcdefg").as_bytes(), b"0123456789abcde");
        assert_eq!(ProcessName::new(b"").as_bytes(), b"");
    }

    #[test]
    fn what_is_in_memory_is_the_second_field() {
        let page = Bytes::from_kib(4);
        assert_eq!(parse_resident(b"626 261 237 10 0 96 0\n", page), Ok(Bytes::from_kib(1044)));
        assert!(parse_resident(b"626", page).is_err());
        assert!(parse_resident(b"626 x 1", page).is_err());
    }

    #[test]
    fn pids_outside_the_namespace_are_left_out() {
        assert_eq!(parse_cgroup_procs(b"1\n0\n77\n"), Ok(vec![1, 77]));
        assert_eq!(parse_cgroup_procs(b""), Ok(vec![]));
        assert!(parse_cgroup_procs(b"1\nx\n").is_err());
    }

    #[test]
    fn a_namespace_s_init_is_told_from_the_host_s() {
        assert!(parse_is_namespace_init(b"Name:\tsh\nNSpid:\t4242\t1\n"));
        assert!(!parse_is_namespace_init(b"NSpid:\t4242\t7\n"));
        assert!(!parse_is_namespace_init(b"NSpid:\t1\n"), "the reader's own namespace");
        assert!(!parse_is_namespace_init(b"Name:\tNSpid:\n"));
    }

    proptest! {
        #[test]
        fn any_name_is_read_back(name in prop::collection::vec(any::<u8>(), 0..16)) {
            let text = [b"7 (", &name[..], b") ", REST.as_bytes()].concat();
            prop_assert_eq!(ProcessStat::parse(&text).unwrap().name, name);
        }
    }
}
