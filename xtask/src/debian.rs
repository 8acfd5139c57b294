//! Getting what the tests need from Debian's archive, and saying so.
//!
//! Two ways, chosen by what a package does to the machine. Programs with many libraries are installed. What is needed
//! for one file only (a kernel, promtool, a static busybox) is unpacked below target/tools, because installing it
//! would change how the machine boots, start a service, or replace another package. Both do nothing when the thing is
//! there already, so the archive is not asked on a second run.

use crate::{process, workspace};
use anyhow::{Context, Result, bail, ensure};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Once,
};

/// A program that has to be installed, because it needs libraries of its own.
pub(crate) struct Program {
    /// The program, as it stands in PATH.
    pub(crate) name: &'static str,
    /// Debian's package that holds it.
    pub(crate) package: &'static str,
    /// What the project does with it, for the message.
    pub(crate) purpose: &'static str,
}

/// A package of which only some files are used, so that it is unpacked and not installed.
pub(crate) struct Tool {
    /// Its folder below target/tools.
    pub(crate) folder: &'static str,
    /// Debian's package, or a meta package that depends on the one that is wanted.
    pub(crate) package: &'static str,
    /// If `package` is a meta package: the beginning of the wanted package's name.
    pub(crate) dependency: Option<&'static str>,
    /// What the project does with it, for the message.
    pub(crate) purpose: &'static str,
}

/// Installs the program's package if the program is not in PATH.
pub(crate) fn install(program: &Program) -> Result<()> {
    let Program { name, package, purpose } = program;
    if process::find_program(name).is_some() {
        return Ok(());
    }
    ensure!(
        rustix::process::geteuid().is_root(),
        "{name} is missing ({purpose}). Install it: sudo apt-get install --no-install-recommends {package}"
    );
    println!("installing Debian's package {package}: {purpose}");
    update_lists();
    process::run(apt_get().args(["install", "--yes", "--no-install-recommends", package]))
        .with_context(|| format!("the package {package} could not be installed"))
}

/// Unpacks the tool's package below target/tools if that was not done before; returns its folder.
pub(crate) fn unpack(tool: &Tool) -> Result<PathBuf> {
    let folder = workspace::target().join("tools").join(tool.folder);
    if folder.is_dir() {
        return Ok(folder);
    }
    println!("fetching Debian's package {} to {}: {}", tool.package, folder.display(), tool.purpose);
    update_lists();
    // The folder gets its name only when it is complete: an interrupted run leaves nothing that looks finished.
    let partial = folder.with_extension(format!("partial-{}", std::process::id()));
    fs::create_dir_all(&partial).with_context(|| format!("{} could not be made", partial.display()))?;
    let fetched = fetch_into(tool, &partial)
        .and_then(|()| fs::rename(&partial, &folder).with_context(|| format!("{} was not made", folder.display())));
    if fetched.is_err() {
        // The first error is the one to show; the rest of the folder does no harm.
        let _ = fs::remove_dir_all(&partial);
    }
    fetched.with_context(|| format!("the package {} could not be fetched", tool.package))?;
    Ok(folder)
}

fn fetch_into(tool: &Tool, folder: &Path) -> Result<()> {
    let package = match tool.dependency {
        Some(beginning) => dependency_of(tool.package, beginning)?,
        None => tool.package.to_owned(),
    };
    process::run(apt_get().args(["download", &package]).current_dir(folder))?;
    let archive = file_ending_in(folder, ".deb")?;
    process::run(Command::new("dpkg").arg("-x").arg(&archive).arg(folder))?;
    fs::remove_file(&archive).with_context(|| format!("{} could not be removed", archive.display()))
}

fn file_ending_in(folder: &Path, end: &str) -> Result<PathBuf> {
    for entry in fs::read_dir(folder).with_context(|| format!("{} could not be listed", folder.display()))? {
        let path = entry?.path();
        if path.to_string_lossy().ends_with(end) {
            return Ok(path);
        }
    }
    bail!("{} holds no file that ends in {end}", folder.display())
}

fn dependency_of(meta: &str, beginning: &str) -> Result<String> {
    let listing = process::read_output(Command::new("apt-cache").args(["depends", meta]))?;
    let found = parse_dependency(&listing, beginning);
    found.with_context(|| format!("`apt-cache depends {meta}` names no package that begins with {beginning}"))
}

fn parse_dependency(listing: &str, beginning: &str) -> Option<String> {
    let names = listing.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
    names.map(str::trim).find(|name| name.starts_with(beginning)).map(str::to_owned)
}

/// Refreshes the package lists, once in a run: a fresh machine has none, and an old list names files that are gone.
fn update_lists() {
    static UPDATED: Once = Once::new();
    if !rustix::process::geteuid().is_root() {
        return;
    }
    UPDATED.call_once(|| {
        println!("refreshing Debian's package lists");
        if let Err(error) = process::run(apt_get().args(["-qq", "update"])) {
            println!("warning: {error:#}; going on with the lists that are there");
        }
    });
}

fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive");
    // The user _apt may not write below target/, and another apt may hold the lock for a moment.
    command.args(["-o", "APT::Sandbox::User=root", "-o", "Acquire::Retries=3", "-o", "DPkg::Lock::Timeout=120"]);
    command
}

#[cfg(test)]
mod tests {
    use super::parse_dependency;

    #[test]
    fn finds_the_kernel_that_a_meta_package_depends_on() {
        let listing = "linux-image-cloud-amd64\n  Depends: linux-base\n  Depends: linux-image-6.1.0-56-cloud-amd64\n";
        let found = parse_dependency(listing, "linux-image-6.1.");
        assert_eq!(found.as_deref(), Some("linux-image-6.1.0-56-cloud-amd64"));
    }

    #[test]
    fn does_not_take_a_kernel_of_another_version() {
        let listing = "linux-image-cloud-amd64\n  Depends: linux-image-6.12.9-cloud-amd64\n";
        assert_eq!(parse_dependency(listing, "linux-image-6.1."), None);
    }
}
