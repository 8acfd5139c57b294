//! Taking page cache out of a cgroup's working set: by the gentlest means that this kernel has.
//!
//! The kubelet subtracts inactive page cache, so a page that moves from the active to the inactive list stays in memory
//! and stops to count. `generations` (multi-generational LRU) and `deprioritise` (DAMON) do that and free nothing;
//! `reclaim` frees some and moves some; v1's `memory.force_empty` frees all. Which to use is judged elsewhere. Nothing
//! here can lower a limit: the only files of a cgroup that are written are `memory.reclaim` and `memory.force_empty`.

mod deprioritise;
mod generations;
mod reclaim;

use std::os::fd::OwnedFd;
use std::thread;
use std::time::{Duration, Instant};

use reprieve_readings::{Bytes, CacheMeans, CgroupMemory, CgroupPath, CgroupVersion, MemoryFile};
use rustix::fs::Mode;
use rustix::io::Errno;

use crate::cgroup::Cgroup;
use crate::file::{self, Buffer};
use crate::roots::Roots;

pub use deprioritise::DamonState;

/// What one act did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CacheOutcome {
    /// Bytes that were asked for.
    pub asked: Bytes,
    /// How much less is charged to the cgroup than before.
    pub freed: Bytes,
    /// How much smaller its working set is than before.
    pub working_set_removed: Bytes,
    /// How long it took.
    pub took: Duration,
    /// The kernel freed less than was asked (EAGAIN), or was interrupted (EINTR).
    pub fell_short: bool,
}

/// Why nothing was done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CacheError {
    /// The cgroup vanished meanwhile. That is normal.
    #[error("the cgroup is gone")]
    Gone,
    /// It could reach anonymous memory, as there is swap and the kernel can't be told to leave that alone.
    #[error("{0} would swap out anonymous memory too, as there is swap and no swappiness=0")]
    WouldSwap(CacheMeans),
    /// The kernel does not have the means here.
    #[error("{0} is not to be had here: {1}")]
    Absent(CacheMeans, String),
    /// The kernel refused.
    #[error("{path}: {errno}")]
    Refused {
        /// The file that was written.
        path: String,
        /// What the kernel answered.
        errno: Errno,
    },
}

/// A cgroup to act on: its open directory, so that another one that gets its path later is safe.
#[derive(Debug)]
pub struct CacheTarget {
    pub(crate) directory: OwnedFd,
    /// Its path.
    pub path: CgroupPath,
}

impl Cgroup {
    /// Makes a handle by which another thread can act on this cgroup.
    ///
    /// # Errors
    /// No descriptor is to be had.
    pub fn cache_target(&self) -> Result<CacheTarget, Errno> {
        Ok(CacheTarget { directory: self.duplicate_directory()?, path: self.path().clone() })
    }
}

/// Acts on cgroups. Blocking: an act can take as long as writing out dirty pages does.
#[derive(Debug)]
pub struct CacheActor {
    version: CgroupVersion,
    generations: generations::Generations,
    damon: deprioritise::Damon,
    has_swap: bool,
    swappiness: Option<bool>,
    buffer: Buffer,
}

impl CacheActor {
    /// The largest amount that one act asks for: more would hold locks for long.
    pub const LARGEST_BATCH: Bytes = Bytes::from_mib(32);

    /// One write to `memory.reclaim` asks for no more than this.
    const STEP: Bytes = Bytes::from_mib(4);
    /// Between two of them.
    const PAUSE: Duration = Duration::from_millis(20);

    /// Looks for what is there. `has_swap` says whether anonymous memory could be swapped out.
    pub fn new(roots: &Roots, version: CgroupVersion, has_swap: bool) -> Self {
        CacheActor {
            version,
            generations: generations::Generations::new(roots),
            damon: deprioritise::Damon::new(roots),
            has_swap,
            swappiness: None,
            buffer: Buffer::new(),
        }
    }

    /// The means that this kernel has for `target`, the gentlest first.
    pub fn means(&mut self, target: &CacheTarget) -> Vec<CacheMeans> {
        let mut means = Vec::new();
        if self.generations.are_on() {
            means.push(CacheMeans::Age);
        }
        if self.damon.state() == DamonState::Free {
            means.push(CacheMeans::Deprioritise);
        }
        match self.version {
            CgroupVersion::V2 if reclaim::is_there(target, "memory.reclaim") => means.push(CacheMeans::Reclaim),
            CgroupVersion::V1 if reclaim::is_there(target, "memory.force_empty") => means.push(CacheMeans::ForceEmpty),
            _ => {}
        }
        means
    }

