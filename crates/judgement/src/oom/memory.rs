//! Where the memory was, and who used it.

use std::collections::BTreeMap;

use reprieve_readings::{Bytes, MemoryInfo, OomLogReport};

use super::choice::{Candidate, Ranking};

/// Where the memory of a cgroup, or of the machine, was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryUse {
    /// What was used in all: of the cgroup what is charged, of the machine its RAM.
    pub total: Bytes,
    /// What it consisted of. Parts that the log doesn't tell are left out, so the sum can be less than the total.
    pub parts: Vec<MemoryPart>,
    /// Page cache that the kernel could still have taken: on the file lists. It had tried to.
    pub reclaimable: Option<Bytes>,
}

/// A part of the memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryPart {
    /// Which.
    pub part: Part,
    /// How much.
    pub bytes: Bytes,
}

/// What memory is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    /// Anonymous memory of programs: heaps, stacks.
    Anonymous,
    /// tmpfs and shared memory, which belong to files and not to processes.
    SharedMemory,
    /// Page cache of files on disks.
    PageCache,
    /// The kernel's objects that can be freed.
    SlabReclaimable,
    /// The kernel's objects that can't.
    SlabUnreclaimable,
    /// Page tables.
    PageTables,
    /// Stacks of threads, the kernel's side.
    KernelStacks,
    /// Kernel memory of which no more is told (v1).
    Kernel,
    /// Memory that nothing uses.
    Free,
}

/// Who used most of the memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MainUser {
    /// One process.
    Process {
        /// Its pid.
        pid: u32,
        /// Its name.
        name: Vec<u8>,
        /// Its memory in RAM.
        resident: Bytes,
    },
    /// Many processes of one name.
    Processes {
        /// Their name.
        name: Vec<u8>,
        /// How many.
        count: usize,
        /// Their memory in RAM; what they share counts several times.
        resident: Bytes,
    },
    /// Files in tmpfs, or shared memory: killing a process does not free it.
    SharedMemory {
        /// How much.
        bytes: Bytes,
    },
    /// The kernel's own objects that can't be freed.
    UnreclaimableSlab {
        /// How much.
        bytes: Bytes,
    },
    /// Page tables.
    PageTables {
        /// How much.
        bytes: Bytes,
    },
    /// Nobody alone, or the log doesn't tell.
    Unclear,
}

/// Where the memory was. `None` where the log doesn't tell.
pub(super) fn judge_memory(report: &OomLogReport, page_size: Bytes) -> Option<MemoryUse> {
    match (&report.memory, &report.memory_info) {
        (Some(memory), _) => Some(memory_of_cgroup(report, memory.usage)),
        (None, Some(info)) => memory_of_machine(info, page_size),
        (None, None) => None,
    }
}

fn memory_of_cgroup(report: &OomLogReport, total: Bytes) -> MemoryUse {
    // Up to 5.2 each cgroup of the subtree has stats of its own alone: they add up.
    let stats: Vec<_> = report.stats.iter().map(|stats| stats.memory_stat()).collect();
    let sum = |pick: fn(&reprieve_readings::MemoryStat) -> Option<Bytes>| {
        let found: Vec<Bytes> = stats.iter().filter_map(pick).collect();
        (!found.is_empty()).then(|| found.into_iter().sum::<Bytes>())
    };
    let shmem = sum(|stat| stat.shmem);
    // Before 4.12 v1 has no shmem of its own: what is on the anonymous lists and is no anonymous memory.
    let shmem = shmem.or_else(|| {
        let lists = sum(|stat| Some(stat.active_anon?.saturating_add(stat.inactive_anon?)))?;
        Some(lists.saturating_sub(sum(|stat| stat.anon)?))
    });
    let cache = sum(|stat| stat.file).map(|file| file.saturating_sub(shmem.unwrap_or_default()));
    let has_slab = stats.iter().any(|stat| stat.slab_unreclaimable.is_some());
    let kernel = report.kmem.map(|kmem| kmem.usage).filter(|_| !has_slab);
    let parts = [
        (Part::Anonymous, sum(|stat| stat.anon)),
        (Part::SharedMemory, shmem),
        (Part::PageCache, cache),
        (Part::SlabReclaimable, sum(|stat| stat.slab_reclaimable)),
        (Part::SlabUnreclaimable, sum(|stat| stat.slab_unreclaimable)),
        (Part::PageTables, sum(|stat| stat.pagetables)),
        (Part::KernelStacks, sum(|stat| stat.kernel_stack)),
        (Part::Kernel, kernel),
    ];
    MemoryUse { total, parts: known(parts), reclaimable: sum(|stat| stat.file_lists()) }
}

