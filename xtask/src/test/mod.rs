//! `cargo xtask test`: every check of the project, one after the other, the quick ones first.
//!
//! This is the one test command: CI calls nothing else, so whatever CI says can be had on any machine. It stops at the
//! first step that fails.

mod readme;

use crate::{
    containers,
    debian::{self, Program, Tool},
    inits, process,
    vm::{self, Kernel},
    workspace,
};
use anyhow::{Context, Result};
use clap::Args;
use std::{env, path::PathBuf, time::Instant};

/// Arguments of `cargo xtask test`.
#[derive(Args)]
pub(crate) struct Options {
    /// Leave out the virtual machines
    #[arg(long)]
    fast: bool,
}

struct Step {
    title: String,
    action: Box<dyn Fn() -> Result<()>>,
}

const PROMTOOL: Tool = Tool {
    folder: "prometheus",
    package: "prometheus",
    dependency: None,
    purpose: "its promtool checks the metrics (it is unpacked, not installed)",
};

const FREE: Program =
    Program { name: "free", package: "procps", purpose: "the tables of `reprieve free` are compared with its own" };

const STRACE: Program =
    Program { name: "strace", package: "strace", purpose: "it is the debugger that reprieve-init's tests attach" };

/// Runs all steps, and says which one failed.
pub(crate) fn run(options: &Options) -> Result<()> {
    let started = Instant::now();
    let steps = steps(options.fast);
    let total = steps.len();
    for (index, Step { title, action }) in steps.iter().enumerate() {
        let number = index + 1;
        let begun = Instant::now();
        println!("\n== step {number} of {total}: {title}");
        action().with_context(|| format!("step {number} of {total} ({title}) failed"))?;
        println!("== step {number} of {total}: passed in {:.1} s", begun.elapsed().as_secs_f64());
    }
    println!("\nall {total} steps passed in {:.0} s", started.elapsed().as_secs_f64());
    Ok(())
}

fn steps(fast: bool) -> Vec<Step> {
    let mut steps = vec![
        step("what the tests need", move || prepare(fast)),
        step("rustfmt", || process::run(&mut workspace::cargo(&["fmt", "--all", "--check"]))),
        step("clippy, warnings denied", clippy),
        step("documentation, warnings denied", document),
        step("tests", test),
        step("no panic in reprieve-init", inits::check),
    ];
    if !fast {
        for kernel in Kernel::ALL {
            steps.push(step(format!("kernel tests in a virtual machine with Linux {kernel}"), move || {
                vm::kernel_tests::run_all(kernel)
            }));
        }
    }
    steps.push(step("the README's commands", readme::run));
    steps
}

fn step(title: impl Into<String>, action: impl Fn() -> Result<()> + 'static) -> Step {
    Step { title: title.into(), action: Box::new(action) }
}

fn prepare(fast: bool) -> Result<()> {
    for (component, subcommand) in [("rustfmt", "fmt"), ("clippy", "clippy")] {
        // Run and not looked for: rustup puts its own stand-in where a component is missing.
        process::read_output(&mut workspace::cargo(&[subcommand, "--version"]))
            .with_context(|| format!("{component} is missing; install it: rustup component add {component}"))?;
    }
    promtool()?;
    containers::runc()?;
    debian::install(&FREE)?;
    debian::install(&STRACE)?;
    if fast { Ok(()) } else { vm::prepare(&Kernel::ALL) }
}

fn promtool() -> Result<PathBuf> {
    Ok(debian::unpack(&PROMTOOL)?.join("usr/bin/promtool"))
}

fn clippy() -> Result<()> {
    process::run(&mut workspace::cargo(&["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]))
}

fn document() -> Result<()> {
    let mut cargo = workspace::cargo(&["doc", "--workspace", "--no-deps", "--locked"]);
    process::run(cargo.env("RUSTDOCFLAGS", "-D warnings"))
}

fn test() -> Result<()> {
    let mut cargo = workspace::cargo(&["test", "--workspace", "--locked"]);
    cargo.env("PROMTOOL", promtool()?).env("RUNC", containers::runc()?).env("TINI", inits::tini()?);
    if let Some(strace) = process::find_program(STRACE.name) {
        cargo.env("STRACE", strace);
    }
    if env::var_os("CI").is_some() {
        // Elsewhere a kernel test may skip for want of a right or a controller; CI must not pass by skipping.
        cargo.env("REPRIEVE_REQUIRE_KERNEL", "1");
    }
    process::run(&mut cargo)
}
