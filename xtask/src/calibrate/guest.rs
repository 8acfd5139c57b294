//! The runs inside virtual machines: one boot for those with limits and with swap, and one of a small machine, all of
//! whose memory is filled.

use crate::{
    static_build,
    vm::{self, GuestCommand, Kernel, VmRun},
};
use anyhow::{Context, Result, ensure};
use std::{path::Path, time::Duration};

/// Swap comes last: it would help the other runs too.
const WITH_SWAP: &str = "dd if=/dev/zero of=/var/tmp/swap bs=1M count=192 && mkswap /var/tmp/swap && \
                         swapon /var/tmp/swap && exec \"$0\" run --limits 64,128 --repetitions 2 --swap --only swap";

/// Does them, and returns all their rows.
pub(crate) fn run(kernel: Kernel, only: &str) -> Result<String> {
    let executables = static_build::build("build", &["--release", "--package", "reprieve-calibrate"])?;
    let program = executables.into_iter().next().context("cargo built no reprieve-calibrate")?.path;
    let limits = ["run", "--limits", "64,256", "--repetitions", "2", "--only", only];
    let machine = ["run", "--machine", "--limits", "400", "--repetitions", "4", "--only", only];
    let mut commands = vec![command("limits", &program, &limits)];
    if "swap, limited".contains(only) {
        let words = ["sh", "-c", WITH_SWAP, &program.to_string_lossy()].map(str::to_owned).to_vec();
        commands.push(GuestCommand { name: "swap".to_owned(), words });
    }
    let limited = boot(kernel, "2G", &program, commands)?;
    let whole = boot(kernel, "512M", &program, vec![command("machine", &program, &machine)])?;
    Ok(limited + &whole)
}

fn command(name: &str, program: &Path, arguments: &[&str]) -> GuestCommand {
    let program = program.to_string_lossy();
    let words = std::iter::once(program.as_ref()).chain(arguments.iter().copied());
    GuestCommand { name: name.to_owned(), words: words.map(str::to_owned).collect() }
}

fn boot(kernel: Kernel, memory: &str, program: &Path, commands: Vec<GuestCommand>) -> Result<String> {
    let boot = VmRun {
        kernel,
        memory: memory.to_owned(),
        files: vec![program.to_owned()],
        commands,
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
    Ok(results.commands.into_iter().map(|result| result.output).collect())
}
