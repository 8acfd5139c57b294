//! Real kills, and warnings before them, on whichever memory controller this machine has. Each program runs under an init
//! that is PID 1 of a namespace of its own. Needs root and a memory hierarchy that it may write to.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod common;
#[path = "kernel/containers.rs"]
mod containers;
#[path = "kernel/kills.rs"]
mod kills;
#[path = "kernel/ladder.rs"]
mod ladder;
#[path = "kernel/restarts.rs"]
mod restarts;
#[path = "kernel/sizing.rs"]
mod sizing;

use std::fs::File;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use common::{INIT, PATIENCE, UNSHARE};
use reprieve_lab::{Lab, Version, wait_for};
use serde_json::Value;
use tempfile::TempDir;

const LIMIT: u64 = 24 << 20;

/// Is taken before the init and the program, but after a victim that has grown.
pub(crate) const DECOY: &str = "(echo 100 >/proc/self/oom_score_adj; exec sleep 1000) &";

/// One test at a time: they fill memory and are busy.
static ALONE: Mutex<()> = Mutex::new(());

/// A program under an init in a cgroup with a limit.
pub(crate) struct Boxed {
    pub(crate) unshare: Child,
    pub(crate) cgroup: PathBuf,
    pub(crate) directory: TempDir,
    hog: PathBuf,
    lab: Lab,
    /// Until it has ended.
    alone: Option<MutexGuard<'static, ()>>,
}

/// Starts a script under an init with these options and a directory as its `$1`. `None` where no cgroup can be made.
pub(crate) fn start(options: &[&str], script: &str) -> Option<Boxed> {
    start_in(options, script, LIMIT)
}

pub(crate) fn start_in(options: &[&str], script: &str, limit: u64) -> Option<Boxed> {
    let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    // Where all others are killed already, or a victim's memory is not given back yet, the kernel takes the init. Its own
    // tests are of other cases. Where it may not be spared another process offers itself.
    let spares = format!("echo -1000 >/proc/1/oom_score_adj || {{ {DECOY} }}; ");
    let spares = if options.contains(&"--sacrifice-main") { "" } else { &spares };
    let lab = Lab::open("init").expect("REPRIEVE_REQUIRE_KERNEL=1, but no memory cgroup can be made")?;
    let cgroup = lab.cgroup("container").unwrap();
    lab.limit(&cgroup, limit).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let own = directory.path().to_str().unwrap();
    let options: Vec<String> = options.iter().map(|option| option.replace("$1", own)).collect();
    let tmpfs = ["/dev/shm", "/tmp"].map(Path::new).into_iter().find(|tmpfs| tmpfs.is_dir()).unwrap();
    let hog = tmpfs.join(cgroup.parent().unwrap().file_name().unwrap());
    // unshare stays outside of the cgroup, where the kernel can't take it for a victim.
    let mut command = Command::new(UNSHARE);
    command.args(["--pid", "--fork", "--mount-proc", "--kill-child", "/bin/sh", "-c", "echo 0 >\"$0\" && exec \"$@\""]);
    command.arg(cgroup.join("cgroup.procs")).args([INIT, "--log-format", "json"]);
    command.args(["--termination-log", ""]).args(options).args([
        "--",
        "/bin/sh",
        "-c",
        &format!("{spares}{script}"),
        "sh",
        own,
    ]);
    command.arg(&hog);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(directory.path().join("said")).unwrap());
    command.process_group(0).env_remove("MEMORY_PRESSURE_WATCH");
    let unshare = command.spawn().unwrap();
    Some(Boxed { unshare, cgroup, directory, hog, lab, alone: Some(alone) })
}

impl Boxed {
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// Makes a file that the script waits for.
    pub(crate) fn write(&self, name: &str) {
        std::fs::write(self.path(name), "").unwrap();
    }

    /// Waits until a file that the script makes holds something.
    pub(crate) fn wait_for_file(&self, name: &str) -> String {
        let found = wait_for(PATIENCE, || Some(self.read(name)).filter(|text| text.ends_with('\n')));
        found.unwrap_or_else(|| panic!("no {name}; the init said: {}", self.read("said")))
    }

