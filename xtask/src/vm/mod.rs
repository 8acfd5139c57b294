//! A virtual machine with cgroup v2, for whatever needs a kernel of its own: [`run`] boots Debian's kernel under
//! software emulation with nothing but busybox and the caller's files, runs the caller's commands, and returns what
//! they reported.
//!
//! Software emulation, because CI machines are virtual themselves and seldom let a guest use KVM. One boot costs some
//! ten seconds, so callers put all their commands into one.

mod initramfs;
mod kernel;
pub(crate) mod kernel_tests;
mod qemu;
mod results;

pub(crate) use kernel::Kernel;
pub(crate) use results::CommandResult;

use crate::{
    debian::{self, Program, Tool},
    workspace,
};
use anyhow::{Context, Result, anyhow, bail, ensure};
use initramfs::Initramfs;
use results::{BootEnd, Event, Stream};
use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

const QEMU: Program = Program {
    name: qemu::PROGRAM,
    package: "qemu-system-x86",
    purpose: "it runs the virtual machine of the cgroup v2 tests",
};

const BUSYBOX: Tool = Tool {
    folder: "busybox",
    package: "busybox-static",
    dependency: None,
    purpose: "the shell and the small tools of the virtual machine",
};

/// Where init.sh mounts something over what the initramfs holds.
const HIDDEN: [&str; 4] = ["/proc", "/sys", "/dev", "/var/tmp"];

/// One boot of the virtual machine.
pub(crate) struct VmRun {
    /// The kernel to boot.
    pub(crate) kernel: Kernel,
    /// The guest's memory, as qemu writes it (`2G`).
    pub(crate) memory: String,
    /// Executables to put into the guest, each at the absolute path it has on the host.
    pub(crate) files: Vec<PathBuf>,
    /// What to run, in this order.
    pub(crate) commands: Vec<GuestCommand>,
    /// How long the boot with all its commands may take.
    pub(crate) timeout: Duration,
}

/// A command to run inside the virtual machine.
pub(crate) struct GuestCommand {
    /// How the result and the messages call it; one line.
    pub(crate) name: String,
    /// The program and its arguments; the busybox programs are in PATH.
    pub(crate) words: Vec<String>,
}

/// What a boot brought back.
pub(crate) struct VmResults {
    /// The results, in the order of the commands.
    pub(crate) commands: Vec<CommandResult>,
    /// A tar of the guest's /out, empty if the commands put nothing there.
    pub(crate) out: PathBuf,
}

/// Fetches and installs what a boot of these kernels needs, if it is missing.
pub(crate) fn prepare(kernels: &[Kernel]) -> Result<()> {
    ensure!(std::env::consts::ARCH == "x86_64", "the virtual machine needs an x86_64 host");
    debian::install(&QEMU)?;
    debian::unpack(&BUSYBOX)?;
    for kernel in kernels {
        kernel.image()?;
    }
    Ok(())
}

/// Boots the machine, runs the commands, shows their output as it comes, and returns their results.
///
/// A kernel panic, a hang, an early power-off or a missing result is an error, with the end of the console. A command
/// that failed is not: its status is in the results.
pub(crate) fn run(run: &VmRun) -> Result<VmResults> {
    prepare(&[run.kernel])?;
    let folder = workspace::target().join("vm").join(run.kernel.to_string());
    fs::create_dir_all(&folder).with_context(|| format!("{} could not be made", folder.display()))?;
    // Two boots of one kernel would write the same files; the lock goes with the variable.
    let lock_path = folder.join("lock");
    let lock = File::create(&lock_path).with_context(|| format!("{} could not be made", lock_path.display()))?;
    lock.lock().with_context(|| format!("{} could not be locked", lock_path.display()))?;
    let initramfs = folder.join("initramfs");
    fs::write(&initramfs, pack(run)?).with_context(|| format!("{} could not be written", initramfs.display()))?;
    let boot = qemu::Boot {
        image: run.kernel.image()?,
        initramfs,
        memory: &run.memory,
        timeout: run.timeout,
        console: folder.join("console.log"),
        out: folder.join("out.tar"),
        disk: folder.join("disk.img"),
    };
    println!("booting Linux {} (console: {})", run.kernel, boot.console.display());
    let started = Instant::now();
    let mut stream = Stream::default();
    let timed_out = boot.run(|line| show(&mut stream, line, started))?;
    println!("Linux {} powered off after {:.1} s", run.kernel, started.elapsed().as_secs_f64());

    let console = String::from_utf8_lossy(&fs::read(&boot.console).unwrap_or_default()).into_owned();
    let expected: Vec<_> = run.commands.iter().map(|command| command.name.as_str()).collect();
    let commands = stream.judge(&expected, &BootEnd { console: &console, timed_out }).map_err(|what| {
        let log = boot.console.display();
        anyhow!("Linux {}: {what}. The end of its console ({log}):\n{}", run.kernel, tail(&console, 60))
    })?;
    Ok(VmResults { commands, out: boot.out })
}

fn show(stream: &mut Stream, line: &str, started: Instant) {
    match stream.feed(line) {
        Event::Began(name) => println!("-- {name} begins {:.1} s after power-on", started.elapsed().as_secs_f64()),
        Event::Output => println!("{line}"),
        Event::Marker => {}
    }
}

fn pack(run: &VmRun) -> Result<Vec<u8>> {
    let busybox = debian::unpack(&BUSYBOX)?.join("bin/busybox");
    let mut archive = Initramfs::default();
    archive.add(Path::new("/bin/busybox"), &read(&busybox)?);
    archive.add(Path::new("/init"), include_bytes!("init.sh"));
    archive.add(Path::new("/commands.sh"), script(&run.commands).as_bytes());
    for file in &run.files {
        if let Some(mount) = HIDDEN.iter().find(|mount| file.starts_with(mount)) {
            bail!(
                "{} would be hidden by the guest's own {mount}; set CARGO_TARGET_DIR to another place",
                file.display()
            );
        }
        archive.add(file, &read(file)?);
    }
    Ok(archive.finish())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("{} could not be read", path.display()))
}

/// The shell script of calls to init.sh's `run`.
fn script(commands: &[GuestCommand]) -> String {
    let line = |command: &GuestCommand| {
        let words = std::iter::once(&command.name).chain(&command.words);
        words.fold("run".to_owned(), |line, word| line + " '" + &word.replace('\'', "'\\''") + "'") + "\n"
    };
    commands.iter().map(line).collect()
}

fn tail(text: &str, count: usize) -> String {
    let lines: Vec<_> = text.lines().collect();
    let skipped = lines.len().saturating_sub(count);
    lines.into_iter().skip(skipped).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::{GuestCommand, script, tail};

    #[test]
    fn quotes_every_word_for_the_shell() {
        let command = GuestCommand { name: "one".into(), words: vec!["/a b".into(), "it's $HOME".into()] };
        assert_eq!(script(&[command]), "run 'one' '/a b' 'it'\\''s $HOME'\n");
    }

    #[test]
    fn shows_the_last_lines() {
        assert_eq!(tail("a\nb\nc\n", 2), "b\nc");
        assert_eq!(tail("", 2), "");
    }
}
