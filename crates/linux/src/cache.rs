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
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
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

/// How much an act is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheAmount {
    /// By how much the working set is to get smaller.
    pub working_set: Bytes,
    /// What may be freed for it. Means that go in steps keep to it, but for the last step.
    pub free_at_most: Bytes,
    /// Whether there is no time for pauses between steps.
    pub in_hurry: bool,
}

impl CacheAmount {
    /// No more is freed than the working set is to get smaller, with pauses.
    pub const fn gently(working_set: Bytes) -> Self {
        CacheAmount { working_set, free_at_most: working_set, in_hurry: false }
    }
}

/// What one act did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CacheOutcome {
    /// By how much the working set was to get smaller.
    pub asked: Bytes,
    /// How much less was charged to the cgroup after than before; of steps their sum.
    pub freed: Bytes,
    /// How much smaller its working set was after than before; of steps their sum.
    pub working_set_removed: Bytes,
    /// How long it took.
    pub took: Duration,
    /// The kernel freed less than was asked (EAGAIN), or was interrupted (EINTR).
    pub fell_short: bool,
    /// It was called off before it had done all.
    pub called_off: bool,
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

impl CacheError {
    /// The kernel's answer, where it does not let this process write: a read-only mount, or too few privileges.
    pub fn write_is_forbidden(&self) -> Option<Errno> {
        match self {
            CacheError::Refused { errno: errno @ (Errno::ROFS | Errno::ACCESS | Errno::PERM), .. } => Some(*errno),
            _ => None,
        }
    }
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
    called_off: Arc<AtomicBool>,
    buffer: Buffer,
}

