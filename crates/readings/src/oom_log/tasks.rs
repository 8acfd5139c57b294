//! The table of processes in a report: who could have been killed.

use crate::Bytes;

/// The table of processes. Source: `dump_tasks` in mm/oom_kill.c; columns by version in [`TaskRow`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TaskTable {
    /// The names of the columns, from `uid` to `name`; none where the line that tells is missing.
    pub columns: Vec<Vec<u8>>,
    /// The rows in the order printed. Of a table that is too long, those with the most memory are kept.
    pub rows: Vec<TaskRow>,
    /// How many rows are not kept.
    pub rows_left_out: u64,
}

/// A process in the table. Memory is in pages, whose size the log does not tell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TaskRow {
    /// The pid in the first pid namespace, of the thread that has the memory: the leader's, if that lives.
    pub pid: u32,
    /// The process (thread group). The same as `pid` nearly always.
    pub tgid: u32,
    /// The user, in the first user namespace.
    pub uid: u32,
    /// Pages of its address space.
    pub total_vm: Option<u64>,
    /// Pages in RAM.
    pub rss: Option<u64>,
    /// Of these the anonymous ones. From Linux 6.8.
    pub rss_anon: Option<u64>,
    /// Of these the mapped file pages. From Linux 6.8.
    pub rss_file: Option<u64>,
    /// Of these shared memory and tmpfs. From Linux 6.8.
    pub rss_shmem: Option<u64>,
    /// Memory of its page tables. From Linux 4.15.
    pub pgtables: Option<Bytes>,
    /// How many page tables it has (`nr_ptes`, and `nr_pmds` from 4.0). Up to Linux 4.14.
    pub pgtable_pages: Option<u64>,
    /// Pages in swap.
    pub swapents: Option<u64>,
    /// How much its owner wanted it killed, from −1000 (never) to 1000.
    pub oom_score_adj: Option<i16>,
    /// Its name, at most 15 bytes, as it chose it itself.
    pub name: Vec<u8>,
}
