//! The memory of a cgroup or machine, as a report of the OOM killer tells it.

use crate::{Bytes, CgroupPath, Limit, MemoryStat};

/// A line `memory: usage NkB, limit NkB, failcnt N`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitUse {
    /// What was charged. May lie below the limit: the charge that failed is not in it.
    pub usage: Bytes,
    /// The limit.
    pub limit: Limit,
    /// How often the limit was run into; from Linux 6.19 on v2 the `max` of `memory.events`, and of swap the `max` of `memory.swap.events`.
    pub failcnt: u64,
}

/// What `memory.stat` of a cgroup said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CgroupStats {
    /// The cgroup.
    pub cgroup: CgroupPath,
    /// Names and values as printed, in order: bytes, or counts of events, by the name. Up to Linux 5.2 the kernel prints
    /// KiB of pages, which are bytes here.
    pub entries: Vec<(Vec<u8>, u64)>,
}

impl CgroupStats {
    /// The amounts among the entries, under v2's names. Reads v1's names too, of which `total_…` go first.
    pub fn memory_stat(&self) -> MemoryStat {
        let mut text = Vec::new();
        for (name, value) in &self.entries {
            text.extend_from_slice(name);
            text.extend_from_slice(format!(" {value}\n").as_bytes());
        }
        let is_v1 = self.value(b"cache").is_some() || self.value(b"rss").is_some();
        let parsed = if is_v1 { MemoryStat::parse_v1(&text) } else { MemoryStat::parse_v2(&text) };
        parsed.unwrap_or_default()
    }

    /// The entry called `name`.
    pub fn value(&self, name: &[u8]) -> Option<u64> {
        self.entries.iter().find(|(known, _)| known == name).map(|(_, value)| *value)
    }
}

/// The machine's memory (`Mem-Info:`), counted in pages where not said otherwise. The log does not tell how large a
/// page is; see [`MemoryInfo::page_size`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MemoryInfo {
    /// Names and values of the block `active_anon:N inactive_anon:N …` in pages, in order, as printed.
    pub pages: Vec<(Vec<u8>, u64)>,
    /// `N total pagecache pages`.
    pub pagecache: Option<u64>,
    /// `N pages in swap cache`.
    pub swap_cache: Option<u64>,
    /// `Free swap`.
    pub swap_free: Option<Bytes>,
    /// `Total swap`.
    pub swap_total: Option<Bytes>,
    /// `N pages RAM`: all there is.
    pub ram: Option<u64>,
    /// `N pages HighMem/MovableOnly`.
    pub high_or_movable: Option<u64>,
    /// `N pages reserved`: part of `ram` that is no memory for allocation.
    pub reserved: Option<u64>,
    /// `N pages cma reserved`.
    pub cma_reserved: Option<u64>,
    /// `N pages hwpoisoned`.
    pub hwpoisoned: Option<u64>,
    /// The zones of each memory node.
    pub zones: Vec<Zone>,
}

impl MemoryInfo {
    /// An entry of [`MemoryInfo::pages`], in pages: `active_anon`, `inactive_anon`, `active_file`, `inactive_file`,
    /// `unevictable`, `slab_reclaimable`, `slab_unreclaimable`, `shmem`, `pagetables`, `free`, and others by version.
    pub fn pages_of(&self, name: &str) -> Option<u64> {
        self.pages.iter().find(|(known, _)| known == name.as_bytes()).map(|(_, pages)| *pages)
    }

    /// How large a page is, by the smallest block of the buddy allocator (`1*4kB …`). `None` where no such line is left.
    pub fn page_size(&self) -> Option<Bytes> {
        self.zones.iter().find_map(|zone| zone.blocks.first().map(|(size, _)| *size))
    }
}

/// A zone of a memory node: `Node N NAME free:NkB min:NkB …`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Zone {
    /// The node; `None` on machines that have but one and a kernel that does not number it (32-bit).
    pub node: Option<u32>,
    /// The zone: `DMA`, `DMA32`, `Normal`, `HighMem`, `Movable`, `Device`.
    pub name: Vec<u8>,
    /// Memory that is free.
    pub free: Option<Bytes>,
    /// Below this only the most urgent allocations get memory.
    pub min: Option<Bytes>,
    /// Below this kswapd reclaims.
    pub low: Option<Bytes>,
    /// Up to this kswapd reclaims.
    pub high: Option<Bytes>,
    /// Memory that the allocator manages.
    pub managed: Option<Bytes>,
    /// Free blocks of the buddy allocator, smallest first: size and number.
    pub blocks: Vec<(Bytes, u64)>,
}

/// A row of `Unreclaimable slab info:`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlabUse {
    /// The name of the slab cache, cut to 17 characters by some versions.
    pub name: Vec<u8>,
    /// Memory of objects in use.
    pub used: Bytes,
    /// Memory of the cache.
    pub total: Bytes,
}
