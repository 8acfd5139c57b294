//! The agent's ledger, as `reprieve kills --json` tells it.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

/// All records.
pub(crate) struct Ledger(pub(crate) Vec<Record>);

/// A record, as far as it is compared.
#[derive(Debug, Deserialize)]
pub(crate) struct Record {
    pub(crate) pid: Option<u32>,
    pub(crate) count: u64,
    #[serde(default)]
    pub(crate) repeats: u64,
    #[serde(default)]
    pub(crate) history: bool,
    pub(crate) identity: String,
    pub(crate) cgroup: Option<String>,
    #[serde(default)]
    pub(crate) cgroup_certain: bool,
}

impl Ledger {
    /// Asks the agent, or reads what it has left.
    pub(crate) fn read(program: &Path, state: &Path) -> Result<Self> {
        let mut command = Command::new(program);
        command.args(["kills", "--json", "--state-dir"]).arg(state);
        let output = command.output().context("reprieve kills did not start")?;
        // No record at all is told by the exit code.
        let is_done = matches!(output.status.code(), Some(0 | 1));
        ensure!(is_done, "reprieve kills failed: {}", String::from_utf8_lossy(&output.stderr));
        let lines = output.stdout.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
        let records = lines.map(serde_json::from_slice).collect::<serde_json::Result<_>>();
        Ok(Ledger(records.context("reprieve kills told what is no record")?))
    }

    /// By how much the machine's count should have risen.
    pub(crate) fn counted(&self) -> u64 {
        self.0.iter().filter(|record| !record.history).map(|record| record.count + record.repeats).sum()
    }
}
