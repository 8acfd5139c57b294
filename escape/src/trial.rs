//! One leaking program under one init, in a cgroup with a limit and a pid namespace of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use reprieve_lab::Lab;

use crate::leak::Kind;

/// Of util-linux: busybox' makes no mount of `/proc`.
const UNSHARE: &str = "/usr/bin/unshare";

/// What the program runs under.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Init {
    /// It is PID 1 itself.
    None,
    Tini(PathBuf),
    /// Beside it, with its defaults but for the time between its looks.
    Earlyoom(PathBuf),
    Reprieve(PathBuf),
}

impl Init {
    /// What it is called in the tables.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Init::None => "no init",
            Init::Tini(_) => "tini",
            Init::Earlyoom(_) => "earlyoom",
            Init::Reprieve(_) => "reprieve-init",
        }
    }

    /// How it runs a command.
    fn command(&self) -> Vec<String> {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        match self {
            Init::None => Vec::new(),
            Init::Tini(path) => vec![text(path), "--".to_owned()],
            Init::Earlyoom(path) => {
                let script = format!("{} -r 0 >/dev/null 2>&1 & exec \"$@\"", text(path));
                vec!["/bin/sh".to_owned(), "-c".to_owned(), script, "sh".to_owned()]
            }
            Init::Reprieve(path) => {
                let words = [&text(path), "--warn", "10%,2s:stop", "--grace", "30s", "--"];
                words.map(str::to_owned).to_vec()
            }
        }
    }
}

/// A case.
#[derive(Debug, Clone)]
pub(crate) struct Trial {
    pub(crate) init: Init,
    pub(crate) kind: Kind,
    /// Percent of the limit a second.
    pub(crate) rate: u32,
    pub(crate) workers: u32,
    pub(crate) cache: bool,
    pub(crate) limit: u64,
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Its handler ran to its end, and the kernel killed nobody.
    Graceful,
    /// The kernel killed it, or a worker.
    Killed,
    /// It went on to the end of the trial, and nobody told it anything.
    Survived,
}

impl Trial {
    /// Runs it to its end.
    pub(crate) fn run(&self, lab: &Lab, number: usize, disk: &Path, tmpfs: &Path) -> Result<Outcome> {
        let cgroup = lab.cgroup(&format!("trial-{number}"))?;
        lab.limit(&cgroup, self.limit)?;
        let (disk, tmpfs) = (disk.join(number.to_string()), tmpfs.join(number.to_string()));
        fs::create_dir(&disk)?;
        fs::create_dir(&tmpfs)?;
        let directory = if self.kind == Kind::Tmpfs { &tmpfs } else { &disk };
        let outcome = self.run_in(lab, &cgroup, directory, &disk);
        let removed = fs::remove_dir_all(&tmpfs).and_then(|()| fs::remove_dir_all(&disk)).map_err(Into::into);
        let removed = removed.and_then(|()| remove(&cgroup));
        outcome.and_then(|outcome| removed.map(|()| outcome)).with_context(|| format!("{self:?}"))
    }

    fn run_in(&self, lab: &Lab, cgroup: &Path, directory: &Path, disk: &Path) -> Result<Outcome> {
        let result = directory.join("result");
        let mut command = Command::new(UNSHARE);
        command.args(["--pid", "--fork", "--mount-proc", "--kill-child", "--"]);
        command.args(self.init.command()).arg(std::env::current_exe()?).arg("leak");
        let kind = self.kind.to_possible_value().map(|kind| kind.get_name().to_owned()).unwrap_or_default();
        command.args(["--kind", &kind, "--workers", &self.workers.to_string()]);
        command.args(["--speed", &(self.limit * u64::from(self.rate) / 100).to_string()]);
        command.args(["--begin", &(self.limit * self.begin_percent() / 100).to_string()]);
        command.args(["--end", &(self.limit * 11 / 10).to_string()]);
        command.args(["--cache", &if self.cache { self.limit * 5 / 4 } else { 0 }.to_string()]);
        command.arg("--directory").arg(directory).arg("--disk").arg(disk).arg("--result").arg(&result);
        let mut child = lab.spawn(cgroup, &mut command)?;
        let end = Instant::now() + self.longest();
        while child.try_wait()?.is_none() {
            if Instant::now() > end {
                child.kill()?;
                child.wait()?;
                bail!("the trial did not end");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let said = fs::read_to_string(&result).unwrap_or_default();
        match (lab.oom_kills(cgroup)?, said.as_str()) {
            (0, "graceful") => Ok(Outcome::Graceful),
            (0, "survived") => Ok(Outcome::Survived),
            (0, _) => bail!("the program ended in an unknown way: {said:?}"),
            _ => Ok(Outcome::Killed),
        }
    }

    /// Slow leaks begin with most of the limit taken: nothing would happen before.
    fn begin_percent(&self) -> u64 {
        match self.rate {
            0..=2 => 80,
            3..=9 => 50,
            _ => 0,
        }
    }

    fn longest(&self) -> Duration {
        let percent = 110_u64.saturating_sub(self.begin_percent());
        Duration::from_secs(60 + percent / u64::from(self.rate.max(1)))
    }
}

fn remove(cgroup: &Path) -> Result<()> {
    reprieve_lab::remove_tree(cgroup).context("a cgroup is left behind")
}
