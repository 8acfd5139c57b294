//! `cargo xtask capture NAME`: writes fixtures/NAME/{proc,sys}, the memory files of cgroups as plain files.
//!
//! Tests read such a tree in place of /proc and /sys, so that a parser meets what a real kernel wrote. The cgroups are
//! either those of this machine or sample ones, which the capture makes, fills, and removes. With `--vm` this very
//! program, built statically, does the same inside the virtual machine, so there is one way to capture and not two.

mod containers;
mod hierarchy;
mod sample;
mod trace;
mod tree;

use crate::{
    process, static_build,
    vm::{self, GuestCommand, Kernel, VmRun},
    workspace,
};
use anyhow::{Context, Result, ensure};
use clap::Args;
use hierarchy::Hierarchy;
use sample::Sample;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

/// Arguments of `cargo xtask capture`.
#[derive(Args)]
pub(crate) struct Options {
    /// The fixture's name: a folder below fixtures/
    name: String,
    /// Capture sample cgroups inside the virtual machine, on this kernel
    #[arg(long, conflicts_with_all = ["sample", "into"])]
    vm: Option<Kernel>,
    /// Make sample cgroups below this new one, capture only these and the root's own files, and remove them
    #[arg(long, value_name = "CGROUP")]
    sample: Option<PathBuf>,
    /// Capture what is found inside of containers as the known tools lay them out, one file for each, as root
    #[arg(long, conflicts_with = "sample")]
    containers: bool,
    /// Capture pages of the kernel's trace, with a kill and moves of tasks in them, as root
    #[arg(long, conflicts_with_all = ["sample", "containers"])]
    trace: bool,
    /// The program that starts them [default: fetched from Debian]
    #[arg(long, value_name = "PROGRAM", requires = "containers")]
    runc: Option<PathBuf>,
    /// Write here instead of fixtures/NAME
    #[arg(long, value_name = "FOLDER")]
    into: Option<PathBuf>,
}

/// Writes the fixture that the options name.
pub(crate) fn run(options: &Options) -> Result<()> {
    let into = options.into.clone().unwrap_or_else(|| workspace::root().join("fixtures").join(&options.name));
    // Files of an older capture must not stay beside new ones. A folder given by --into is the caller's own.
    if options.into.is_none() && into.exists() {
        fs::remove_dir_all(&into).with_context(|| format!("{} could not be emptied", into.display()))?;
    }
    fs::create_dir_all(&into).with_context(|| format!("{} could not be made", into.display()))?;
    match (options.vm, &options.sample) {
        (Some(kernel), _) => capture_in_vm(kernel, options, &into)?,
        (None, _) if options.containers => {
            let runc = options.runc.clone().map_or_else(crate::containers::runc, Ok)?;
            containers::write(&runc, &into)?;
        }
        (None, _) if options.trace => trace::write(&into)?,
        (None, Some(base)) => capture_sample(base, &into)?,
        (None, None) => tree::write(&Hierarchy::find()?, None, "self", &into)?,
    }
    println!("{} written", into.display());
    Ok(())
}

fn capture_sample(base: &Path, into: &Path) -> Result<()> {
    let hierarchy = Hierarchy::find()?;
    let sample = Sample::make(&hierarchy, base)?;
    // As the sample's container sees it: what the capturing process sees of itself says nothing of the sample.
    tree::write(&hierarchy, Some(base), &sample.container_pid().to_string(), into)
}

fn capture_in_vm(kernel: Kernel, options: &Options, into: &Path) -> Result<()> {
    let executables = static_build::build("build", &["--package", "xtask"])?;
    let own = executables.into_iter().next().context("cargo built no xtask")?.path;
    let mut files = vec![own.clone()];
    let mut words = vec![own.to_string_lossy().into_owned(), "capture".to_owned(), options.name.clone()];
    if options.containers {
        files.extend(crate::containers::files()?);
        words.extend(["--containers".to_owned(), "--runc".to_owned()]);
        words.push(crate::containers::runc()?.to_string_lossy().into_owned());
    } else if options.trace {
        words.push("--trace".to_owned());
    } else {
        words.extend(["--sample", "/"].map(str::to_owned));
    }
    words.extend(["--into", "/out"].map(str::to_owned));
    let boot = VmRun {
        kernel,
        memory: "2G".to_owned(),
        files,
        commands: vec![GuestCommand { name: "capture".to_owned(), words }],
        timeout: Duration::from_secs(120),
    };
    let results = vm::run(&boot)?;
    ensure!(
        results.commands.iter().all(|command| command.status == Some(0)),
        "the capture inside the virtual machine failed; its message stands above"
    );
    process::run(Command::new("tar").arg("-xf").arg(&results.out).arg("-C").arg(into))
}
