//! `memory.stat` of a cgroup: where its memory is.
//!
//! v2 counts the cgroup with everything below it. v1 prints each key twice, for the cgroup alone and, as `total_…`, for
//! the whole subtree, under names of its own. Here one struct with v2's names serves both, always for the subtree,
//! because that is what a limit is held against.

use crate::bytes::{Bytes, Limit};
use crate::parse::{self, ParseError};

/// What `memory.stat` says of a cgroup and everything below it. A key that this kernel lacks is `None`.
///
/// Sources: Documentation/admin-guide/cgroup-v2.rst ("memory.stat") and cgroup-v1/memory.rst (section 5.2), Linux 6.18.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MemoryStat {
    /// Anonymous memory, with huge pages; v1: `total_rss`.
    pub anon: Option<Bytes>,
    /// Page cache, tmpfs and shared memory included; v1: `total_cache`.
    pub file: Option<Bytes>,
    /// Swap-backed page cache: tmpfs, shared memory. Counted in `file` too.
    pub shmem: Option<Bytes>,
    /// Page cache that processes have mapped.
    pub file_mapped: Option<Bytes>,
    /// Page cache that must be written before it can be freed.
    pub file_dirty: Option<Bytes>,
    /// Page cache that is being written.
    pub file_writeback: Option<Bytes>,
    /// Anonymous memory and tmpfs on the inactive list.
    pub inactive_anon: Option<Bytes>,
    /// Anonymous memory and tmpfs on the active list.
    pub active_anon: Option<Bytes>,
    /// Page cache on the inactive list: the first to be reclaimed.
    pub inactive_file: Option<Bytes>,
    /// Page cache on the active list: reclaimable too, though the kubelet counts it as used.
    pub active_file: Option<Bytes>,
    /// Memory that can't be reclaimed, such as mlocked pages.
    pub unevictable: Option<Bytes>,
    /// Kernel objects that can be freed, such as dentries and inodes. v1 doesn't say.
    pub slab_reclaimable: Option<Bytes>,
    /// Kernel objects that can't. v1 doesn't say.
    pub slab_unreclaimable: Option<Bytes>,
    /// v1 only: the smallest limit of the cgroup and all its ancestors, hidden ones included.
    pub hierarchical_limit: Option<Limit>,
}

impl MemoryStat {
    /// Parses v2's `memory.stat`. Keys that are not known are passed over: every kernel version adds some.
    pub fn parse_v2(text: &[u8]) -> Result<Self, ParseError> {
        let mut stat = MemoryStat::default();
        parse::key_values(text, |key, value| {
            if let Some(field) = stat.v2_field(key) {
                *field = Some(Bytes::new(value));
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
        let lists = self.active_file?.saturating_add(self.inactive_file?);
        let unclean = self.file_dirty.unwrap_or_default().saturating_add(self.file_writeback.unwrap_or_default());
        Some(lists.saturating_sub(unclean).saturating_add(self.slab_reclaimable.unwrap_or_default()))
    }

    fn v2_field(&mut self, key: &[u8]) -> Option<&mut Option<Bytes>> {
        Some(match key {
            b"anon" => &mut self.anon,
            b"file" => &mut self.file,
            b"shmem" => &mut self.shmem,
            b"file_mapped" => &mut self.file_mapped,
            b"file_dirty" => &mut self.file_dirty,
            b"file_writeback" => &mut self.file_writeback,
            b"slab_reclaimable" => &mut self.slab_reclaimable,
            b"slab_unreclaimable" => &mut self.slab_unreclaimable,
            _ => return self.list_field(key),
        })
    }

    fn v1_field(&mut self, key: &[u8]) -> Option<&mut Option<Bytes>> {
        Some(match key {
            b"rss" => &mut self.anon,
            b"cache" => &mut self.file,
            b"shmem" => &mut self.shmem,
            b"mapped_file" => &mut self.file_mapped,
            b"dirty" => &mut self.file_dirty,
            b"writeback" => &mut self.file_writeback,
            _ => return self.list_field(key),
        })
    }

    /// The LRU lists, which both versions name alike.
    fn list_field(&mut self, key: &[u8]) -> Option<&mut Option<Bytes>> {
        Some(match key {
            b"inactive_anon" => &mut self.inactive_anon,
            b"active_anon" => &mut self.active_anon,
            b"inactive_file" => &mut self.inactive_file,
            b"active_file" => &mut self.active_file,
            b"unevictable" => &mut self.unevictable,
            _ => return None,
        })
    }

    fn or(self, other: MemoryStat) -> MemoryStat {
        MemoryStat {
            anon: self.anon.or(other.anon),
            file: self.file.or(other.file),
            shmem: self.shmem.or(other.shmem),
            file_mapped: self.file_mapped.or(other.file_mapped),
            file_dirty: self.file_dirty.or(other.file_dirty),
            file_writeback: self.file_writeback.or(other.file_writeback),
            inactive_anon: self.inactive_anon.or(other.inactive_anon),
            active_anon: self.active_anon.or(other.active_anon),
            inactive_file: self.inactive_file.or(other.inactive_file),
            active_file: self.active_file.or(other.active_file),
            unevictable: self.unevictable.or(other.unevictable),
            slab_reclaimable: self.slab_reclaimable.or(other.slab_reclaimable),
            slab_unreclaimable: self.slab_unreclaimable.or(other.slab_unreclaimable),
            hierarchical_limit: self.hierarchical_limit.or(other.hierarchical_limit),
        }
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
