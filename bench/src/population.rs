//! Cgroups as a kubelet makes them: pods of four containers, each container with one sleeping process.
//!
//! Asleep, because what is measured is the reader: a busy process would change the files between two readings and take
//! CPU time itself. The names are as long as real ones, since they go into every label and every path.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use reprieve_lab::wait_for;

use crate::place::Place;

const CONTAINERS_OF_A_POD: usize = 4;

/// Makes a cgroup called `name` that holds pods, so that there are exactly `total` cgroups, itself included.
pub(crate) fn populate(place: &Place, name: &str, total: usize) -> Result<PathBuf> {
    let top = place.cgroup(name)?;
    let mut containers = Vec::new();
    for inner in names().take(total.saturating_sub(1)) {
        let cgroup = place.cgroup(&format!("{name}/{}", inner.path))?;
        if inner.is_container {
            place.lab().spawn(&cgroup, Command::new("sleep").arg("86400")).context("sleep did not start")?;
            containers.push(cgroup);
        }
    }
    wait_for(Duration::from_secs(120), || containers.iter().all(|cgroup| sleeps(cgroup)).then_some(()))
        .context("not every container has its process after two minutes; the machine may be out of processes")?;
    Ok(top)
}

/// Makes a container in a pod that [`populate`] does not make, with a limit.
pub(crate) fn limited_container(place: &Place, name: &str, number: usize, limit: u64) -> Result<PathBuf> {
    let cgroup = place.cgroup(&format!("{name}/kubepods/burstable/{}/{}", pod(usize::MAX), container(number)))?;
    place.lab().limit(&cgroup, limit).with_context(|| format!("{} could not be limited", cgroup.display()))?;
    Ok(cgroup)
}

struct Name {
    path: String,
    is_container: bool,
}

/// The names of all cgroups, each after the one that holds it.
fn names() -> impl Iterator<Item = Name> {
    let holder = |path: String| Name { path, is_container: false };
    let above = ["kubepods", "kubepods/burstable"].map(|path| holder(path.to_owned()));
    let pods = (0..).flat_map(move |number| {
        let pod = format!("kubepods/burstable/{}", pod(number));
        let first = number * CONTAINERS_OF_A_POD;
        let containers: Vec<Name> = (first..first + CONTAINERS_OF_A_POD)
            .map(|number| Name { path: format!("{pod}/{}", container(number)), is_container: true })
            .collect();
        std::iter::once(holder(pod)).chain(containers)
    });
    above.into_iter().chain(pods)
}

fn pod(number: usize) -> String {
    format!("pod7d0b3a52-1f6c-4f0e-9c55-{:012x}", number & 0xffff_ffff_ffff)
}

fn container(number: usize) -> String {
    format!("4f9d2c1b7a6e5d3c8b0a9f8e7d6c5b4a392817060f1e2d3c{number:016x}")
}

/// Whether the cgroup's process has become `sleep`: before, it is a shell on its way.
fn sleeps(cgroup: &Path) -> bool {
    let pids = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
    let name = |pid: &str| fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    pids.lines().next().is_some_and(|pid| name(pid).trim() == "sleep")
}

#[cfg(test)]
mod tests {
    use super::names;

    #[test]
    fn a_cgroup_comes_after_the_one_that_holds_it() {
        let names: Vec<String> = names().take(14).map(|name| name.path).collect();
        for (index, name) in names.iter().enumerate().skip(1) {
            let holder = name.rsplit_once('/').unwrap().0;
            assert!(names[..index].iter().any(|earlier| earlier == holder), "{name}");
        }
        assert!(names[3].ends_with("4f9d2c1b7a6e5d3c8b0a9f8e7d6c5b4a392817060f1e2d3c0000000000000000"));
    }
}
