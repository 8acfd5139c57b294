//! The rows that need cgroup v2: the same measurements inside the virtual machine, with the peer that knows only v2.
//!
//! The machine is emulated, so its times are long and only the ratios say anything: fewer rounds are enough, since
//! nothing else runs in there.

use crate::{
    static_build,
    vm::{self, GuestCommand, Kernel, VmRun},
};
use anyhow::{Context, Result, ensure};
use std::time::Duration;

/// Twice the descriptors of 2000 cgroups with 13 files, since a scan keeps open no more than half of what it may.
const SCAN: &str = "ulimit -n 65536 && exec \"$0\" scan --rounds 21,11,5";

/// Measures scans of all cgroups; returns the table.
pub(crate) fn scan() -> Result<String> {
    measure("scan", SCAN)
}

/// Measures a look at one container's memory; returns the table.
pub(crate) fn container() -> Result<String> {
    measure("container", "exec \"$0\" container --rounds 100")
}

fn measure(name: &str, script: &str) -> Result<String> {
    let arguments = ["--release", "--package", "reprieve-bench", "--features", "reprieve-bench/cgroupfs"];
    let executables = static_build::build("build", &arguments)?;
    let bench = executables.into_iter().next().context("cargo built no reprieve-bench")?.path;
    let words = ["sh", "-c", script, &bench.to_string_lossy()].map(str::to_owned).to_vec();
    let boot = VmRun {
        kernel: Kernel::V6_12,
        memory: "3G".to_owned(),
        files: vec![bench],
        commands: vec![GuestCommand { name: name.to_owned(), words }],
        timeout: Duration::from_secs(1200),
    };
    let results = vm::run(&boot)?;
    let result = results.commands.into_iter().next().context("the virtual machine brought nothing back")?;
    ensure!(result.status == Some(0), "the measurement inside the virtual machine failed; its message stands above");
    // Progress comes through the same port.
    let lines = result.output.lines().filter(|line| !line.starts_with("bench: "));
    let table: Vec<&str> = lines.skip_while(|line| !line.starts_with('#')).collect();
    ensure!(!table.is_empty(), "the measurement inside the virtual machine printed no table");
    Ok(table.join("\n").replace("cgroup v2:", "cgroup v2 (emulated machine, Linux 6.12):"))
}
