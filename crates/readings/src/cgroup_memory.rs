//! Everything that a cgroup's own files say about its memory, and the table of those files.
//!
//! One row a file: its name, and what to do with its text. Reading a new file of the kernel means a parser and a row.

use crate::bytes::{Bytes, Limit};
use crate::memory_events::{MemoryEvents, OomControl};
use crate::memory_stat::MemoryStat;
use crate::parse::{self, ParseError};
use crate::pressure::Pressure;

/// The version of the interface that a memory controller speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CgroupVersion {
    /// The first: one hierarchy a controller.
    V1,
    /// The unified hierarchy.
    V2,
}

/// The memory of one cgroup at one moment. What its kernel or its place in the tree doesn't give is `None`.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct CgroupMemory {
    /// Memory charged to it and everything below it.
    pub usage: Option<Bytes>,
    /// v1 `memory.kmem.usage_in_bytes`: the part of the usage that is the kernel's. v2 has it in `stat`.
    pub kernel_usage: Option<Bytes>,
    /// `memory.max`, v1 `memory.limit_in_bytes`: beyond it, its processes are killed.
    pub max: Option<Limit>,
    /// `memory.high`: beyond it, its processes are throttled.
    pub high: Option<Limit>,
    /// `memory.low`: below it, reclaimed only if nothing else can be.
    pub low: Option<Limit>,
    /// `memory.min`: below it, never reclaimed.
    pub min: Option<Limit>,
    /// Swap in use; v2 only.
    pub swap_usage: Option<Bytes>,
    /// `memory.swap.max`; v2 only.
    pub swap_max: Option<Limit>,
    /// v1 `memory.memsw.usage_in_bytes`: memory plus swap.
    pub memory_and_swap_usage: Option<Bytes>,
    /// v1 `memory.memsw.limit_in_bytes`: limit on memory plus swap.
    pub memory_and_swap_limit: Option<Limit>,
    /// `memory.stat`.
    pub stat: Option<MemoryStat>,
    /// v2 `memory.events`: of it and everything below it, cgroups that are gone included.
    pub events: Option<MemoryEvents>,
    /// v2 `memory.events.local` (Linux 5.3): of it alone.
    pub events_local: Option<MemoryEvents>,
    /// v1 `memory.oom_control`.
    pub oom_control: Option<OomControl>,
    /// v1 `memory.failcnt`: times its usage hit the limit.
    pub limit_hits: Option<u64>,
    /// `memory.peak` (Linux 5.19), v1 `memory.max_usage_in_bytes`.
    pub peak: Option<Bytes>,
    /// v2 `memory.pressure`.
    pub pressure: Option<Pressure>,
    /// v2 `memory.oom.group`: a kill takes the whole cgroup.
    pub oom_group: Option<bool>,
}

impl CgroupMemory {
    /// Processes of this cgroup itself that an OOM killer has killed, or `None` where the kernel doesn't say:
    /// v1 before 4.13, the root of v2. Kernels without `memory.events.local` count only the cgroup itself in
    /// `memory.events`.
    pub fn oom_kills(&self) -> Option<u64> {
        match (self.events_local.or(self.events), self.oom_control) {
            (Some(events), _) => events.oom_kill,
            (None, Some(control)) => control.oom_kill,
            (None, None) => None,
        }
    }

    /// Usage as the kubelet counts it against requests and thresholds: usage without inactive page cache.
    /// (`setMemoryStats` in cAdvisor's container/libcontainer/handler.go, kubelet 1.36.)
    pub fn working_set(&self) -> Option<Bytes> {
        Some(self.usage?.saturating_sub(self.stat?.inactive_file?))
    }
}

/// A file of a cgroup: its name and where its text goes.
#[derive(Debug, Clone, Copy)]
pub struct MemoryFile {
    /// The name inside the cgroup's directory.
    pub name: &'static str,
    /// How soon its text is out of date.
    pub pace: Pace,
    /// What it has to do with how much memory is left.
    pub role: Role,
    /// Whether it counts the kills of the cgroup itself.
    pub counts_kills: bool,
    /// Whether it tells of a kill a moment ago: its count, how near to its limit the cgroup is, and who dies with it. It
    /// must be cheap, since in a storm it is read for each kill: `memory.stat` is not, as v2 first adds up what all
    /// processors hold.
    pub tells_of_kill: bool,
    /// Forgets in a reading what the file said.
    pub clear: fn(&mut CgroupMemory),
    /// Puts the parsed text into a reading.
    pub apply: fn(&[u8], &mut CgroupMemory) -> Result<(), ParseError>,
}

/// How soon the text of a file is out of date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// It says what is left, or what bounds it: it must be of the moment.
    Fast,
    /// A setting that seldom changes, or history that changes no decision.
    Slow,
}

/// What a file has to do with how much memory is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It is a bound.
    Limit,
    /// It is what counts against a bound, or can be given back.
    Usage,
    /// Nothing: it tells of other things.
    Other,
}

impl MemoryFile {
    /// The files that tell of a cgroup's memory under `version`.
    pub const fn all(version: CgroupVersion) -> &'static [MemoryFile] {
        match version {
            CgroupVersion::V1 => V1_FILES,
            CgroupVersion::V2 => V2_FILES,
        }
    }
}

macro_rules! memory_files {
    ($($pace:ident $role:ident $name:literal => $field:ident = $parse:expr;)*) => {
        &[$(MemoryFile {
            name: $name,
            pace: Pace::$pace,
            role: Role::$role,
            counts_kills: matches!($name.as_bytes(), b"memory.events.local" | b"memory.oom_control"),
            tells_of_kill: tells_of_kill($name),
            clear: |memory| memory.$field = None,
            apply: |text, memory| {
                memory.$field = Some($parse(text)?);
                Ok(())
            },
        }),*]
    };
}

