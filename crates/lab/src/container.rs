//! Real containers, started by runc.
//!
//! A container's root directory is empty but for the host's programs and libraries, bound read-only, so no image is
//! needed. Its cgroup is made by runc, below that of a [`Lab`].

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{Lab, remove_tree};

/// The last line of a container's script that is read; it waits from then on.
const READY: &str = "container ready";

/// The host's directories that a container has too, where they exist.
const PROGRAMS: [&str; 4] = ["/bin", "/lib", "/lib64", "/usr"];

/// runc, and what it keeps of the containers it runs.
#[derive(Debug)]
pub struct Runtime {
    program: PathBuf,
    state: TempDir,
}

/// What a container is to be like.
#[derive(Debug, Clone)]
pub struct ContainerOptions {
    /// Its cgroup, below the lab's own, such as `docker/0123`.
    pub cgroup: String,
    /// Its memory limit, in bytes.
    pub memory_limit: u64,
    /// Whether it has a cgroup namespace of its own. Without one it shares the host's.
    pub private_cgroups: bool,
    /// Whether it may change its cgroups.
    pub writable_cgroups: bool,
    /// Files and directories of the host, and where they are inside. Read-only.
    pub binds: Vec<(PathBuf, String)>,
    /// What its first process, a shell, does before it waits.
    pub script: String,
}

/// A container whose script is done and whose first process waits. Dropping it removes it, and its cgroups.
#[derive(Debug)]
pub struct Container<'a> {
    runtime: &'a Runtime,
    name: String,
    top: String,
    process: Child,
    _bundle: TempDir,
    output: String,
}

impl Runtime {
    /// Finds runc by the environment variable `RUNC`, which `cargo xtask` sets.
    ///
    /// Returns `None` after saying so on stderr where it is not set.
    ///
    /// # Errors
    /// The same, where `REPRIEVE_REQUIRE_KERNEL=1` says that containers must be run.
    pub fn find(purpose: &str) -> io::Result<Option<Runtime>> {
        match std::env::var_os("RUNC").map(PathBuf::from).filter(|program| program.is_file()) {
            Some(program) => Runtime::at(program).map(Some),
            None if crate::is_required() => Err(io::Error::other("RUNC names no program; `cargo xtask` sets it")),
            None => {
                eprintln!("SKIPPED {purpose}: needs runc, whose path is in RUNC; `cargo xtask test` fetches it");
                Ok(None)
            }
        }
    }

    /// The runtime whose program this is.
    ///
    /// # Errors
    /// There is no room for its state.
    pub fn at(program: PathBuf) -> io::Result<Runtime> {
        Ok(Runtime { program, state: TempDir::new()? })
    }

    /// Starts a container and waits until its script is done.
    ///
    /// # Errors
    /// It could not be started, or its script failed; what it wrote to stderr stands there.
    pub fn start<'a>(&'a self, lab: &Lab, options: &ContainerOptions) -> io::Result<Container<'a>> {
        self.start_as(lab, options, config)
    }

    /// The same without privileges: as user 1000, without capabilities and with no_new_privs, on a read-only root. The
    /// script runs under `entrypoint`, the container's first process.
    ///
    /// # Errors
    /// As for [`Runtime::start`].
    pub fn start_unprivileged<'a>(
        &'a self,
        lab: &Lab,
        options: &ContainerOptions,
        entrypoint: &[&str],
    ) -> io::Result<Container<'a>> {
        self.start_as(lab, options, |cgroup, options| unprivileged(config(cgroup, options), entrypoint))
    }

    fn start_as<'a>(
        &'a self,
        lab: &Lab,
        options: &ContainerOptions,
        config: impl Fn(&str, &ContainerOptions) -> Value,
    ) -> io::Result<Container<'a>> {
        let bundle = TempDir::new()?;
        fs::create_dir(bundle.path().join("rootfs"))?;
        let path = format!("{}/{}", lab.path_of(lab.directory()), options.cgroup);
        fs::write(bundle.path().join("config.json"), config(&path, options).to_string())?;
        let name = path.trim_matches('/').replace('/', "-");
        // The root of an initramfs can't be pivoted away from.
        let mut command = self.command(&["run", "--no-pivot", "--bundle"]);
        command.arg(bundle.path()).arg(&name).stdin(Stdio::null()).stdout(Stdio::piped());
        let process = command.spawn()?;
        let top = lab.path_of(lab.directory());
        let mut container = Container { runtime: self, name, top, process, _bundle: bundle, output: String::new() };
        container.read_output()?;
        Ok(container)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--root").arg(self.state.path()).args(arguments);
        command
    }
}

