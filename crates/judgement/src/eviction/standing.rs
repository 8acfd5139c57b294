//! Standing pressure: containers that can fill a node with cache because nothing bounds them, or a limit far above what
//! they request.
//!
//! A limit makes the kernel reclaim a container's cache long before the kubelet minds. So the advice is to align the
//! two: what a container needs beside its cache, and room for the cache that it keeps using.

use reprieve_readings::{Bytes, CgroupMemory, Limit};

/// A container whose page cache weighs on the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StandingCache {
    /// Why it can.
    pub reason: StandingReason,
    /// Active page cache, which the kubelet counts as used.
    pub active_file: Bytes,
    /// Its working set.
    pub working_set: Bytes,
    /// What it needs beside its page cache: the working set without the active cache.
    pub without_cache: Bytes,
    /// The limit, and the request, that the advice is.
    pub advised: Bytes,
}

/// Why nothing bounds the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StandingReason {
    /// No limit at all.
    NoLimit,
    /// A limit far above the request.
    LimitAboveRequest {
        /// The limit.
        limit: Bytes,
        /// The request of its pod.
        request: Bytes,
    },
}

/// From this share of the node's memory on cache is worth a word: one part of so many.
const WORTH_A_WORD: u64 = 100;
/// A limit of so many times the request is far above it.
const FAR_ABOVE: u64 = 2;

/// Judges one container. `request` is its pod's, where it is known. `None` where its cache is bounded, or small.
pub fn judge_standing_cache(
    memory: &CgroupMemory,
    limit_above: Option<Bytes>,
    request: Option<Bytes>,
    capacity: Bytes,
) -> Option<StandingCache> {
    let active_file = memory.stat?.active_file?;
    let working_set = memory.working_set()?;
    if active_file.get() < capacity.get() / WORTH_A_WORD {
        return None;
    }
    let limit = memory.max.map_or(Limit::Max, |max| max.below(capacity)).bytes();
    let limit = limit.into_iter().chain(limit_above).min();
    let reason = match (limit, request) {
        (None, _) => StandingReason::NoLimit,
        (Some(limit), Some(request)) if limit.get() / FAR_ABOVE > request.get() => {
            StandingReason::LimitAboveRequest { limit, request }
        }
        (Some(_), _) => return None,
    };
    let without_cache = working_set.saturating_sub(active_file);
    Some(StandingCache { reason, active_file, working_set, without_cache, advised: advise(without_cache) })
}

/// Half as much again as is needed beside the cache, at least 64 MiB, in whole MiB.
fn advise(without_cache: Bytes) -> Bytes {
    let needed = without_cache.get().saturating_add(without_cache.get() / 2);
    Bytes::from_mib(needed.div_ceil(1 << 20)).max(Bytes::from_mib(64))
}

#[cfg(test)]
mod tests {
    use reprieve_readings::MemoryStat;

    use super::*;

    fn judge(max: Option<Limit>, request: Option<u64>, active: u64) -> Option<StandingCache> {
        let stat = MemoryStat {
            active_file: Some(Bytes::from_mib(active)),
            inactive_file: Some(Bytes::ZERO),
            ..MemoryStat::default()
        };
        let usage = Some(Bytes::from_mib(active + 100));
        let memory = CgroupMemory { usage, max, stat: Some(stat), ..CgroupMemory::default() };
        judge_standing_cache(&memory, None, request.map(Bytes::from_mib), Bytes::from_mib(10_000))
    }

    #[test]
    fn unbounded_cache_is_named() {
        let at = |mib| Some(Limit::At(Bytes::from_mib(mib)));
        let named = judge(None, None, 500).unwrap();
        assert_eq!((named.reason, named.without_cache), (StandingReason::NoLimit, Bytes::from_mib(100)));
        assert_eq!(named.advised, Bytes::from_mib(150));
        assert!(matches!(judge(at(2000), Some(200), 500).unwrap().reason, StandingReason::LimitAboveRequest { .. }));
        assert_eq!(judge(at(2000), Some(1500), 500), None, "aligned");
        assert_eq!(judge(at(2000), None, 500), None, "the request is not known");
        assert_eq!(judge(at(20_000), None, 500).unwrap().reason, StandingReason::NoLimit, "more than the node has");
        assert_eq!(judge(None, None, 50), None, "too little to mind");
    }
}
