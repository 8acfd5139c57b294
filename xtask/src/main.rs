//! The chores of the project, run as `cargo xtask CHORE`.
//!
//! A chore that needs more than one cargo command lives here, in Rust, so that it is the same on every machine and is
//! compiled and linted like the rest. Nothing that ships depends on this crate. What each chore is for is told in
//! docs/testing.md.

mod bench;
mod calibrate;
mod capture;
mod containers;
mod debian;
mod escape;
mod evict;
mod inits;
mod panics;
mod process;
mod static_build;
mod storm;
mod test;
mod vm;
mod workspace;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Chores of the Reprieve project
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Run every check and test, as CI does
    Test(test::Options),
    /// Run the kernel tests in a virtual machine with cgroup v2
    Vm(vm::kernel_tests::Options),
    /// Measure what Reprieve costs beside its peers, and print tables
    Bench(bench::Options),
    /// Let the kernel kill a thousand processes at once, and see who accounts for all
    Storm(storm::Options),
    /// Fill memory until the kernel kills, and compare with what was said to be available
    Calibrate(calibrate::Options),
    /// Build reprieve-init as it is released, and print its path
    Init(inits::Options),
    /// Count the leaking programs that end gracefully before the kernel kills them
    Escape(escape::Options),
    /// Try the eviction forecast and the cache keeper on real memory
    Evict(evict::Options),
    /// Write a fixture: the memory files of cgroups, as a tree of plain files
    Capture(capture::Options),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().chore {
        Chore::Test(options) => test::run(&options),
        Chore::Vm(options) => vm::kernel_tests::run(&options),
        Chore::Bench(options) => bench::run(&options),
        Chore::Storm(options) => storm::run(&options),
        Chore::Calibrate(options) => calibrate::run(&options),
        Chore::Init(options) => inits::run(&options),
        Chore::Escape(options) => escape::run(&options),
        Chore::Evict(options) => evict::run(&options),
        Chore::Capture(options) => capture::run(&options),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
