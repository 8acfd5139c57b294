//! A log as people have it, and the OOM killer's reports in it.
//!
//! [`OomLogReader`] takes the bytes of any log: `/dev/kmsg`, `dmesg` in its forms, the journal (text, JSON, export),
//! syslog, a serial console, a container's log of one of these, or what was left of it on a web page. It gives each
//! report of the kernel as a whole, once it has ended.
//!
//! [`OomKillReader`](crate::OomKillReader) is its stricter sister for the agent: it trusts records of `/dev/kmsg` only,
//! and names each victim at once. Both read the lines of a report by the same parsers. They differ in what they do with
//! doubt: the agent would rather tell less than book a kill to the wrong cgroup, while whoever reads a file that was cut,
//! wrapped or filtered wants what is there, and to be told what is missing.

mod assembly;
mod draft;
mod draft_memory;
mod encoding;
mod envelope;
mod export;
mod joiner;
mod line;
mod lines;
mod membership;
mod memory;
mod memory_line;
mod other_kill;
mod prefix;
mod reader;
mod report;
mod summary;
mod tasks;
mod time;

pub use self::memory::{CgroupStats, LimitUse, MemoryInfo, SlabUse, Zone};
pub use self::reader::OomLogReader;
pub use self::report::{
    AnnouncedVictim, KilledProcess, LogTime, Missing, NamedProcess, OomLogEvent, OomLogReport, OomPanic, OtherKill,
    OtherKiller, ReapedProcess,
};
pub use self::tasks::{TaskRow, TaskTable};