    pub(crate) fn events(&self, event: &str) -> Vec<Value> {
        let said = self.read("said");
        let lines = said
            .lines()
            .filter(|line| line.starts_with('{'))
            .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")));
        lines.filter(|line: &Value| line["event"] == event).collect()
    }

    pub(crate) fn wait_for_event(&self, event: &str) -> Value {
        let found = wait_for(PATIENCE, || self.events(event).into_iter().next());
        found.unwrap_or_else(|| panic!("no {event} is told; the init said: {}", self.read("said")))
    }

    /// Waits for the end; returns the exit code.
    pub(crate) fn end(&mut self) -> i32 {
        let ended = wait_for(PATIENCE, || self.unshare.try_wait().unwrap());
        let status =
            ended.unwrap_or_else(|| panic!("it does not end; it said: {}{}", self.read("said"), self.processes()));
        self.alone = None;
        assert!(!self.was_taken(status), "the kernel has taken the init; it said: {}", self.read("said"));
        status.code().unwrap_or_else(|| panic!("{status}"))
    }

    /// Whether the kernel takes the init itself, which nothing keeps it from where root may not spare it.
    pub(crate) fn is_taken(&mut self) -> bool {
        wait_for(PATIENCE, || self.unshare.try_wait().unwrap()).is_some_and(|status| self.was_taken(status))
    }

    /// unshare ends by the signal that ended the init. SIGKILL makes it fail to, before util-linux 2.40.
    fn was_taken(&self, status: ExitStatus) -> bool {
        status.signal() == Some(9) || self.read("said").contains("unshare: sigprocmask unblock failed")
    }

    /// Who is in the container, and in which state, for messages.
    fn processes(&self) -> String {
        let pids = std::fs::read_to_string(self.cgroup.join("cgroup.procs")).unwrap_or_default();
        let shown = |pid: &str| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let adjustment = std::fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap_or_default();
            let state = stat.split(' ').take(3).collect::<Vec<_>>().join(" ");
            format!("{state}, oom_score_adj {}\n", adjustment.trim())
        };
        pids.lines().map(shown).collect()
    }

    /// Waits for the end, which must be with this code.
    pub(crate) fn ends_with(&mut self, expected: i32) {
        let code = self.end();
        assert_eq!(code, expected, "the init said: {}", self.read("said"));
    }

    /// The init, as this process's namespace numbers it.
    pub(crate) fn init(&self) -> u32 {
        wait_for(PATIENCE, || common::children(self.unshare.id()).first().copied()).expect("unshare starts the init")
    }

    pub(crate) fn version(&self) -> Version {
        self.lab.version()
    }

    pub(crate) fn oom_kills(&self) -> u64 {
        self.lab.oom_kills(&self.cgroup).unwrap()
    }

    /// All kills are told, however many there were: while a victim still ends the kernel may take another one.
    pub(crate) fn all_are_told(&self) {
        let told = self.events("oom_kill").len() as u64;
        assert_eq!(told, self.oom_kills(), "{}", self.read("said"));
    }

    /// What the init said, without what shells said.
    pub(crate) fn said(&self) -> String {
        self.read("said").lines().filter(|line| line.starts_with('{')).collect()
    }

    /// Waits until the init has said this.
    pub(crate) fn wait_for_said(&self, part: &str) {
        let found = wait_for(PATIENCE, || self.read("said").contains(part).then_some(()));
        assert!(found.is_some(), "not said: {part}; said: {}", self.read("said"));
    }

    pub(crate) fn assert_said(&self, part: &str) {
        assert!(self.read("said").contains(part), "{}", self.read("said"));
    }
}

/// The init and all that runs under it end with unshare.
impl Drop for Boxed {
    fn drop(&mut self) {
        let _ = self.unshare.kill();
        let _ = self.unshare.wait();
        let _ = std::fs::remove_file(&self.hog);
    }
}

/// Takes so many MiB in a file on a tmpfs, whose name is in `$2`; for scripts.
pub(crate) fn take(mib: u64) -> String {
    format!("dd if=/dev/zero of=$2 bs=1048576 count={mib} 2>/dev/null")
}

pub(crate) fn exists(path: &Path) -> bool {
    path.exists()
}
