//! The kernel's tracepoints as a source of who was killed and where tasks belong: tracing instances of our own.
//!
//! One instance records the victims of the OOM killer and wakes whoever polls. The other records who was moved into which
//! memory cgroup and who made which task; it fills by itself and is read when somebody wants to know. They are apart
//! because a storm of forks must neither push victims out nor wake anybody. Nothing of anybody else's tracing is touched.

mod error;
mod instance;
mod merge;
mod tracefs;

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, PoisonError};

use reprieve_readings::{LostEvents, TraceDecoder, TraceEvent, Tracepoint};

pub use error::TraceError;

use crate::error::Problems;
use crate::roots::Roots;
use instance::Instance;
use tracefs::Tracefs;

/// Kills and the descent of tasks, as the kernel's tracepoints tell them.
///
/// Times are those of `CLOCK_BOOTTIME`. Ids of processes and threads are those of the first pid namespace and paths of
/// cgroups start at the root of their hierarchy, whatever namespaces this process is in. Recording begins at
/// [`open`](Self::open): of what was before, nothing is known.
///
/// # Cost
/// Three descriptors, and two for each possible processor up to the 64th; of further ones the files are opened to be read.
/// The kernel's buffers take 72 KiB (victims) and 264 KiB (lineage) of each processor that was online, which are charged
/// to no cgroup. Making an instance takes another 1.4 MiB of each for a moment, since the kernel begins with buffers of
/// its usual size. Up to Linux 6.5 an instance has files of its own for each event of the kernel: 8 MiB that are charged
/// to this process's cgroup (16.3 MiB for both on 6.1, 0.3 MiB on 6.18).
///
/// # End
/// Dropping this removes the instances. Those of a process that was killed stay, and go on recording, until the next
/// `open` takes them over, or `rmdir /sys/kernel/tracing/instances/reprieve-*` removes them.
#[derive(Debug)]
pub struct KillTrace {
    victims: Instance,
    lineage: Instance,
    // Of processes that were killed, until they are read.
    left_victims: Vec<Instance>,
    left_lineage: Vec<Instance>,
    decoder: TraceDecoder,
    buffer: Vec<u8>,
}

/// What came of reading an instance, beside the events.
#[derive(Debug, Default)]
pub struct TraceDrain {
    /// How many events there were.
    pub events: u64,
    /// What the kernel overwrote before it was read.
    pub lost: LostEvents,
    /// Records that make no sense.
    pub unreadable: u64,
    /// What went wrong with single processors' buffers. The others were read.
    pub problems: Problems,
}

impl KillTrace {
    /// The kernel's buffers, in KiB of each processor. A victim takes some 90 bytes and a fork 52: 700 and 5,000 of them.
    const VICTIMS_KIB: u32 = 64;
    const LINEAGE_KIB: u32 = 256;

    /// Starts to record. `memory_hierarchy` is the id of the cgroup hierarchy that counts memory (0 on v2), see
    /// [`memory_hierarchy_id`](crate::memory_hierarchy_id). Instances that a killed process left behind
    /// are taken over: what they have recorded since comes first when this is read, and then they are removed.
    ///
    /// Tracefs is looked for below the `/sys` of `roots`. Where that is the usual one and has none that can be written
    /// to, a detached mount is made, which nobody else sees.
    ///
    /// # Errors
    /// Tracefs is not to be had, or the kernel lacks a tracepoint. The message tells what to grant.
    pub fn open(roots: &Roots, memory_hierarchy: u32) -> Result<Self, TraceError> {
        // Two threads that open at once could take each other's instances for left ones.
        static OPENING: Mutex<()> = Mutex::new(());
        let _one_at_a_time = OPENING.lock().unwrap_or_else(PoisonError::into_inner);
        let tracefs = Arc::new(Tracefs::find(roots)?);
        let left_victims = instance::take_left(&tracefs, instance::VICTIMS, Self::VICTIMS_KIB);
        let left_lineage = instance::take_left(&tracefs, instance::LINEAGE, Self::LINEAGE_KIB);
        let mut decoder = tracefs.decoder()?;
        for tracepoint in [Tracepoint::MarkVictim, Tracepoint::CgroupAttachTask, Tracepoint::TaskNewtask] {
            tracefs.add_format(&mut decoder, tracepoint)?;
        }
        let victims = Instance::make(&tracefs, instance::VICTIMS, Self::VICTIMS_KIB)?;
        victims.record(Tracepoint::MarkVictim, None)?;
        let lineage = Instance::make(&tracefs, instance::LINEAGE, Self::LINEAGE_KIB)?;
        lineage.record(Tracepoint::CgroupAttachTask, Some(&format!("dst_root == {memory_hierarchy}")))?;
        lineage.record(Tracepoint::TaskNewtask, None)?;
        Ok(KillTrace { victims, lineage, left_victims, left_lineage, decoder, buffer: vec![0; Instance::LARGEST_PAGE] })
    }

    /// Reads the victims that were recorded since the last call, oldest first, without waiting.
    ///
    /// No more than the kernel's buffers hold is read in one call: while they fill faster than they are read, the rest is
    /// left to the next one, and the descriptor stays readable.
    pub fn victims(&mut self, mut visit: impl FnMut(TraceEvent)) -> TraceDrain {
        let mut drained = TraceDrain::default();
        let left = std::mem::take(&mut self.left_victims);
        for instance in left.iter().chain([&self.victims]) {
            drained.add(merge::drain(instance, &self.decoder, &mut self.buffer, &mut visit));
        }
        drained
    }

    /// Reads who was moved and who was made since the last call, oldest first, without waiting and with the same bound.
    pub fn lineage(&mut self, mut visit: impl FnMut(TraceEvent)) -> TraceDrain {
        let mut drained = TraceDrain::default();
        let left = std::mem::take(&mut self.left_lineage);
        for instance in left.iter().chain([&self.lineage]) {
            drained.add(merge::drain(instance, &self.decoder, &mut self.buffer, &mut visit));
        }
        drained
    }
}

impl TraceDrain {
    fn add(&mut self, other: TraceDrain) {
        self.events += other.events;
        self.lost.add(other.lost);
        self.unreadable = self.unreadable.saturating_add(other.unreadable);
        self.problems.append(other.problems);
    }
}

/// Readable (`POLLIN`) while there are victims: of all processors, those that come online later included. After a
/// [`TraceDrain`] with problems it may stay so, though nothing can be read: poll again after a pause.
impl AsFd for KillTrace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.victims.poll_fd()
    }
}