    /// Whether DAMON can be used, and why not.
    pub fn damon(&self) -> DamonState {
        self.damon.state()
    }

    /// Does it: `memory.reclaim` until the working set is smaller by `amount`, for at most [`Self::LARGEST_BATCH`]. Anonymous memory is left
    /// alone, unless `with_anonymous`.
    ///
    /// # Errors
    /// Nothing was done, for the reason that the error says.
    pub fn act(
        &mut self,
        target: &CacheTarget,
        means: CacheMeans,
        amount: Bytes,
        with_anonymous: bool,
    ) -> Result<CacheOutcome, CacheError> {
        let asked = if means == CacheMeans::Reclaim { amount.min(Self::LARGEST_BATCH) } else { amount };
        let before = self.read(target)?;
        let started = Instant::now();
        let fell_short = match means {
            CacheMeans::Age => self.generations.age(&target.path).map(|()| false)?,
            CacheMeans::Deprioritise => self.damon.deprioritise(&target.path, asked).map(|()| false)?,
            CacheMeans::Reclaim => {
                let swappiness = self.swappiness(target)?;
                if !swappiness && self.has_swap && !with_anonymous {
                    return Err(CacheError::WouldSwap(means));
                }
                self.reclaim_in_steps(target, &before, asked, swappiness && !with_anonymous)?
            }
            CacheMeans::ForceEmpty => {
                if self.has_swap && !with_anonymous && !reclaim::never_swaps(target) {
                    return Err(CacheError::WouldSwap(means));
                }
                reclaim::force_empty(target)?
            }
        };
        let took = started.elapsed();
        let after = self.read(target)?;
        let less = |before: Option<Bytes>, after: Option<Bytes>| {
            before.unwrap_or_default().saturating_sub(after.or(before).unwrap_or_default())
        };
        Ok(CacheOutcome {
            asked,
            freed: less(before.usage, after.usage),
            working_set_removed: less(before.working_set(), after.working_set()),
            took,
            fell_short,
        })
    }

    /// Asks for a little at a time, with pauses in which what is in use is used again and so kept, until the working set
    /// is so much smaller: a kernel with two lists then moves three times as much to the inactive list as it frees.
    fn reclaim_in_steps(
        &mut self,
        target: &CacheTarget,
        before: &CgroupMemory,
        amount: Bytes,
        without_swap: bool,
    ) -> Result<bool, CacheError> {
        let mut left = amount;
        let mut fell_short = false;
        while left > Bytes::ZERO {
            let step = left.min(Self::STEP);
            fell_short |= reclaim::reclaim(target, step, without_swap)?;
            left = left.saturating_sub(step);
            let (then, now) = (before.working_set(), self.read(target)?.working_set());
            if then.zip(now).is_some_and(|(then, now)| then.saturating_sub(now) >= amount) {
                break;
            }
            thread::sleep(Self::PAUSE);
        }
        Ok(fell_short)
    }

    fn swappiness(&mut self, target: &CacheTarget) -> Result<bool, CacheError> {
        let known = match self.swappiness {
            Some(known) => known,
            None => reclaim::takes_swappiness(target)?,
        };
        self.swappiness = Some(known);
        Ok(known)
    }

    /// The cgroup's usage and lists now.
    fn read(&mut self, target: &CacheTarget) -> Result<CgroupMemory, CacheError> {
        let mut memory = CgroupMemory::default();
        let wanted = ["memory.current", "memory.usage_in_bytes", "memory.stat"];
        for memory_file in MemoryFile::all(self.version).iter().filter(|file| wanted.contains(&file.name)) {
            let refused = |errno| refused(target, memory_file.name, errno);
            let open = rustix::fs::openat(&target.directory, memory_file.name, file::OPEN, Mode::empty());
            let open = open.map_err(refused)?;
            if let Ok(text) = self.buffer.read_record(&open) {
                // What can't be understood is unknown; the scan tells of it.
                let _ = (memory_file.apply)(text, &mut memory);
            }
        }
        Ok(memory)
    }
}

fn refused(target: &CacheTarget, file: &str, errno: Errno) -> CacheError {
    match errno {
        Errno::NOENT | Errno::NODEV => CacheError::Gone,
        errno => CacheError::Refused { path: target.path.child(file.as_bytes()).to_string(), errno },
    }
}
