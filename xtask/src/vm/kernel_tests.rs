//! `cargo xtask vm`: the test targets named `kernel` run in virtual machines.
//!
//! The same tests run on the host under `cargo test`; here they meet cgroup v2 and kernels that are known. All
//! executables share one boot of each kernel, one after the other and one thread each, since a test may fill memory or
//! count the machine's kills.

use super::{CommandResult, GuestCommand, Kernel, VmRun};
use crate::{
    containers,
    static_build::{self, Executable},
};
use anyhow::{Result, bail};
use clap::Args;
use std::{path::Path, time::Duration};

/// The packages that have a test target named `kernel`.
const PACKAGES: [&str; 5] = ["reprieve-linux", "reprieve", "reprieve-init", "reprieve-cli", "reprieve-calibrate"];

/// Arguments of `cargo xtask vm`.
#[derive(Args)]
pub(crate) struct Options {
    /// Boot only this kernel
    #[arg(long)]
    kernel: Option<Kernel>,
    /// The machine's memory
    #[arg(long, default_value = "2G")]
    memory: String,
    /// The seconds that a boot with all its tests may take
    #[arg(long, default_value_t = 300)]
    timeout: u64,
    /// Run only these: parts of test names, or names of packages
    #[arg(value_name = "TEST")]
    tests: Vec<String>,
}

/// Runs the tests that the options name.
pub(crate) fn run(options: &Options) -> Result<()> {
    let (packages, filters): (Vec<_>, Vec<_>) =
        options.tests.iter().map(String::as_str).partition(|name| PACKAGES.contains(name));
    let packages = if packages.is_empty() { PACKAGES.to_vec() } else { packages };
    let executables = build(&packages)?;
    let (programs, runc) = (containers::files()?, containers::runc()?);
    for kernel in options.kernel.map_or_else(|| Kernel::ALL.to_vec(), |kernel| vec![kernel]) {
        let boot = VmRun {
            kernel,
            memory: options.memory.clone(),
            files: executables.iter().map(|executable| &executable.path).chain(&programs).cloned().collect(),
            commands: executables.iter().filter_map(|executable| command(executable, &runc, &filters)).collect(),
            timeout: Duration::from_secs(options.timeout),
        };
        let passed = judge(&super::run(&boot)?.commands, !filters.is_empty())
            .map_err(|what| anyhow::anyhow!("Linux {kernel}: {what}"))?;
        println!("Linux {kernel}: {passed} kernel tests passed");
    }
    Ok(())
}

/// Runs all tests on one kernel.
pub(crate) fn run_all(kernel: Kernel) -> Result<()> {
    run(&Options { kernel: Some(kernel), memory: "2G".to_owned(), timeout: 1200, tests: Vec::new() })
}

fn build(packages: &[&str]) -> Result<Vec<Executable>> {
    let mut arguments = vec!["--no-run", "--test", "kernel"];
    for package in packages {
        arguments.extend(["--package", package]);
    }
    static_build::build("test", &arguments)
}

fn command(executable: &Executable, runc: &Path, filters: &[&str]) -> Option<GuestCommand> {
    if !executable.is_test {
        return None;
    }
    let mut words = ["env", "REPRIEVE_REQUIRE_KERNEL=1", "REPRIEVE_OWNS_MACHINE=1"].map(str::to_owned).to_vec();
    words.push(format!("RUNC={}", runc.display()));
    words.push(executable.path.to_string_lossy().into_owned());
    words.push("--test-threads=1".to_owned());
    words.extend(filters.iter().map(|&filter| filter.to_owned()));
    Some(GuestCommand { name: executable.package.clone(), words })
}

/// Returns how many tests passed. An executable must end with status 0 and say itself that its tests passed; with
/// filters some may have nothing to run, but not all.
fn judge(results: &[CommandResult], filtered: bool) -> Result<u32> {
    let mut total = 0;
    for result in results {
        let passed = result.output.lines().find_map(parse_passed);
        match (result.status, passed) {
            (Some(0), Some(0)) if !filtered => bail!("{} ran no test", result.name),
            (Some(0), Some(passed)) => total += passed,
            (Some(0), None) => bail!("{} ended well but reported no test result", result.name),
            (Some(status), _) => bail!("{} failed with exit status {status}; its output stands above", result.name),
            (None, _) => bail!("{} did not end", result.name),
        }
    }
    if total == 0 {
        bail!("no test has such a name");
    }
    Ok(total)
}

fn parse_passed(line: &str) -> Option<u32> {
    line.strip_prefix("test result: ok. ")?.split_once(" passed")?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{CommandResult, judge};

    fn result(status: i32, output: &str) -> CommandResult {
        CommandResult { name: "reprieve-linux".into(), status: Some(status), output: output.into() }
    }

    const OK: &str = "running 3 tests\n\ntest result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out\n";
    const NONE: &str = "test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 3 filtered out\n";
    const FAILED: &str = "test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out\n";

    #[test]
    fn counts_what_passed() {
        assert_eq!(judge(&[result(0, OK), result(0, OK)], false).unwrap(), 6);
    }

    #[test]
    fn a_failing_test_is_a_failure() {
        let message = judge(&[result(0, OK), result(101, FAILED)], false).unwrap_err().to_string();
        assert_eq!(message, "reprieve-linux failed with exit status 101; its output stands above");
    }

    #[test]
    fn an_executable_that_says_nothing_is_a_failure() {
        assert!(judge(&[result(0, "")], false).is_err());
        assert!(judge(&[result(0, FAILED)], false).is_err());
        assert!(judge(&[], false).is_err());
    }

    #[test]
    fn only_a_filter_may_leave_an_executable_without_tests() {
        assert!(judge(&[result(0, OK), result(0, NONE)], false).is_err());
        assert_eq!(judge(&[result(0, OK), result(0, NONE)], true).unwrap(), 3);
        assert_eq!(judge(&[result(0, NONE)], true).unwrap_err().to_string(), "no test has such a name");
    }
}
