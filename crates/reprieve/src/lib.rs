//! How much memory is really left to this process.
//!
//! Inside a container `/proc/meminfo` and `sysconf` tell of the whole machine. [`Memory::here`] tells of the container:
//! by its cgroup's limits, those of all cgroups above that can be seen, and what the machine itself has left.
//!
//! ```
//! let memory = reprieve::Memory::here()?;
//! if let Some(available) = memory.available() {
//!     let left = available.until_kill.estimate;
//!     println!("most likely {} left, at least {}, at most {}", left.best, left.low, left.high);
//! }
//! # Ok::<(), reprieve::Error>(())
//! ```
//!
//! [`Memory::watch`] yields what changes: the limit resized in place, little memory left, pressure, a kill.
//!
//! It works with cgroup v1, v2 and both, without privileges and on a read-only cgroup mount: it only reads, and on v2
//! has itself told of kills by inotify. It is synchronous and starts no thread.

mod memory;
mod pod_limit;
mod watch;

pub use memory::{Consequence, Error, Memory};
pub use pod_limit::{POD_LIMIT_VARIABLE, PodLimitError, pod_limit_from_environment};
pub use reprieve_judgement::{Available, Binding, Change, Estimate, Headroom, HiddenLimit, Thresholds};
pub use reprieve_linux::{Problems, ReadError, Roots};
pub use reprieve_readings::{
    Bytes, CgroupMemory, CgroupPath, CgroupVersion, Meminfo, Placement, Pressure, Stall, parse_quantity,
};
pub use watch::Watch;
