//! The same walk with `cgroupfs`, the crate with which below reads cgroups. It knows v2 only.
//!
//! It reads the seven files that every scan of ours reads, and none of those that a scan reads in turns. It keeps nothing
//! open between two walks, since a `CgroupReader` opens each file anew.

use std::hint::black_box;
use std::path::Path;

use anyhow::{Context, Result};
use cgroupfs::CgroupReader;

/// Reads the cgroup `top` and all inside it.
pub(crate) fn read_all(top: &Path) -> Result<()> {
    read_tree(&CgroupReader::new(top.to_owned())?)
}

fn read_tree(cgroup: &CgroupReader) -> Result<()> {
    read_one(cgroup).with_context(|| format!("cgroupfs could not read {}", cgroup.name().display()))?;
    cgroup.child_cgroup_iter()?.try_for_each(|child| read_tree(&child))
}

fn read_one(cgroup: &CgroupReader) -> Result<(), cgroupfs::Error> {
    black_box(cgroup.read_memory_current()?);
    black_box(cgroup.read_memory_stat()?);
    black_box(cgroup.read_memory_events_local()?);
    black_box(cgroup.read_memory_max()?);
    black_box(cgroup.read_memory_high()?);
    black_box(cgroup.read_memory_swap_current()?);
    black_box(cgroup.read_memory_pressure()?);
    Ok(())
}
