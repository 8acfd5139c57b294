//! The programs that start containers and make namespaces, for the tests and the captures that need real ones.
//!
//! They are Debian's and need shared libraries. This machine has those, since its own programs do; a virtual machine,
//! whose busybox knows no cgroup namespaces, gets the programs and their libraries at the paths they have here.

use crate::{
    debian::{self, Tool},
    process,
};
use anyhow::{Context, Result, bail};
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::Command,
};

const RUNC: Tool = Tool {
    folder: "runc",
    package: "runc",
    dependency: None,
    purpose: "it starts the containers of the tests (it is unpacked, not installed)",
};

/// Of util-linux, which every Debian has.
const NAMESPACE_PROGRAMS: [&str; 2] = ["unshare", "setpriv"];

/// Fetches runc if it is not there yet, and returns its path.
pub(crate) fn runc() -> Result<PathBuf> {
    Ok(debian::unpack(&RUNC)?.join("usr/sbin/runc"))
}

/// The programs and every library that they load, for a machine that has none.
pub(crate) fn files() -> Result<BTreeSet<PathBuf>> {
    let mut files = BTreeSet::from([runc()?]);
    for name in NAMESPACE_PROGRAMS {
        files.insert(program(name, "util-linux")?);
    }
    with_libraries(&files)
}

/// The path of a program of this machine.
pub(crate) fn program(name: &str, package: &str) -> Result<PathBuf> {
    let found = process::find_program(name).and_then(|path| path.canonicalize().ok());
    found.with_context(|| format!("{name} is missing; install Debian's package {package}"))
}

/// These programs and every library that they load.
pub(crate) fn with_libraries<'a>(programs: impl IntoIterator<Item = &'a PathBuf>) -> Result<BTreeSet<PathBuf>> {
    let mut files: BTreeSet<PathBuf> = programs.into_iter().cloned().collect();
    for program in files.clone() {
        let listing = Command::new("ldd").arg(&program).output().context("ldd can't be run")?;
        // It fails for a static program, which has none.
        files.extend(parse_libraries(&String::from_utf8_lossy(&listing.stdout))?);
    }
    Ok(files)
}

/// Reads lines of ldd(1): `NAME => PATH (ADDRESS)` for a library, `PATH (ADDRESS)` for the loader.
fn parse_libraries(listing: &str) -> Result<Vec<PathBuf>> {
    let mut libraries = Vec::new();
    for line in listing.lines().map(str::trim) {
        let place = line.split_once(" => ").map_or(line, |(_, place)| place);
        if place == "not found" {
            bail!("a library is not here: {line}; install Debian's package of it, such as libseccomp2");
        }
        let path = place.split(' ').next().map(Path::new).filter(|path| path.is_absolute());
        libraries.extend(path.map(Path::to_owned));
    }
    Ok(libraries)
}

#[cfg(test)]
mod tests {
    use super::parse_libraries;

    #[test]
    fn finds_the_libraries_and_the_loader_and_what_is_missing() {
        let listing = "\tlinux-vdso.so.1 (0x00007fe0a123b000)\n\
                       \tlibseccomp.so.2 => /lib/x86_64-linux-gnu/libseccomp.so.2 (0x00007fe0a120a000)\n\
                       \t/lib64/ld-linux-x86-64.so.2 (0x00007fe0a123d000)\n";
        let found = parse_libraries(listing).unwrap();
        let found: Vec<_> = found.iter().filter_map(|path| path.to_str()).collect();
        assert_eq!(found, ["/lib/x86_64-linux-gnu/libseccomp.so.2", "/lib64/ld-linux-x86-64.so.2"]);
        let missing = parse_libraries("\tlibyajl.so.2 => not found\n").unwrap_err().to_string();
        assert!(missing.contains("libyajl.so.2"), "{missing}");
    }
}
