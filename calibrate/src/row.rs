//! The row of one run: what was read, what it was taken to mean, and what was had.

use std::collections::BTreeMap;

use reprieve_readings::{Bytes, CgroupMemory, Limit, NodeMemory};
use serde::{Deserialize, Serialize};

/// What a line with a row begins with, so that it is found among other output.
pub const ROW_PREFIX: &str = "row ";

/// One run. Amounts are bytes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Row {
    /// What was in memory before.
    pub scenario: String,
    /// `v1` or `v2`.
    pub version: String,
    /// The kernel's release.
    pub kernel: String,
    /// The smallest limit of all levels and the machine, swap included: what errors are held against.
    pub limit: u64,
    /// From the innermost level to the outermost: what was read just before.
    pub levels: Vec<LevelRow>,
    /// The machine, read just before.
    pub node: NodeRow,
    /// Our estimate: at least this, without any swap.
    pub low: u64,
    /// Our estimate: most likely this, swap included.
    pub best: u64,
    /// Our estimate: at most this, swap included.
    pub high: u64,
    /// The part of `best`, `high` and each peer's answer that is swap.
    pub swap: u64,
    /// What the formulas of others answer on the same readings, with the same swap. `None` where one has no answer.
    pub peers: BTreeMap<String, Option<u64>>,
    /// What was really had.
    pub obtained: u64,
    /// What ended it.
    pub end: End,
    /// How long the filling took.
    pub seconds: f64,
}

/// What ended a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum End {
    /// The kernel killed the process.
    Killed,
    /// The kernel slowed it down (`memory.high`).
    Slowed,
    /// It got nothing more for a long time, but was not killed.
    Stalled,
}

/// What was read of a level.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the kernel's names")]
pub struct LevelRow {
    pub max: Option<u64>,
    pub high: Option<u64>,
    pub usage: Option<u64>,
    pub anon: Option<u64>,
    pub file: Option<u64>,
    pub shmem: Option<u64>,
    pub active_file: Option<u64>,
    pub inactive_file: Option<u64>,
    pub active_anon: Option<u64>,
    pub inactive_anon: Option<u64>,
    pub unevictable: Option<u64>,
    pub file_mapped: Option<u64>,
    pub file_dirty: Option<u64>,
    pub file_writeback: Option<u64>,
    pub slab_reclaimable: Option<u64>,
    pub slab_unreclaimable: Option<u64>,
    pub kernel: Option<u64>,
    pub swap_max: Option<u64>,
    pub swap_usage: Option<u64>,
}

/// What was read of the machine.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the kernel's names")]
pub struct NodeRow {
    pub total: Option<u64>,
    pub free: Option<u64>,
    pub available: Option<u64>,
    pub active_file: Option<u64>,
    pub inactive_file: Option<u64>,
    pub kernel_reclaimable: Option<u64>,
    pub shmem: Option<u64>,
    pub swap_free: Option<u64>,
    pub counting_error: u64,
    pub on_processors: Option<u64>,
}

impl From<&CgroupMemory> for LevelRow {
    fn from(memory: &CgroupMemory) -> Self {
        let stat = memory.stat.unwrap_or_default();
        let limit = |limit: Option<Limit>| limit.and_then(Limit::bytes).map(Bytes::get);
        LevelRow {
            max: limit(memory.max),
            high: limit(memory.high),
            usage: memory.usage.map(Bytes::get),
            anon: stat.anon.map(Bytes::get),
            file: stat.file.map(Bytes::get),
            shmem: stat.shmem.map(Bytes::get),
            active_file: stat.active_file.map(Bytes::get),
            inactive_file: stat.inactive_file.map(Bytes::get),
            active_anon: stat.active_anon.map(Bytes::get),
            inactive_anon: stat.inactive_anon.map(Bytes::get),
            unevictable: stat.unevictable.map(Bytes::get),
            file_mapped: stat.file_mapped.map(Bytes::get),
            file_dirty: stat.file_dirty.map(Bytes::get),
            file_writeback: stat.file_writeback.map(Bytes::get),
            slab_reclaimable: stat.slab_reclaimable.map(Bytes::get),
            slab_unreclaimable: stat.slab_unreclaimable.map(Bytes::get),
            kernel: stat.kernel.or(memory.kernel_usage).map(Bytes::get),
            swap_max: limit(memory.swap_max),
            swap_usage: memory.swap_usage.map(Bytes::get),
        }
    }
}

impl From<&NodeMemory> for NodeRow {
    fn from(node: &NodeMemory) -> Self {
        let meminfo = &node.meminfo;
        NodeRow {
            total: meminfo.total.map(Bytes::get),
            free: meminfo.free.map(Bytes::get),
            available: meminfo.available.map(Bytes::get),
            active_file: meminfo.active_file.map(Bytes::get),
            inactive_file: meminfo.inactive_file.map(Bytes::get),
            kernel_reclaimable: meminfo.kernel_reclaimable.map(Bytes::get),
            shmem: meminfo.shmem.map(Bytes::get),
            swap_free: meminfo.swap_free.map(Bytes::get),
            counting_error: node.counting_error.get(),
            on_processors: None,
        }
    }
}