fn memory_of_machine(info: &MemoryInfo, page_size: Bytes) -> Option<MemoryUse> {
    let bytes = |pages: u64| Bytes::new(pages.saturating_mul(page_size.get()));
    let of = |name: &str| info.pages_of(name).map(bytes);
    let sum = |one: &str, other: &str| Some(of(one)?.saturating_add(of(other)?));
    let shmem = of("shmem");
    // Both lists of anonymous memory hold tmpfs too.
    let anonymous = sum("active_anon", "inactive_anon").map(|lists| lists.saturating_sub(shmem.unwrap_or_default()));
    let file = sum("active_file", "inactive_file");
    let total = bytes(info.ram?.saturating_sub(info.reserved.unwrap_or(0)));
    let parts = [
        (Part::Anonymous, anonymous),
        (Part::SharedMemory, shmem),
        (Part::PageCache, file),
        (Part::SlabReclaimable, of("slab_reclaimable")),
        (Part::SlabUnreclaimable, of("slab_unreclaimable")),
        (Part::PageTables, of("pagetables")),
        (Part::Free, of("free")),
    ];
    Some(MemoryUse { total, parts: known(parts), reclaimable: file })
}

fn known<const N: usize>(parts: [(Part, Option<Bytes>); N]) -> Vec<MemoryPart> {
    parts.into_iter().filter_map(|(part, bytes)| Some(MemoryPart { part, bytes: bytes? })).collect()
}

/// Who used most of the memory: a third of it, or a fifth where it is nothing that a kill could free.
pub(super) fn judge_main_user(memory: Option<&MemoryUse>, ranking: Option<&Ranking>) -> MainUser {
    let of = |part: Part| memory?.parts.iter().find(|found| found.part == part).map(|found| found.bytes);
    let is_share =
        |bytes: &Bytes, of_parts: u64| memory.is_some_and(|memory| bytes.get() >= memory.total.get() / of_parts);
    if let Some(bytes) = of(Part::SharedMemory).filter(|bytes| is_share(bytes, 3)) {
        return MainUser::SharedMemory { bytes };
    }
    if let Some(bytes) = of(Part::SlabUnreclaimable).filter(|bytes| is_share(bytes, 5)) {
        return MainUser::UnreclaimableSlab { bytes };
    }
    if let Some(bytes) = of(Part::PageTables).filter(|bytes| is_share(bytes, 5)) {
        return MainUser::PageTables { bytes };
    }
    ranking.map_or(MainUser::Unclear, |ranking| largest(&ranking.candidates))
}

/// The process, or the processes of one name, with at least half of what all processes have.
fn largest(candidates: &[Candidate]) -> MainUser {
    let total: Bytes = candidates.iter().map(|candidate| candidate.resident).sum();
    let is_half = |bytes: Bytes| bytes > Bytes::ZERO && bytes.get() >= total.get() / 2;
    let Some(one) = candidates.iter().max_by_key(|candidate| candidate.resident) else { return MainUser::Unclear };
    if is_half(one.resident) {
        return MainUser::Process { pid: one.pid, name: one.name.clone(), resident: one.resident };
    }
    let mut by_name: BTreeMap<&[u8], (usize, Bytes)> = BTreeMap::new();
    for candidate in candidates {
        let (count, resident) = by_name.entry(&candidate.name).or_default();
        *count += 1;
        *resident = resident.saturating_add(candidate.resident);
    }
    match by_name.into_iter().max_by_key(|(_, (_, resident))| *resident) {
        Some((name, (count, resident))) if is_half(resident) => {
            MainUser::Processes { name: name.to_vec(), count, resident }
        }
        _ => MainUser::Unclear,
    }
}
