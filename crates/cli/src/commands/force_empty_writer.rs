//! `reprieve force-empty-writer`, which the agent calls.

use anyhow::{Context, Result};
use reprieve_linux::ForceEmptyWriter;

/// This program, as the writer.
pub(super) fn writer() -> ForceEmptyWriter {
    ForceEmptyWriter::this_program(["force-empty-writer"])
}

pub(super) fn run(parent: u32) -> Result<()> {
    reprieve_linux::write_force_empty(parent).context("memory.force_empty")
}
