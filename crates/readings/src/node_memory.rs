//! The machine's own memory: `/proc/meminfo`, and the count of OOM kills in `/proc/vmstat`.

use crate::bytes::Bytes;
use crate::parse::{self, ParseError};

/// Makes the struct and what looks up its fields, from one row a line of the file: its meaning, field and key. The
/// lookup matches literals, which the compiler turns into few comparisons.
macro_rules! meminfo {
    ($($(#[$doc:meta])+ $field:ident = $key:literal;)*) => {
        /// The lines of `/proc/meminfo` that differ from container to container, or that `free` shows. A line that this
        /// kernel lacks is `None`.
        ///
        /// Source: Documentation/filesystems/proc.rst ("meminfo"), Linux 6.18.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct Meminfo {
            $($(#[$doc])+ pub $field: Option<Bytes>,)*
        }

        impl Meminfo {
            fn field(&mut self, key: &[u8]) -> Option<&mut Option<Bytes>> {
                match key {
                    $($key => Some(&mut self.$field),)*
                    _ => None,
                }
            }
        }
    };
}

meminfo! {
    /// Usable memory.
    total = b"MemTotal";
    /// Memory that nothing uses.
    free = b"MemFree";
    /// The kernel's estimate of what can be had without swapping (Linux 3.14).
    available = b"MemAvailable";
    /// Page cache of block devices and of file systems' own structures.
    buffers = b"Buffers";
    /// Page cache of files, tmpfs and shared memory included.
    cached = b"Cached";
    /// Pages that are in memory and in swap.
    swap_cached = b"SwapCached";
    /// The sum of both active lists.
    active = b"Active";
    /// The sum of both inactive lists.
    inactive = b"Inactive";
    /// Anonymous memory and tmpfs, recently used.
    active_anon = b"Active(anon)";
    /// Anonymous memory and tmpfs, not recently used.
    inactive_anon = b"Inactive(anon)";
    /// Page cache, recently used.
    active_file = b"Active(file)";
    /// Page cache, not recently used.
    inactive_file = b"Inactive(file)";
    /// Memory that can't be reclaimed.
    unevictable = b"Unevictable";
    /// Memory locked by mlock.
    mlocked = b"Mlocked";
    /// Memory that only 32-bit kernels tell apart: what the kernel can address directly.
    low_total = b"LowTotal";
    /// The free part of that.
    low_free = b"LowFree";
    /// The rest, which the kernel has to map.
    high_total = b"HighTotal";
    /// The free part of that.
    high_free = b"HighFree";
    /// Swap.
    swap_total = b"SwapTotal";
    /// The unused part of swap.
    swap_free = b"SwapFree";
    /// Compressed swap in memory.
    zswap = b"Zswap";
    /// What the pages in `zswap` were before.
    zswapped = b"Zswapped";
    /// Page cache that must be written before it can be freed.
    dirty = b"Dirty";
    /// Page cache that is being written.
    writeback = b"Writeback";
    /// Anonymous memory.
    anon_pages = b"AnonPages";
    /// Page cache that processes have mapped.
    mapped = b"Mapped";
    /// tmpfs and shared memory.
    shmem = b"Shmem";
    /// Kernel memory that can be reclaimed: `slab_reclaimable` and some more.
    kernel_reclaimable = b"KReclaimable";
    /// The kernel's small objects.
    slab = b"Slab";
    /// Those that can be freed, such as dentries and inodes.
    slab_reclaimable = b"SReclaimable";
    /// Those that can't.
    slab_unreclaimable = b"SUnreclaim";
    /// Stacks of threads, the kernel's side.
    kernel_stack = b"KernelStack";
    /// Page tables.
    page_tables = b"PageTables";
    /// Page tables of virtual machines.
    secondary_page_tables = b"SecPageTables";
    /// What may be promised in all where overcommitting is off.
    commit_limit = b"CommitLimit";
    /// What is promised.
    committed = b"Committed_AS";
    /// Anonymous memory in huge pages.
    anon_huge_pages = b"AnonHugePages";
    /// Shared memory in huge pages.
    shmem_huge_pages = b"ShmemHugePages";
    /// Page cache in huge pages.
    file_huge_pages = b"FileHugePages";
}

impl Meminfo {
    /// Parses `/proc/meminfo`: lines of `Key:   NUMBER kB`. Keys that are not needed are passed over unread.
    pub fn parse(text: &[u8]) -> Result<Self, ParseError> {
        let mut meminfo = Meminfo::default();
        for line in parse::lines(text) {
            let key = key_of(line);
            let Some(field) = meminfo.field(key) else { continue };
            let number = line.strip_suffix(b" kB").and_then(parse::number_at_end);
            // Between key and number stand a colon and blanks.
            let kib = number.filter(|(before, _)| before.trim_ascii_end().len() == key.len() + 1);
            let (_, kib) = kib.ok_or_else(|| ParseError::new("a line `KEY: NUMBER kB`", line))?;
            *field = Some(Bytes::from_kib(kib));
        }
        if meminfo.total.is_none() {
            return Err(ParseError::new("a line `MemTotal:`", text));
        }
        Ok(meminfo)
    }

    /// What a line with this key says, such as `MemFree`. `None` where the line is not among those known here, or
    /// nothing is known.
    pub fn line(&self, key: &[u8]) -> Option<Bytes> {
        let mut copy = *self;
        copy.field(key).copied().flatten()
    }
}

/// What stands before a line's colon; nothing where there is none.
fn key_of(line: &[u8]) -> &[u8] {
    let colon = line.iter().position(|&byte| byte == b':');
    colon.and_then(|colon| line.get(..colon)).unwrap_or_default()
}

/// The machine as far as a judgement needs it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NodeMemory {
    /// `/proc/meminfo`.
    pub meminfo: Meminfo,
    /// By how much a cgroup's counts may be off the truth at any moment.
    ///
    /// The kernel charges memory ahead for each processor, and folds statistics in batches: `MEMCG_CHARGE_BATCH`, 64
    /// pages a processor (include/linux/memcontrol.h, Linux 6.18).
    pub counting_error: Bytes,
}

impl NodeMemory {
    /// What is known of a machine with this many processors that are online.
    pub fn new(meminfo: Meminfo, processors: u32, page_size: Bytes) -> Self {
        const CHARGE_BATCH: u64 = 64;
        let pages = u64::from(processors).saturating_mul(CHARGE_BATCH);
        NodeMemory { meminfo, counting_error: Bytes::new(pages.saturating_mul(page_size.get())) }
    }
}

/// How many processors a list such as `0-3,8` names (`/sys/devices/system/cpu/online`).
pub fn parse_cpu_list(text: &[u8]) -> Result<u32, ParseError> {
    let error = || ParseError::new("a list of processors such as `0-3,8`", text);
    let list = parse::single_word(text).ok_or_else(error)?;
    list.split(|&byte| byte == b',').try_fold(0_u32, |count, range| {
        let mut ends = range.splitn(2, |&byte| byte == b'-').map(parse::decimal);
        let first = ends.next().flatten().ok_or_else(error)?;
        let last = ends.next().map_or(Some(first), |last| last).ok_or_else(error)?;
        let length = last.checked_sub(first).and_then(|rest| rest.checked_add(1)).ok_or_else(error)?;
        let length = u32::try_from(length).map_err(|_| error())?;
        count.checked_add(length).ok_or_else(error)
    })
}

/// Processes that the OOM killer has killed on this machine since it booted, from the text of `/proc/vmstat`
/// (`oom_kill`, Linux 4.13). `None` where the kernel doesn't count.
pub fn parse_vmstat_oom_kill(text: &[u8]) -> Result<Option<u64>, ParseError> {
    const KEY: &[u8] = b"oom_kill ";
    let Some(line) = text.split(|&byte| byte == b'\n').find(|line| line.starts_with(KEY)) else {
        return Ok(None);
    };
    let count = line.strip_prefix(KEY).and_then(parse::decimal);
    count.map(Some).ok_or_else(|| ParseError::new("a line `oom_kill NUMBER`", line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_lines_that_matter() {
        let meminfo = Meminfo::parse(
            b"MemTotal:       24685516 kB\nMemFree:        24037036 kB\nMemAvailable:   24206024 kB\n\
              HugePages_Total:       0\nSwapTotal:             0 kB\n",
        )
        .unwrap();
        assert_eq!(meminfo.total, Some(Bytes::from_kib(24_685_516)));
        assert_eq!(meminfo.available, Some(Bytes::from_kib(24_206_024)));
        assert_eq!(meminfo.swap_total, Some(Bytes::ZERO));
        assert_eq!(meminfo.swap_free, None);
    }

    #[test]
    fn malformed_meminfo_is_an_error() {
        for text in [&b""[..], b"MemFree: 1 kB\n", b"MemTotal: x kB\n", b"MemTotal: 12\n", b"MemTotal:\n", b"\xff:\n"] {
            assert!(Meminfo::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn processors_are_counted_by_ranges() {
        assert_eq!(parse_cpu_list(b"0\n"), Ok(1));
        assert_eq!(parse_cpu_list(b"0-3,8,10-11\n"), Ok(7));
        for text in [&b""[..], b"\n", b"3-1\n", b"0-\n", b"0,,1\n", b"0-99999999999\n", b"-1\n", b"a\n"] {
            assert!(parse_cpu_list(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_kill_count_is_a_whole_key() {
        assert_eq!(parse_vmstat_oom_kill(b"nr_oom_kill 3\noom_kill 7\noom_kill_x 9\n"), Ok(Some(7)));
        assert_eq!(parse_vmstat_oom_kill(b"pgfault 3\n"), Ok(None));
        assert!(parse_vmstat_oom_kill(b"oom_kill many\n").is_err());
    }
}
