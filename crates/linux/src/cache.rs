//! Taking page cache out of a cgroup's working set: by the gentlest means that this kernel has.
//!
//! The kubelet subtracts inactive page cache, so a page that moves from the active to the inactive list stays in memory
//! and stops to count. `generations` (multi-generational LRU) and `deprioritise` (DAMON) do that and free nothing;
//! `reclaim` and `force_empty_step` free some and move some; v1's `memory.force_empty` frees all. Which to use is judged
//! elsewhere. Nothing here can lower a limit: the only files of a cgroup that are written are `memory.reclaim` and
//! `memory.force_empty`.

mod deprioritise;
mod force_empty_step;
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
pub use force_empty_step::{ForceEmptyWriter, write_force_empty};

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
    writer: Option<ForceEmptyWriter>,
    buffer: Buffer,
}

impl CacheActor {
    /// One step asks for no more than this: more would hold locks for long.
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
            writer: None,
            buffer: Buffer::new(),
        }
    }

    /// With a program that writes to v1's `memory.force_empty`, so that the write can be cut short.
    pub fn with_writer(mut self, writer: ForceEmptyWriter) -> Self {
        self.writer = Some(writer);
        self
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
            CgroupVersion::V1 if reclaim::is_there(target, "memory.force_empty") => {
                means.extend(self.writer.is_some().then_some(CacheMeans::ForceEmptyStep));
                means.push(CacheMeans::ForceEmpty);
            }
            _ => {}
        }
        means
    }

    /// Whether DAMON can be used, and why not.
    pub fn damon(&self) -> DamonState {
        self.damon.state()
    }

    /// Does it; what goes in steps, until the working set is smaller by `amount` or that much is freed. Anonymous memory is
    /// left alone, unless `with_anonymous`.
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
        let before = self.read(target)?;
        let started = Instant::now();
        let fell_short = match means {
            CacheMeans::Age => self.generations.age(&target.path).map(|()| false)?,
            CacheMeans::Deprioritise => self.damon.deprioritise(&target.path, amount).map(|()| false)?,
            CacheMeans::Reclaim => {
                let swappiness = self.swappiness(target)?;
                if !swappiness && self.has_swap && !with_anonymous {
                    return Err(CacheError::WouldSwap(means));
                }
                let without_swap = swappiness && !with_anonymous;
                self.in_steps(target, &before, amount, |_, step| {
                    let short = reclaim::reclaim(target, step, without_swap)?;
                    Ok(Step { freed: step, short })
                })?
            }
            CacheMeans::ForceEmptyStep | CacheMeans::ForceEmpty
                if self.has_swap && !with_anonymous && !reclaim::never_swaps(target) =>
            {
                return Err(CacheError::WouldSwap(means));
            }
            CacheMeans::ForceEmptyStep => {
                let writer =
                    self.writer.clone().ok_or_else(|| CacheError::Absent(means, "no program for it".into()))?;
                self.in_steps(target, &before, amount, |actor, step| {
                    let begin = actor.read(target)?;
                    writer.step(target, || {
                        let now = actor.read(target)?;
                        let freed = less(begin.usage, now.usage);
                        let enough = freed >= step || less(before.working_set(), now.working_set()) >= amount;
                        Ok((freed, enough))
                    })
                })?
            }
            CacheMeans::ForceEmpty => reclaim::force_empty(target)?,
        };
        let took = started.elapsed();
        let after = self.read(target)?;
        Ok(CacheOutcome {
            asked: amount,
            freed: less(before.usage, after.usage),
            working_set_removed: less(before.working_set(), after.working_set()),
            took,
            fell_short,
        })
    }

    /// Asks for a little at a time, with pauses in which what is in use is used again and so kept, until the working set
    /// is so much smaller: a kernel with two lists then moves more to the inactive list than it frees. Returns whether the
    /// kernel fell short.
    fn in_steps(
        &mut self,
        target: &CacheTarget,
        before: &CgroupMemory,
        amount: Bytes,
        mut act: impl FnMut(&mut Self, Bytes) -> Result<Step, CacheError>,
    ) -> Result<bool, CacheError> {
        let mut left = amount;
        let mut fell_short = false;
        while left > Bytes::ZERO {
            let asked = left.min(Self::STEP);
            let step = act(self, asked)?;
            fell_short |= step.short;
            left = left.saturating_sub(asked.max(step.freed));
            if less(before.working_set(), self.read(target)?.working_set()) >= amount {
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

/// What one step did.
struct Step {
    freed: Bytes,
    /// The kernel freed less than was asked.
    short: bool,
}

/// How much less it is than before; what is not known is no less.
fn less(before: Option<Bytes>, now: Option<Bytes>) -> Bytes {
    before.unwrap_or_default().saturating_sub(now.or(before).unwrap_or_default())
}

fn refused(target: &CacheTarget, file: &str, errno: Errno) -> CacheError {
    match errno {
        Errno::NOENT | Errno::NODEV => CacheError::Gone,
        errno => CacheError::Refused { path: target.path.child(file.as_bytes()).to_string(), errno },
    }
}
