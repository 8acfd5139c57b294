//! What a round may still free below protected cgroups: siblings share what their parent may lose, since reclaim asked of
//! a child does not heed the protection above it.

use std::collections::BTreeMap;

use reprieve_readings::{Bytes, CgroupPath};

use crate::eviction::CacheHolder;

/// What is left of each protected cgroup's allowance, once something was taken of it.
#[derive(Debug, Default)]
pub(super) struct Allowances<'a>(BTreeMap<&'a CgroupPath, Bytes>);

impl<'a> Allowances<'a> {
    /// What may be freed of this holder.
    pub(super) fn of(&self, holder: &CacheHolder) -> Bytes {
        let left = holder.protected.iter().filter_map(|protected| self.0.get(&protected.path));
        left.copied().min().map_or(holder.reducible, |left| left.min(holder.reducible))
    }

    /// So much may be freed of it soon.
    pub(super) fn take(&mut self, holder: &'a CacheHolder, bytes: Bytes) {
        for protected in &holder.protected {
            let left = self.0.entry(&protected.path).or_insert(protected.reducible);
            *left = left.saturating_sub(bytes);
        }
    }
}
