//! One run of qemu: the devices of the virtual machine, and reading its results port to the end.
//!
//! The results port is qemu's stdout, so the end of the machine is the end of the stream and no thread is needed. The
//! time limit is kept by timeout(1) around qemu, which holds even if this process is killed.

use anyhow::{Context, Result, bail};
use std::{
    fs::{self, File},
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// The emulator's program.
pub(crate) const PROGRAM: &str = "qemu-system-x86_64";

/// psi=1: Debian builds pressure stall information in but leaves it off. cgroup_no_v1: Linux 6.1 would else keep its
/// controllers for v1. panic=-1: with -no-reboot a panic ends qemu at once. The rest is for the speed of the boot.
const KERNEL_COMMAND_LINE: &str =
    "console=ttyS0 quiet panic=-1 psi=1 cgroup_no_v1=all mitigations=off tsc=reliable rdinit=/init";

/// The guest's disk, sparse: it takes only what the tests write.
const DISK_BYTES: u64 = 4 << 30;

/// The files and limits of one boot.
pub(crate) struct Boot<'a> {
    /// The kernel's image.
    pub(crate) image: PathBuf,
    /// The initramfs.
    pub(crate) initramfs: PathBuf,
    /// The guest's memory, as qemu writes it.
    pub(crate) memory: &'a str,
    /// How long the machine may run.
    pub(crate) timeout: Duration,
    /// Where the first serial port goes: the kernel's console.
    pub(crate) console: PathBuf,
    /// Where the third serial port goes: a tar of the guest's /out.
    pub(crate) out: PathBuf,
    /// The image of the guest's disk, made anew and removed after.
    pub(crate) disk: PathBuf,
}

impl Boot<'_> {
    /// Runs the machine to its end, handing over each line of the second serial port; returns whether it had to be
    /// stopped because its time was over.
    pub(crate) fn run(&self, mut on_line: impl FnMut(&str)) -> Result<bool> {
        let disk = File::create(&self.disk).and_then(|file| file.set_len(DISK_BYTES));
        disk.with_context(|| format!("{} could not be made", self.disk.display()))?;
        let started = Instant::now();
        let mut machine = self.command().spawn().with_context(|| format!("{PROGRAM} did not start"))?;
        if let Some(port) = machine.stdout.take() {
            let mut port = BufReader::new(port);
            let mut line = Vec::new();
            while port.read_until(b'\n', &mut line).context("the results port could not be read")? > 0 {
                on_line(String::from_utf8_lossy(&line).trim_end_matches('\n'));
                line.clear();
            }
        }
        let status = machine.wait().context("the end of the virtual machine was not seen")?;
        fs::remove_file(&self.disk).with_context(|| format!("{} could not be removed", self.disk.display()))?;
        match status.code() {
            Some(0) => Ok(false),
            _ if started.elapsed() >= self.timeout => Ok(true),
            _ => bail!("{PROGRAM} failed ({status}); its own message stands above"),
        }
    }

    fn command(&self) -> Command {
        let file = |path: &PathBuf| format!("file:{}", path.display());
        let mut command = Command::new("timeout");
        // In the foreground: else Ctrl-C would not reach qemu.
        command.args(["--foreground", "--kill-after=5", &self.timeout.as_secs().to_string(), PROGRAM]);
        command.args(["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-monitor", "none"]);
        // One thread for both processors: with one for each, qemu 7.2 loses updates to code that the kernel patches while
        // it runs, and the kernel then dies of an `int3` that nobody expects.
        command.args(["-accel", "tcg,thread=single", "-smp", "2", "-m", self.memory]);
        command.arg("-kernel").arg(&self.image).arg("-initrd").arg(&self.initramfs);
        command.args(["-append", KERNEL_COMMAND_LINE]);
        command.args(["-serial", &file(&self.console), "-serial", "stdio", "-serial", &file(&self.out)]);
        command.args(["-drive", &format!("if=none,id=disk,format=raw,cache=unsafe,file={}", self.disk.display())]);
        command.args(["-device", "nvme,drive=disk,serial=disk"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        command
    }
}
