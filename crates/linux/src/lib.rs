//! The only crate that touches the kernel: it finds the memory controller, reads cgroups, processes and the machine,
//! waits for what the kernel has to tell, and runs programs. It decides nothing.
//!
//! Everything is read below [`Roots`], so that the same code serves a host, a container that has the host's `/proc` and
//! `/sys` mounted elsewhere, and captured trees. A reading of many things returns what it could read together with its
//! [`Problems`]: one bad cgroup never hides the rest.
//!
//! Unsafe code is where a system call has no safe face: in `exec` (becoming another program), `signals`, `children`,
//! `terminal` and `residency` (what a first process needs).

mod cache;
mod cgroup;
mod children;
mod controller;
mod descriptors;
mod error;
mod events_watch;
mod exec;
mod file;
mod kmsg;
mod levels;
mod node;
mod own_cgroup;
mod process_files;
mod processes;
mod program;
mod residency;
mod roots;
mod signals;
mod terminal;
mod trace;
mod tree;

pub use cache::{
    CacheActor, CacheAmount, CacheError, CacheOutcome, CacheTarget, DamonState, ForceEmptyWriter, write_force_empty,
};
pub use children::{ChildChange, ChildEvent, fork, next_ended_child, reap, stop_or_continuation, stop_tracing};
pub use controller::{ControllerError, MemoryController};
pub use descriptors::{DescriptorBudget, raise_descriptor_limit};
pub use error::{Problems, ReadError};
pub use events_watch::EventsWatch;
pub use exec::{ExecError, exec};
pub use file::read_small_file;
pub use kmsg::{KmsgError, KmsgEvent, KmsgReader};
pub use levels::Levels;
pub use node::{
    NodeKillCounter, NodeMemoryReader, NodeReading, read_boot_id, read_meminfo_text, read_node, time_asleep,
    time_since_boot,
};
pub use process_files::{
    ProcessList, is_copy_of_its_parent, is_dying, oom_score_adj, process_name, process_resident, process_signals,
    reads_signal, set_oom_score_adj,
};
pub use processes::{
    ProcessEnd, command_line, in_first_pid_namespace, is_namespace_init, memory_cgroup_of, memory_hierarchy_id,
    process_end, process_stat,
};
pub use program::read_program;
pub use residency::{lock_touched_memory, shrink_program};
pub use roots::Roots;
pub use signals::{
    ReceivedSignal, Recipient, SignalMask, SignalQueue, become_subreaper, send_signal, signal_on_parent_death,
    stop_own_group,
};
pub use terminal::{hand_over_terminal, is_own_terminal, take_back_terminal};
pub use trace::{KillTrace, TraceDrain, TraceError};
pub use tree::{Cgroup, CgroupId, CgroupTree, ScanSummary};
