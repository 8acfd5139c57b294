//! The experiments inside a virtual machine, which is the node as a whole.

use super::find;
use crate::{
    static_build,
    vm::{self, GuestCommand, Kernel, VmRun},
};
use anyhow::{Result, ensure};
use std::time::Duration;

/// Switches the multi-generational LRU on or off, mounts debugfs, and becomes the rest of the words.
const PREPARE: &str =
    "mount -t debugfs debugfs /sys/kernel/debug; echo $0 >/sys/kernel/mm/lru_gen/enabled; exec \"$@\"";

/// Boots and does these, each with a name and the words of `reprieve-evict`.
pub(super) fn run(kernel: Kernel, generations: bool, experiments: &[(&str, &[&str])]) -> Result<()> {
    let arguments = ["--package", "reprieve-evict", "--package", "reprieve-cli"];
    let executables = static_build::build("build", &arguments)?;
    let program = find(&executables, "reprieve-evict")?;
    let reprieve = find(&executables, "reprieve-cli")?;
    let switch = if generations { "y" } else { "n" };
    let command = |(name, words): &(&str, &[&str])| {
        let program = program.display().to_string();
        let mut all: Vec<String> = ["sh", "-c", PREPARE, switch, &program].map(str::to_owned).to_vec();
        all.extend(words.iter().map(|word| (*word).to_owned()));
        if words.first() == Some(&"keep") {
            all.extend(["--reprieve".to_owned(), reprieve.display().to_string()]);
        }
        GuestCommand { name: (*name).to_owned(), words: all }
    };
    let boot = VmRun {
        kernel,
        memory: "1G".to_owned(),
        files: vec![program.to_owned(), reprieve.to_owned()],
        commands: experiments.iter().map(command).collect(),
        timeout: Duration::from_secs(1800),
    };
    let results = vm::run(&boot)?;
    for result in &results.commands {
        ensure!(
            result.status == Some(0),
            "{} failed inside the virtual machine; its message stands above",
            result.name
        );
    }
    Ok(())
}
