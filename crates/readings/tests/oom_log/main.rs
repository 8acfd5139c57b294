//! The OOM killer's reports in logs of all forms: real ones, each form of wrapping, and what must hold of any bytes.

#![allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

mod corpus;
mod forms;
mod properties;
mod read;
mod reports;
