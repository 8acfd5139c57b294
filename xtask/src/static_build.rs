//! Building executables that run without any library: the virtual machine has none.
//!
//! The build has a target folder of its own, because other flags in the same folder would make cargo rebuild
//! everything at each change between the two. The flags go with an explicit `--target`, so that they don't reach
//! procedural macros, which must stay shared libraries.

use crate::{process, workspace};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// An executable that cargo has built.
#[derive(Debug, PartialEq)]
pub(crate) struct Executable {
    /// The package it comes from.
    pub(crate) package: String,
    /// Whether it is a test, and not the program itself.
    pub(crate) is_test: bool,
    /// Where it is, absolute.
    pub(crate) path: PathBuf,
}

/// Runs a cargo command that builds (`build …` or `test --no-run …`) and returns the executables it made.
pub(crate) fn build(command: &str, arguments: &[&str]) -> Result<Vec<Executable>> {
    let host = host_triple()?;
    let mut cargo = workspace::cargo(&[command, "--locked", "--message-format=json-render-diagnostics"]);
    cargo.args(["--target", &host]).arg("--target-dir").arg(workspace::target().join("static")).args(arguments);
    // Debug information would only make the initramfs bigger; a panic names its line without it.
    cargo.env("CARGO_ENCODED_RUSTFLAGS", "-Ctarget-feature=+crt-static").env("CARGO_PROFILE_DEV_DEBUG", "false");
    let messages = process::read_output(&mut cargo)?;
    let executables: Vec<_> = messages.lines().filter_map(parse_executable).collect();
    if executables.is_empty() {
        bail!("`cargo {command} {}` made no executable", arguments.join(" "));
    }
    Ok(executables)
}

/// Builds a program with the profile `small`, as it is released: static, and at a fixed address, so that nothing has to
/// be relocated. It still has its symbols. Returns its path.
pub(crate) fn build_small(package: &str) -> Result<PathBuf> {
    let host = host_triple()?;
    let folder = workspace::target().join("small");
    let mut cargo = workspace::cargo(&["build", "--locked", "--profile", "small", "--package", package]);
    cargo.args(["--target", &host]).arg("--target-dir").arg(&folder);
    let flags = "-Ctarget-feature=+crt-static\x1f-Crelocation-model=static";
    process::run(cargo.env("CARGO_ENCODED_RUSTFLAGS", flags))?;
    Ok(folder.join(host).join("small").join(package))
}

/// Makes a copy of a program without symbols, as it is released, in the folder `released` beside it. Returns its path.
pub(crate) fn strip(program: &Path) -> Result<PathBuf> {
    let name = program.file_name().context("a program has a name")?;
    let folder = program.with_file_name("released");
    fs::create_dir_all(&folder).with_context(|| format!("{} could not be made", folder.display()))?;
    let stripped = folder.join(name);
    // Of binutils, without which rustc can't link.
    process::run(Command::new("strip").arg("-o").arg(&stripped).arg(program))?;
    Ok(stripped)
}

fn host_triple() -> Result<String> {
    let version = process::read_output(Command::new("rustc").arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("`rustc -vV` names no host")
}

fn parse_executable(message: &str) -> Option<Executable> {
    let message: Value = serde_json::from_str(message).ok()?;
    let path = PathBuf::from(message.get("executable")?.as_str()?);
    let package = parse_package(message.get("package_id")?.as_str()?)?.to_owned();
    let is_test = message.get("profile")?.get("test")?.as_bool()?;
    Some(Executable { package, is_test, path })
}

/// Takes the name out of `path+file:///folder/name#0.1.0` or `path+file:///folder#name@0.1.0`.
fn parse_package(id: &str) -> Option<&str> {
    let (source, rest) = id.split_once('#')?;
    match rest.split_once('@') {
        Some((name, _)) => Some(name),
        None => source.rsplit('/').next(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Executable, parse_executable};

    #[test]
    fn reads_the_executables_among_the_messages() {
        let test = r#"{"reason":"compiler-artifact","package_id":"path+file:///p/crates/linux#reprieve-linux@0.1.0",
            "profile":{"test":true},"executable":"/t/kernel-1"}"#;
        let program = r#"{"reason":"compiler-artifact","package_id":"path+file:///p/xtask#0.1.0",
            "profile":{"test":false},"executable":"/t/xtask"}"#;
        let library = r#"{"reason":"compiler-artifact","package_id":"path+file:///p/crates/linux#reprieve-linux@0.1.0",
            "profile":{"test":false},"executable":null}"#;
        let found: Vec<_> = [test, program, library, "not JSON"].into_iter().filter_map(parse_executable).collect();
        assert_eq!(
            found,
            [
                Executable { package: "reprieve-linux".into(), is_test: true, path: "/t/kernel-1".into() },
                Executable { package: "xtask".into(), is_test: false, path: "/t/xtask".into() },
            ]
        );
    }
}