const fn tells_of_kill(name: &str) -> bool {
    matches!(
        name.as_bytes(),
        b"memory.current"
            | b"memory.max"
            | b"memory.events.local"
            | b"memory.oom.group"
            | b"memory.usage_in_bytes"
            | b"memory.limit_in_bytes"
            | b"memory.oom_control"
    )
}

const V2_FILES: &[MemoryFile] = memory_files! {
    Fast Usage "memory.current" => usage = Bytes::parse;
    Fast Usage "memory.stat" => stat = MemoryStat::parse_v2;
    Fast Other "memory.events.local" => events_local = MemoryEvents::parse;
    Fast Limit "memory.max" => max = Limit::parse_v2;
    Fast Limit "memory.high" => high = Limit::parse_v2;
    Fast Usage "memory.swap.current" => swap_usage = Bytes::parse;
    Fast Other "memory.pressure" => pressure = Pressure::parse;
    Slow Other "memory.events" => events = MemoryEvents::parse;
    Slow Other "memory.low" => low = Limit::parse_v2;
    Slow Other "memory.min" => min = Limit::parse_v2;
    Slow Limit "memory.swap.max" => swap_max = Limit::parse_v2;
    Slow Other "memory.peak" => peak = Bytes::parse;
    Slow Other "memory.oom.group" => oom_group = parse_flag;
};

const V1_FILES: &[MemoryFile] = memory_files! {
    Fast Usage "memory.usage_in_bytes" => usage = Bytes::parse;
    Fast Usage "memory.stat" => stat = MemoryStat::parse_v1;
    Fast Other "memory.oom_control" => oom_control = OomControl::parse;
    Fast Limit "memory.limit_in_bytes" => max = Limit::parse_v1;
    Fast Usage "memory.memsw.usage_in_bytes" => memory_and_swap_usage = Bytes::parse;
    Slow Limit "memory.memsw.limit_in_bytes" => memory_and_swap_limit = Limit::parse_v1;
    Slow Usage "memory.kmem.usage_in_bytes" => kernel_usage = Bytes::parse;
    Slow Other "memory.failcnt" => limit_hits = parse_count;
    Slow Other "memory.max_usage_in_bytes" => peak = Bytes::parse;
};

fn parse_count(text: &[u8]) -> Result<u64, ParseError> {
    parse::single_u64(text, "a count")
}

fn parse_flag(text: &[u8]) -> Result<bool, ParseError> {
    match parse::single_word(text) {
        Some(b"0") => Ok(false),
        Some(b"1") => Ok(true),
        _ => Err(ParseError::new("`0` or `1`", text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apply(version: CgroupVersion, name: &str, text: &[u8]) -> Result<CgroupMemory, ParseError> {
        let mut memory = CgroupMemory::default();
        let file = MemoryFile::all(version).iter().find(|file| file.name == name).unwrap();
        (file.apply)(text, &mut memory).map(|()| memory)
    }

    #[test]
    fn each_file_fills_its_field() {
        let v2 = |name, text| apply(CgroupVersion::V2, name, text).unwrap();
        assert_eq!(v2("memory.current", b"4096\n").usage, Some(Bytes::new(4096)));
        assert_eq!(v2("memory.max", b"max\n").max, Some(Limit::Max));
        assert_eq!(v2("memory.low", b"7\n").low, Some(Limit::At(Bytes::new(7))));
        assert_eq!(v2("memory.oom.group", b"1\n").oom_group, Some(true));
        let v1 = |name, text| apply(CgroupVersion::V1, name, text).unwrap();
        assert_eq!(v1("memory.failcnt", b"3\n").limit_hits, Some(3));
        assert_eq!(v1("memory.memsw.limit_in_bytes", b"9223372036854771712\n").memory_and_swap_limit, Some(Limit::Max));
    }

    #[test]
    fn no_file_takes_garbage_or_nothing() {
        for version in [CgroupVersion::V1, CgroupVersion::V2] {
            for file in MemoryFile::all(version) {
                for text in [&b""[..], b"\n", b"\x80\x00\xff", b"memory", b"18446744073709551616\n"] {
                    let mut memory = CgroupMemory::default();
                    assert!((file.apply)(text, &mut memory).is_err(), "{} took {text:?}", file.name);
                    assert_eq!(memory, CgroupMemory::default(), "{} left something behind", file.name);
                }
            }
        }
    }

    #[test]
    fn each_file_clears_what_it_fills() {
        for version in [CgroupVersion::V1, CgroupVersion::V2] {
            for file in MemoryFile::all(version) {
                let texts: [&[u8]; 3] = [b"1\n", b"oom_kill 1\n", b"some avg10=0 avg60=0 avg300=0 total=1\n"];
                let mut memory = CgroupMemory::default();
                assert!(texts.iter().any(|text| (file.apply)(text, &mut memory).is_ok()), "{}", file.name);
                assert_ne!(memory, CgroupMemory::default(), "{}", file.name);
                (file.clear)(&mut memory);
                assert_eq!(memory, CgroupMemory::default(), "{}", file.name);
            }
        }
    }

    #[test]
    fn kills_come_from_the_local_counter() {
        assert_eq!(CgroupMemory::default().oom_kills(), None);
        let mut memory = apply(CgroupVersion::V2, "memory.events", b"oom_kill 5\n").unwrap();
        assert_eq!(memory.oom_kills(), Some(5), "a kernel without memory.events.local");
        memory.events_local = Some(MemoryEvents::parse(b"oom_kill 2\n").unwrap());
        assert_eq!(memory.oom_kills(), Some(2), "the subtree's counter is not the cgroup's own");
    }
}
