//! A fuzz target for every parser.
//!
//! A target takes any bytes, parses them, and asserts what must hold of any result: not only that nothing panics. The
//! same functions run in three ways: under libFuzzer (`fuzz_targets/`, a bin each, by the feature `libfuzzer`), in the
//! smoke run of the tests (`tests/smoke.rs`: the seeds and mutations of them), and by hand on a file that failed.
//!
//! A new parser comes with a function here, a row in [`TARGETS`], seeds in `seeds/NAME/`, and a bin. The smoke run
//! fails where one of these is missing.

mod cgroup;
mod files;
mod kernel_log;
mod kills;
mod kubernetes;
mod program;
mod trace;

pub use cgroup::{cgroup_path, memory_hierarchy, owner};
pub use files::{amounts, lru_generations, memory_files, node_memory, process};
pub use kernel_log::{kmsg_record, oom_kills, oom_log};
pub use kills::{kill_line, kill_request, stored_kill};
pub use kubernetes::kubernetes;
pub use program::program;
pub use trace::{trace_format, trace_page};

/// A target's name, which is that of its seeds and its bin, and the target.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: &[Target] = &[
    ("amounts", amounts),
    ("cgroup_path", cgroup_path),
    ("kill_line", kill_line),
    ("kill_request", kill_request),
    ("kmsg_record", kmsg_record),
    ("kubernetes", kubernetes),
    ("lru_generations", lru_generations),
    ("memory_files", memory_files),
    ("memory_hierarchy", memory_hierarchy),
    ("node_memory", node_memory),
    ("oom_kills", oom_kills),
    ("oom_log", oom_log),
    ("owner", owner),
    ("process", process),
    ("program", program),
    ("trace_format", trace_format),
    ("trace_page", trace_page),
    ("stored_kill", stored_kill),
];

/// What is shown of a stranger's bytes must not act on a terminal or break a line.
fn assert_harmless(shown: &str) {
    assert!(!shown.chars().any(char::is_control), "a control character in {shown:?}");
}
