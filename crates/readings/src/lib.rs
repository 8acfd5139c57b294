//! Typed values of one moment, and the parsers that make them from the kernel's text.
//!
//! Nothing here opens a file, reads a clock or awaits: bytes come in, values go out. A value that the kernel did not
//! give is `None`, never zero; text that cannot be right is a [`ParseError`]. Names of processes and cgroups are bytes
//! written by strangers, so they are kept as bytes and shown only through [`Escaped`].

mod boot;
mod bytes;
mod cache_means;
mod cgroup_memory;
mod cgroup_path;
mod escape;
mod hierarchy;
mod kernel_log;
#[cfg(feature = "kubernetes")]
mod kubernetes;
mod lru_generations;
mod memory_events;
mod memory_stat;
mod mountinfo;
mod node_memory;
#[cfg(feature = "oom-log")]
mod oom_log;
mod owner;
mod parse;
mod pressure;
mod proc_cgroup;
mod process;
mod program;
mod quantity;
mod signal;
mod trace;

pub use boot::BootId;
pub use bytes::{Bytes, Limit};
pub use cache_means::CacheMeans;
pub use cgroup_memory::{CgroupMemory, CgroupVersion, MemoryFile, Pace, Role};
pub use cgroup_path::{CgroupInode, CgroupPath};
pub use escape::Escaped;
pub use hierarchy::{Beneath, MemoryHierarchy, Placement};
pub use kernel_log::{Constraint, KmsgRecord, OomKillReader, OomReport, OomScope, OomTrigger, OomVictim, PrintkCaller};
#[cfg(feature = "kubernetes")]
pub use kubernetes::{
    DocumentError, EvictionAmount, EvictionConfiguration, PodList, PodSpec, parse_eviction_entries,
    parse_kubelet_configuration, parse_pod_list,
};
pub use lru_generations::{NewestGeneration, parse_iomem_ram, parse_newest_generations};
pub use memory_events::{MemoryEvents, OomControl};
pub use memory_stat::MemoryStat;
pub use mountinfo::Mount;
pub use node_memory::{Meminfo, NodeMemory, parse_cpu_list, parse_vmstat_oom_kill};
#[cfg(feature = "oom-log")]
pub use oom_log::{
    AnnouncedVictim, CgroupStats, KilledProcess, LimitUse, LogTime, MemoryInfo, Missing, NamedProcess, OomLogEvent,
    OomLogReader, OomLogReport, OomPanic, OtherKill, OtherKiller, ReapedProcess, SlabUse, TaskRow, TaskTable, Zone,
};
pub use owner::{ContainerId, Driver, Owner, PodUid, QosClass, Runtime, UnitName};
pub use parse::ParseError;
pub use pressure::{Pressure, Stall};
pub use proc_cgroup::ProcCgroup;
pub use process::{ProcessId, ProcessName, ProcessStat, parse_cgroup_procs, parse_is_namespace_init, parse_resident};
pub use program::{
    Assignment, ConfigurationFile, Contents, DotnetHost, ElfFacts, Program, Shebang, Step, Wrapped, base_name,
    configuration_paths, parse_elf, parse_wrapper, postgres_shared_buffers,
};
pub use quantity::parse_quantity;
pub use signal::{DefaultAction, Signal, SignalSets, is_signalfd_for};
pub use trace::{ForkKind, LostEvents, MarkVictim, TraceDecoder, TraceEvent, TraceEventKind, TracePage, Tracepoint};