impl Container<'_> {
    /// What its script wrote.
    pub fn output(&self) -> &str {
        &self.output
    }

    fn read_output(&mut self) -> io::Result<()> {
        let output = self.process.stdout.take().ok_or_else(|| io::Error::other("no output to read"))?;
        for line in BufReader::new(output).lines() {
            let line = line?;
            if line == READY {
                return Ok(());
            }
            self.output += &line;
            self.output.push('\n');
        }
        Err(io::Error::other(format!("the script of the container {} failed", self.name)))
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        let deleted = self.runtime.command(&["delete", "--force", &self.name]).stdin(Stdio::null()).status();
        if !deleted.as_ref().is_ok_and(std::process::ExitStatus::success) {
            eprintln!("the container {} is left behind: {deleted:?}", self.name);
        }
        let _ = self.process.wait();
        // runc makes the cgroup in every hierarchy of v1, and leaves those above it. That of memory is the lab's.
        for hierarchy in fs::read_dir("/sys/fs/cgroup").into_iter().flatten().filter_map(Result::ok) {
            let left = hierarchy.path().join(self.top.trim_start_matches('/'));
            if hierarchy.file_name() != "memory" && left.join("cgroup.procs").is_file() {
                let removed = remove_tree(&left);
                if let Err(error) = removed {
                    eprintln!("{} is left behind: {error}", left.display());
                }
            }
        }
    }
}

/// The container's configuration (Open Container Initiative, runtime-spec 1.0.2), much as Docker writes it.
fn config(cgroup: &str, options: &ContainerOptions) -> Value {
    let namespaces = ["pid", "mount", "ipc", "uts"].into_iter().chain(options.private_cgroups.then_some("cgroup"));
    let namespaces: Vec<Value> = namespaces.map(|kind| json!({ "type": kind })).collect();
    let access = if options.writable_cgroups { "rw" } else { "ro" };
    let mut mounts = vec![
        mount("/proc", "proc", "proc", &[]),
        mount("/dev", "tmpfs", "tmpfs", &["nosuid", "mode=755"]),
        mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
        mount("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", access]),
    ];
    let programs = PROGRAMS.iter().filter(|program| Path::new(program).is_dir());
    mounts.extend(programs.map(|program| bind(Path::new(program), program)));
    mounts.extend(options.binds.iter().map(|(outside, inside)| bind(outside, inside)));
    let capabilities = ["CAP_KILL", "CAP_DAC_OVERRIDE"];
    json!({
        "ociVersion": "1.0.2",
        "hostname": "container",
        "root": { "path": "rootfs" },
        "process": {
            "user": { "uid": 0, "gid": 0 },
            "cwd": "/",
            "env": ["PATH=/bin:/usr/bin"],
            "args": ["/bin/sh", "-ec", format!("{}\necho '{READY}'\nexec sleep 600", options.script)],
            "capabilities": { "bounding": capabilities, "effective": capabilities, "permitted": capabilities },
        },
        "mounts": mounts,
        "linux": {
            "cgroupsPath": cgroup,
            "resources": { "memory": { "limit": options.memory_limit } },
            "namespaces": namespaces,
        },
    })
}

fn unprivileged(mut config: Value, entrypoint: &[&str]) -> Value {
    if let Some(process) = config.get_mut("process").and_then(Value::as_object_mut) {
        let script = process.get("args").and_then(Value::as_array).cloned().unwrap_or_default();
        let words: Vec<Value> = entrypoint.iter().map(|&word| word.into()).chain(script).collect();
        process.insert("args".to_owned(), words.into());
        process.insert("user".to_owned(), json!({ "uid": 1000, "gid": 1000 }));
        process.insert("capabilities".to_owned(), json!({}));
        process.insert("noNewPrivileges".to_owned(), true.into());
    }
    if let Some(root) = config.get_mut("root").and_then(Value::as_object_mut) {
        root.insert("readonly".to_owned(), true.into());
    }
    if let Some(mounts) = config.get_mut("mounts").and_then(Value::as_array_mut) {
        mounts.push(mount("/dev/shm", "tmpfs", "tmpfs", &["nosuid", "nodev", "mode=1777"]));
    }
    config
}

fn mount(destination: &str, kind: &str, source: &str, options: &[&str]) -> Value {
    json!({ "destination": destination, "type": kind, "source": source, "options": options })
}

fn bind(outside: &Path, inside: &str) -> Value {
    json!({ "destination": inside, "type": "bind", "source": outside, "options": ["rbind", "ro"] })
}
