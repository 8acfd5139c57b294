//! The programs that a bench needs: our own as released, and the peers as Debian packages them.

use crate::{
    debian::{self, Tool},
    process, workspace,
};
use anyhow::{Context, Result};
use std::{path::PathBuf, process::Command};

const NODE_EXPORTER: Tool = Tool {
    folder: "node-exporter",
    package: "prometheus-node-exporter",
    dependency: None,
    purpose: "the agent is measured beside it (it is unpacked, not installed)",
};

/// Where the programs are.
pub(crate) struct Programs {
    /// The agent, as it is released.
    pub(crate) reprieve: PathBuf,
    /// What measures.
    pub(crate) bench: PathBuf,
    /// The peer, if it is wanted.
    pub(crate) node_exporter: Option<PathBuf>,
}

impl Programs {
    /// Builds and fetches them.
    pub(crate) fn get(with_peer: bool) -> Result<Self> {
        // Two builds: in one, the agent would get what the peer crate asks of dependencies that they share.
        process::run(&mut workspace::cargo(&["build", "--release", "--locked", "--package", "reprieve-cli"]))?;
        process::run(&mut workspace::cargo(&[
            "build",
            "--release",
            "--locked",
            "--package",
            "reprieve-bench",
            "--features",
            "cgroupfs",
        ]))?;
        let release = workspace::target().join("release");
        let node_exporter = with_peer
            .then(|| debian::unpack(&NODE_EXPORTER).map(|folder| folder.join("usr/bin/prometheus-node-exporter")))
            .transpose()?;
        Ok(Programs { reprieve: release.join("reprieve"), bench: release.join("reprieve-bench"), node_exporter })
    }

    /// Their versions in some lines.
    pub(crate) fn versions(&self) -> Result<String> {
        let ours = process::read_output(Command::new(&self.reprieve).arg("--version"))?;
        let rustc = process::read_output(Command::new("rustc").arg("--version"))?;
        let dmesg = process::read_output(Command::new("dmesg").arg("--version"))?;
        let mut versions = vec![format!("{} ({})", ours.trim(), commit()), rustc.trim().to_owned()];
        versions.push(format!("cgroupfs crate {}", locked_version("cgroupfs")?));
        if let Some(program) = &self.node_exporter {
            let version = process::read_output(Command::new(program).arg("--version"))?;
            versions.push(version.split(" (").next().unwrap_or(&version).replace(", version", ""));
        }
        versions.push(dmesg.trim().to_owned());
        Ok(format!("Versions: {}", versions.join("\n          ")))
    }
}

/// The commit that was built, as far as it can be told: sources may come without git.
fn commit() -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).current_dir(workspace::root()).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    match (git(&["rev-parse", "--short", "HEAD"]), git(&["status", "--porcelain", "--", "crates"])) {
        (Some(commit), Some(changes)) if changes.is_empty() => commit,
        (Some(commit), _) => format!("{commit} with changes"),
        (None, _) => "commit unknown".to_owned(),
    }
}

fn locked_version(package: &str) -> Result<String> {
    let lock = std::fs::read_to_string(workspace::root().join("Cargo.lock")).context("Cargo.lock could not be read")?;
    parse_locked_version(&lock, package).with_context(|| format!("Cargo.lock names no {package}"))
}

fn parse_locked_version(lock: &str, package: &str) -> Option<String> {
    let mut lines = lock.lines().skip_while(|line| *line != format!("name = \"{package}\""));
    let version = lines.nth(1)?.strip_prefix("version = ")?;
    Some(version.trim_matches('"').to_owned())
}

#[cfg(test)]
mod tests {
    use super::parse_locked_version;

    #[test]
    fn the_version_is_that_of_the_package() {
        let lock =
            "[[package]]\nname = \"a\"\nversion = \"1.0.0\"\n\n[[package]]\nname = \"ab\"\nversion = \"2.0.0\"\n";
        assert_eq!(parse_locked_version(lock, "ab").as_deref(), Some("2.0.0"));
        assert_eq!(parse_locked_version(lock, "b"), None);
    }
}
