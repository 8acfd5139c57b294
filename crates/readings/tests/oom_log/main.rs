//! The OOM killer's reports in logs of all forms: real ones, each form of wrapping, and what must hold of any bytes.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "helpers of tests may panic as tests do"
)]
#![allow(clippy::disallowed_methods, reason = "the corpus is many files")]

mod corpus;
mod forms;
mod properties;
mod read;
mod reports;
