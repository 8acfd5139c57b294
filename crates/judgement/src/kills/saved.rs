//! What of the ledger must outlive the process, so that a restart loses no kill and tells none twice.

use reprieve_readings::{BootId, CgroupInode};

use super::{KillId, KillRecord};

/// The ledger's state as it was saved last. It belongs to one boot: in another, only `next_id` holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SavedLedger {
    /// The boot it was saved in; `None` where nothing was saved.
    pub boot: Option<BootId>,
    /// The number that the next record gets.
    pub next_id: KillId,
    /// The machine's count of kills up to which all are told.
    pub node_told: Option<u64>,
    /// By how much that rose since counting began: the sum of what all records of this boot counted.
    pub node_rise: u64,
    /// For each cgroup in which anything was ever killed, the count up to which all are told.
    pub cgroups: Vec<(CgroupInode, u64)>,
    /// Every line of the kernel's log up to this one is dealt with.
    pub read_through: Option<u64>,
    /// Lines beyond `read_through` that are told already.
    pub told_beyond: Vec<u64>,
}

/// What changed of the ledger. Applied as a whole or not at all, in the order in which they were made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LedgerChange {
    /// Records that are new, or replace the one with the same number.
    pub records: Vec<KillRecord>,
    /// Cgroups that were told to a new count.
    pub counted: Vec<(CgroupInode, u64)>,
    /// Cgroups that are gone.
    pub forgotten: Vec<CgroupInode>,
    /// The rest of the state, all of it. Its `cgroups` are left empty: `counted` and `forgotten` change them.
    pub state: SavedLedger,
}
