//! Real cgroups and real OOM kills, for tests and benchmarks. Nothing that ships uses it.
//!
//! It works on the memory controller that this machine has, v1 or v2, in cgroups of its own, which it removes again
//! together with the processes in them. Whoever needs it says so first by [`Lab::open`]: where the kernel can't serve,
//! that is an error in CI (`REPRIEVE_REQUIRE_KERNEL=1`) and a loud skip elsewhere.

mod captured;
mod container;

use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

pub use captured::{Captured, Level};
pub use container::{Container, ContainerOptions, Runtime};

/// A place for cgroups of one's own.
#[derive(Debug)]
pub struct Lab {
    top: PathBuf,
    hierarchy: PathBuf,
    version: Version,
}

/// Which interface the memory controller of this machine speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// `/sys/fs/cgroup/memory`.
    V1,
    /// `/sys/fs/cgroup`.
    V2,
}

static NEXT: AtomicU32 = AtomicU32::new(0);

impl Lab {
    /// Makes a cgroup to work in, called after `purpose` and this process.
    ///
    /// Returns `None` after saying why on stderr where memory cgroups can't be made here.
    ///
    /// # Errors
    /// The same, where `REPRIEVE_REQUIRE_KERNEL=1` says that this machine must be able to.
    pub fn open(purpose: &str) -> io::Result<Option<Lab>> {
        match Self::make(purpose) {
            Ok(lab) => Ok(Some(lab)),
            Err(error) if is_required() => Err(error),
            Err(error) => {
                eprintln!("SKIPPED {purpose}: needs root and a memory cgroup hierarchy that it may write to: {error}");
                Ok(None)
            }
        }
    }

    fn make(purpose: &str) -> io::Result<Lab> {
        let v1 = Path::new("/sys/fs/cgroup/memory");
        let (hierarchy, version) = if v1.join("memory.usage_in_bytes").exists() {
            (v1, Version::V1)
        } else {
            (Path::new("/sys/fs/cgroup"), Version::V2)
        };
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let top = hierarchy.join(format!("reprieve-{purpose}-{}-{number}", std::process::id()));
        fs::create_dir(&top)?;
        let lab = Lab { top, hierarchy: hierarchy.to_path_buf(), version };
        lab.enable_memory(&lab.top)?;
        Ok(lab)
    }

    /// The interface that this machine's memory controller speaks.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The directory of the lab's own cgroup. It holds no processes.
    pub fn directory(&self) -> &Path {
        &self.top
    }

    /// The path of a cgroup, as `/proc/PID/cgroup` and the kernel's log name it.
    pub fn path_of(&self, cgroup: &Path) -> String {
        let inside = cgroup.strip_prefix(&self.hierarchy).unwrap_or(cgroup);
        format!("/{}", inside.display())
    }

    /// Makes a cgroup below the lab's, with those above it as needed.
    pub fn cgroup(&self, name: &str) -> io::Result<PathBuf> {
        let mut directory = self.top.clone();
        for part in Path::new(name) {
            self.enable_memory(&directory)?;
            directory.push(part);
            match fs::create_dir(&directory) {
                // Another thread may make the same one.
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
        }
        Ok(directory)
    }

    /// Limits the memory of a cgroup. Swap doesn't help it.
    pub fn limit(&self, cgroup: &Path, bytes: u64) -> io::Result<()> {
        match self.version {
            Version::V1 => {
                // v1 wants memory ≤ memory+swap at each step: raising begins with the one, lowering with the other.
                let memory = || fs::write(cgroup.join("memory.limit_in_bytes"), bytes.to_string());
                let with_swap = || write_if_there(&cgroup.join("memory.memsw.limit_in_bytes"), &bytes.to_string());
                memory().and_then(|()| with_swap()).or_else(|_| with_swap().and_then(|()| memory()))
            }
            Version::V2 => {
                fs::write(cgroup.join("memory.max"), bytes.to_string())?;
                write_if_there(&cgroup.join("memory.swap.max"), "0")
            }
        }
    }

    /// Starts a program inside a cgroup. It is in there before its first instruction.
    pub fn spawn(&self, cgroup: &Path, command: &mut Command) -> io::Result<Child> {
        // A shell moves itself in and becomes the program: no fork, so the pid is the program's own.
        let mut inside = Command::new("/bin/sh");
        inside.arg("-c").arg("echo $$ >\"$0\" && exec \"$@\"").arg(cgroup.join("cgroup.procs"));
        inside.arg(command.get_program()).args(command.get_args());
        inside.stdin(Stdio::null()).process_group(0);
        inside.stdout(Stdio::null()).stderr(Stdio::null());
        inside.spawn()
    }

    /// Starts a program that takes memory until it is killed, as the child of a shell that survives it.
    /// Returns the shell.
    pub fn spawn_doomed_child(&self, cgroup: &Path) -> io::Result<Child> {
        self.spawn(cgroup, Command::new("/bin/sh").arg("-c").arg("tail /dev/zero; sleep 600"))
    }

    /// How many of a cgroup's own processes an OOM killer has killed, by the kernel's count.
    pub fn oom_kills(&self, cgroup: &Path) -> io::Result<u64> {
        let name = match self.version {
            Version::V1 => "memory.oom_control",
            Version::V2 => "memory.events.local",
        };
        let text = fs::read_to_string(cgroup.join(name))?;
        let count = text.lines().find_map(|line| line.strip_prefix("oom_kill ")).and_then(|count| count.parse().ok());
        count.ok_or_else(|| io::Error::other(format!("no oom_kill in {name}: {text}")))
    }

    fn enable_memory(&self, directory: &Path) -> io::Result<()> {
        match self.version {
            Version::V1 => Ok(()),
            Version::V2 => fs::write(directory.join("cgroup.subtree_control"), "+memory"),
        }
    }
}

/// Ends whatever is left in the lab's cgroups and removes them.
impl Drop for Lab {
    fn drop(&mut self) {
        if let Err(error) = remove_tree(&self.top) {
            eprintln!("{} is left behind: {error}", self.top.display());
        }
    }
}

/// Ends the processes of a cgroup and of those inside it, by pid, and removes the cgroups.
pub fn remove_tree(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    let mut removed = Ok(());
    for _ in 0..500 {
        for pid in fs::read_to_string(directory.join("cgroup.procs"))?.lines() {
            if let Some(pid) = pid.parse().ok().and_then(rustix::process::Pid::from_raw) {
                // It may have ended by itself meanwhile.
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
        removed = fs::remove_dir(directory);
        if removed.is_ok() {
            break;
        }
        thread::sleep(Duration::from_millis(10));
    }
    removed
}

/// Waits until `probe` gives a value, asking every few milliseconds. `None` where it doesn't within `limit`.
pub fn wait_for<T>(limit: Duration, mut probe: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + limit;
    loop {
        if let Some(value) = probe() {
            return Some(value);
        }
        if Instant::now() > end {
            return None;
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// Whether whoever runs the tests says that nothing may be missing.
fn is_required() -> bool {
    std::env::var_os("REPRIEVE_REQUIRE_KERNEL").is_some_and(|set| set == "1")
}

fn write_if_there(file: &Path, text: &str) -> io::Result<()> {
    match fs::write(file, text) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        written => written,
    }
}
