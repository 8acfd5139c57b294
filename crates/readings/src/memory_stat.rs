//! `memory.stat` of a cgroup: where its memory is.
//!
//! v2 counts the cgroup with everything below it. v1 prints each key twice, for the cgroup alone and, as `total_…`, for
//! the whole subtree, under names of its own. Here one struct with v2's names serves both, always for the subtree,
//! because that is what a limit is held against.

use crate::bytes::{Bytes, Limit};
use crate::parse::{self, ParseError};

/// Makes the struct and what looks up its fields, from one row a field: its meaning, its name, v2's key, and v1's key
/// where v1 has it. The lookups match literals, which the compiler turns into few comparisons.
macro_rules! memory_stat {
    ($($(#[$doc:meta])+ $field:ident = $v2:literal $(, $v1:literal)?;)*) => {
        /// What `memory.stat` says of a cgroup and everything below it. A key that this kernel lacks is `None`.
        ///
        /// Sources: Documentation/admin-guide/cgroup-v2.rst ("memory.stat") and cgroup-v1/memory.rst (section 5.2),
        /// Linux 6.18.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct MemoryStat {
            $($(#[$doc])+ pub $field: Option<Bytes>,)*
            /// v1 only: the smallest limit of the cgroup and all its ancestors, hidden ones included.
            pub hierarchical_limit: Option<Limit>,
            /// Pages of files that were reclaimed and soon wanted back, since the cgroup was made
            /// (`workingset_refault_file`, Linux 5.9).
            pub file_refaults: Option<u64>,
        }

        impl MemoryStat {
            fn v2_field(&mut self, key: &[u8]) -> Option<&mut Option<Bytes>> {
                match key {
                    $($v2 => Some(&mut self.$field),)*
                    _ => None,
                }
            }

            fn v1_field(&mut self, key: &[u8]) -> Option<&mut Option<Bytes>> {
                match key {
                    $($($v1 => Some(&mut self.$field),)?)*
                    _ => None,
                }
            }

            /// The same with each amount changed, the limit and the count excepted.
            #[must_use]
            pub fn map(self, change: impl Fn(Bytes) -> Bytes) -> MemoryStat {
                MemoryStat { $($field: self.$field.map(&change),)* ..self }
            }

            fn or(self, other: MemoryStat) -> MemoryStat {
                MemoryStat {
                    $($field: self.$field.or(other.$field),)*
                    hierarchical_limit: self.hierarchical_limit.or(other.hierarchical_limit),
                    file_refaults: self.file_refaults.or(other.file_refaults),
                }
            }
        }
    };
}

memory_stat! {
    /// Anonymous memory, with huge pages.
    anon = b"anon", b"rss";
    /// Page cache, tmpfs and shared memory included.
    file = b"file", b"cache";
    /// All memory of the kernel (Linux 5.18). v1 says it in a file of its own.
    kernel = b"kernel";
    /// Stacks of threads, the kernel's side.
    kernel_stack = b"kernel_stack";
    /// Page tables.
    pagetables = b"pagetables";
    /// Page tables of virtual machines (Linux 6.1).
    sec_pagetables = b"sec_pagetables";
    /// Swap-backed page cache: tmpfs, shared memory. Counted in `file` too.
    shmem = b"shmem", b"shmem";
    /// Compressed swap in memory (Linux 5.19).
    zswap = b"zswap";
    /// What the pages in `zswap` were before (Linux 5.19).
    zswapped = b"zswapped";
    /// Page cache that processes have mapped.
    file_mapped = b"file_mapped", b"mapped_file";
    /// Page cache that must be written before it can be freed.
    file_dirty = b"file_dirty", b"dirty";
    /// Page cache that is being written.
    file_writeback = b"file_writeback", b"writeback";
    /// Pages that are in memory and in swap.
    swapcached = b"swapcached", b"swapcached";
    /// Anonymous memory in huge pages.
    anon_thp = b"anon_thp", b"rss_huge";
    /// Page cache in huge pages.
    file_thp = b"file_thp";
    /// Shared memory in huge pages.
    shmem_thp = b"shmem_thp";
    /// Anonymous memory and tmpfs on the inactive list.
    inactive_anon = b"inactive_anon", b"inactive_anon";
    /// Anonymous memory and tmpfs on the active list.
    active_anon = b"active_anon", b"active_anon";
    /// Page cache on the inactive list: the first to be reclaimed.
    inactive_file = b"inactive_file", b"inactive_file";
    /// Page cache on the active list: reclaimable too, though the kubelet counts it as used.
    active_file = b"active_file", b"active_file";
    /// Memory that can't be reclaimed, such as mlocked pages.
    unevictable = b"unevictable", b"unevictable";
    /// Kernel objects that can be freed, such as dentries and inodes.
    slab_reclaimable = b"slab_reclaimable";
    /// Kernel objects that can't.
    slab_unreclaimable = b"slab_unreclaimable";
    /// Pages of hugetlbfs, where the mount option `memory_hugetlb_accounting` charges them (Linux 6.7; told from 6.12).
    hugetlb = b"hugetlb";
}

const REFAULTS: &[u8] = b"workingset_refault_file";

impl MemoryStat {
    /// Parses v2's `memory.stat`. Keys that are not known are passed over: every kernel version adds some.
    pub fn parse_v2(text: &[u8]) -> Result<Self, ParseError> {
        let mut stat = MemoryStat::default();
        parse::key_values(text, |key, value| {
            if let Some(field) = stat.v2_field(key) {
                *field = Some(Bytes::new(value));
            } else if key == REFAULTS {
                stat.file_refaults = Some(value);
            }
        })?;
        Ok(stat)
    }

    /// Parses v1's `memory.stat`. Takes the `total_…` value of each key, or the plain one where there is no total.
    pub fn parse_v1(text: &[u8]) -> Result<Self, ParseError> {
        let mut own = MemoryStat::default();
        let mut total = MemoryStat::default();
        parse::key_values(text, |key, value| {
            if key == b"hierarchical_memory_limit" {
                own.hierarchical_limit = Some(Limit::from_v1(value));
            } else if let Some(key) = key.strip_prefix(b"total_") {
                if let Some(field) = total.v1_field(key) {
                    *field = Some(Bytes::new(value));
                } else if key == REFAULTS {
                    total.file_refaults = Some(value);
                }
            } else if let Some(field) = own.v1_field(key) {
                *field = Some(Bytes::new(value));
            }
        })?;
        Ok(total.or(own))
    }

    /// Page cache and kernel objects that can be given back without writing anything: the file lists (which hold
    /// neither tmpfs nor mlocked pages) without dirty pages, and reclaimable slab. `None` where the lists are unknown.
    pub fn reclaimable(&self) -> Option<Bytes> {
        let clean = self.file_lists()?.saturating_sub(self.unclean());
        Some(clean.saturating_add(self.slab_reclaimable.unwrap_or_default()))
    }

    /// Page cache that reclaim looks through, active and inactive.
    pub fn file_lists(&self) -> Option<Bytes> {
        Some(self.active_file?.saturating_add(self.inactive_file?))
    }

    /// Page cache that has to be written, or is being written, before it can be freed.
    pub fn unclean(&self) -> Bytes {
        self.file_dirty.unwrap_or_default().saturating_add(self.file_writeback.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v1_totals_win_over_the_cgroup_s_own() {
        let stat = MemoryStat::parse_v1(
            b"cache 10\nrss 20\nactive_file 1\nhierarchical_memory_limit 9223372036854771712\n\
              total_cache 100\ntotal_rss 200\n",
        )
        .unwrap();
        assert_eq!(stat.file, Some(Bytes::new(100)));
        assert_eq!(stat.anon, Some(Bytes::new(200)));
        assert_eq!(stat.active_file, Some(Bytes::new(1)), "no total: the own value");
        assert_eq!(stat.hierarchical_limit, Some(Limit::Max));
        assert_eq!(stat.slab_reclaimable, None, "absent is not zero");
    }

    #[test]
    fn refaults_are_counted_in_pages() {
        let v2 = MemoryStat::parse_v2(b"workingset_refault_anon 3\nworkingset_refault_file 5\n").unwrap();
        assert_eq!(v2.file_refaults, Some(5));
        let v1 = MemoryStat::parse_v1(b"workingset_refault_file 1\ntotal_workingset_refault_file 7\n").unwrap();
        assert_eq!(v1.file_refaults, Some(7));
    }

    #[test]
    fn reclaimable_leaves_out_dirty_pages_and_tmpfs() {
        let stat = MemoryStat::parse_v2(
            b"anon 1000\nfile 900\nshmem 300\nfile_dirty 50\nfile_writeback 30\n\
              inactive_file 200\nactive_file 400\nslab_reclaimable 7\n",
        )
        .unwrap();
        assert_eq!(stat.reclaimable(), Some(Bytes::new(200 + 400 - 50 - 30 + 7)));
    }

    #[test]
    fn reclaimable_is_unknown_without_the_lists_and_never_underflows() {
        assert_eq!(MemoryStat::parse_v2(b"anon 5\n").unwrap().reclaimable(), None);
        let lagging = MemoryStat::parse_v2(b"active_file 1\ninactive_file 1\nfile_dirty 9\n").unwrap();
        assert_eq!(lagging.reclaimable(), Some(Bytes::ZERO));
    }

    #[test]
    fn malformed_text_is_an_error() {
        for text in
            [&b""[..], b"anon", b"anon 5", b"anon x\n", b"anon 5\nfile\n", b"anon 5\n\nfile 5\n", b"\0\0\n", b" 5\n"]
        {
            assert!(MemoryStat::parse_v2(text).is_err(), "{text:?}");
            assert!(MemoryStat::parse_v1(text).is_err(), "{text:?}");
        }
    }
}
