//! Kills in the kernel's log: real reports, each version's formats, and what must hold whatever comes in.

#![allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

mod hostile;
mod kmsg;
mod lines;
mod reports;
mod streams;