impl CacheActor {
    /// What a step frees, and what it may come to while nothing leaves the working set: more would hold locks for long.
    const SMALLEST_STEP: Bytes = Bytes::from_mib(4);
    const LARGEST_STEP: Bytes = Bytes::from_mib(32);
    /// Between two steps.
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
            called_off: Arc::default(),
            buffer: Buffer::new(),
        }
    }

    /// With a program that writes to v1's `memory.force_empty`, so that the write can be cut short.
    pub fn with_writer(mut self, writer: ForceEmptyWriter) -> Self {
        self.writer = Some(writer);
        self
    }

    /// Takes a switch by which another thread can call off what goes on: acts end at their next step once it is on.
    pub fn heed(&mut self, called_off: Arc<AtomicBool>) {
        self.called_off = called_off;
    }

    /// Whether anonymous memory could be swapped out from now on.
    pub fn know_swap(&mut self, has_swap: bool) {
        self.has_swap = has_swap;
    }

    /// Switches off what an agent that was killed in the middle of an act has left of DAMON's. Returns whether there was
    /// any. To be called before any act: it takes this process's own for left over too.
    pub fn clean_up(&self) -> bool {
        self.damon.clean_up()
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

    /// Does it. Anonymous memory is left alone, unless `with_anonymous`.
    ///
    /// # Errors
    /// Nothing was done, for the reason that the error says.
    pub fn act(
        &mut self,
        target: &CacheTarget,
        means: CacheMeans,
        amount: CacheAmount,
        with_anonymous: bool,
    ) -> Result<CacheOutcome, CacheError> {
        let started = Instant::now();
        let (effect, fell_short) = match means {
            CacheMeans::Age => self.at_once(target, |actor| {
                actor.generations.age(&target.path, amount.in_hurry, &actor.called_off).map(|()| false)
            })?,
            CacheMeans::Deprioritise => self.at_once(target, |actor| {
                actor.damon.deprioritise(&target.path, amount.working_set, &actor.called_off).map(|()| false)
            })?,
            CacheMeans::Reclaim => {
                let swappiness = self.swappiness(target)?;
                if !swappiness && self.has_swap && !with_anonymous {
                    return Err(CacheError::WouldSwap(means));
                }
                let without_swap = swappiness && !with_anonymous;
                self.in_steps(target, amount, |_, step| reclaim::reclaim(target, step.free, without_swap))?
            }
            CacheMeans::ForceEmptyStep | CacheMeans::ForceEmpty
                if self.has_swap && !with_anonymous && !reclaim::never_swaps(target) =>
            {
                return Err(CacheError::WouldSwap(means));
            }
            CacheMeans::ForceEmptyStep => {
                let writer =
                    self.writer.clone().ok_or_else(|| CacheError::Absent(means, "no program for it".into()))?;
                self.in_steps(target, amount, |actor, step| {
                    let begin = actor.read(target)?;
                    writer.write_until(target, || {
                        let effect = Effect::between(&begin, &actor.read(target)?);
                        let is_enough = effect.freed >= step.free || effect.working_set_removed >= step.remove;
                        Ok(is_enough || actor.is_called_off())
                    })
                })?
            }
            CacheMeans::ForceEmpty => self.at_once(target, |_| reclaim::force_empty(target))?,
        };
        Ok(CacheOutcome {
            asked: amount.working_set,
            freed: effect.freed,
            working_set_removed: effect.working_set_removed,
            took: started.elapsed(),
            fell_short,
            called_off: self.is_called_off() && effect.working_set_removed < amount.working_set,
        })
    }

    fn is_called_off(&self) -> bool {
        self.called_off.load(Ordering::Relaxed)
    }

    fn at_once(
        &mut self,
        target: &CacheTarget,
        act: impl FnOnce(&mut Self) -> Result<bool, CacheError>,
    ) -> Result<(Effect, bool), CacheError> {
        let before = self.read(target)?;
        let fell_short = act(self)?;
        Ok((Effect::between(&before, &self.read(target)?), fell_short))
    }

    /// Asks for a little at a time, until the working set is smaller by what was wanted: a kernel with two lists first
    /// frees what is inactive, and as soon as less is inactive than it likes to have, moves more there than it frees. Then
    /// comes a pause after each step, if there is time, in which what is in use is used again and so kept. Effects are
    /// summed step by step, since whoever uses the cgroup adds to it meanwhile.
    fn in_steps(
        &mut self,
        target: &CacheTarget,
        amount: CacheAmount,
        mut act: impl FnMut(&mut Self, Step) -> Result<bool, CacheError>,
    ) -> Result<(Effect, bool), CacheError> {
        let mut sum = Effect::default();
        let mut fell_short = false;
        let mut left = amount.free_at_most;
        let mut free = Self::SMALLEST_STEP;
        while left > Bytes::ZERO && sum.working_set_removed < amount.working_set && !self.is_called_off() {
            free = free.min(left);
            let step = Step { free, remove: amount.working_set.saturating_sub(sum.working_set_removed) };
            let (effect, short) = self.at_once(target, |actor| act(actor, step))?;
            fell_short |= short;
            sum.add(effect);
            left = left.saturating_sub(free.max(effect.freed));
            if effect.working_set_removed > Bytes::ZERO {
                free = Self::SMALLEST_STEP;
                thread::sleep(if amount.in_hurry { Duration::ZERO } else { Self::PAUSE });
            } else if short {
                break;
            } else {
                free = free.saturating_add(free).min(Self::LARGEST_STEP);
            }
        }
        Ok((sum, fell_short))
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

/// Sleeps for so long, or until it is called off.
fn wait(length: Duration, called_off: &AtomicBool) {
    const LOOK: Duration = Duration::from_millis(20);
    let started = Instant::now();
    while started.elapsed() < length && !called_off.load(Ordering::Relaxed) {
        thread::sleep(LOOK.min(length.saturating_sub(started.elapsed())));
    }
}

/// What one step is to do: free so much, or take so much out of the working set.
#[derive(Clone, Copy)]
struct Step {
    free: Bytes,
    remove: Bytes,
}

#[derive(Debug, Clone, Copy, Default)]
struct Effect {
    freed: Bytes,
    working_set_removed: Bytes,
}

impl Effect {
    fn between(before: &CgroupMemory, now: &CgroupMemory) -> Self {
        // What is not known is no less.
        let less = |before: Option<Bytes>, now: Option<Bytes>| {
            before.unwrap_or_default().saturating_sub(now.or(before).unwrap_or_default())
        };
        Effect {
            freed: less(before.usage, now.usage),
            working_set_removed: less(before.working_set(), now.working_set()),
        }
    }

    fn add(&mut self, other: Effect) {
        self.freed = self.freed.saturating_add(other.freed);
        self.working_set_removed = self.working_set_removed.saturating_add(other.working_set_removed);
    }
}

fn refused(target: &CacheTarget, file: &str, errno: Errno) -> CacheError {
    match errno {
        Errno::NOENT | Errno::NODEV => CacheError::Gone,
        errno => CacheError::Refused { path: target.path.child(file.as_bytes()).to_string(), errno },
    }
}
