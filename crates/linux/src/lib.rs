//! The only crate that touches the kernel: it finds the memory controller, reads cgroups, processes and the machine,
//! waits for what the kernel has to tell, and runs programs. It decides nothing.
//!
//! Everything is read below [`Roots`], so that the same code serves a host, a container that has the host's `/proc` and
//! `/sys` mounted elsewhere, and captured trees. A reading of many things returns what it could read together with its
//! [`Problems`]: one bad cgroup never hides the rest.
//!
//! Unsafe code is in `exec` only: the two system calls with which a process becomes another program.

mod cache;
mod cgroup;
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
mod processes;
mod program;
mod roots;
mod tree;

pub use cache::{CacheActor, CacheError, CacheOutcome, CacheTarget, DamonState};
pub use controller::{ControllerError, MemoryController};
pub use descriptors::{DescriptorBudget, raise_descriptor_limit};
pub use error::{Problems, ReadError};
pub use events_watch::EventsWatch;
pub use exec::{ExecError, exec};
pub use file::read_small_file;
pub use kmsg::{KmsgError, KmsgEvent, KmsgReader};
pub use levels::Levels;
pub use node::{NodeMemoryReader, NodeReading, read_meminfo_text, read_node, time_since_boot};
pub use processes::{in_first_pid_namespace, is_namespace_init, memory_cgroup_of, process_stat};
pub use program::read_program;
pub use roots::Roots;
pub use tree::{Cgroup, CgroupId, CgroupTree, ScanSummary};
