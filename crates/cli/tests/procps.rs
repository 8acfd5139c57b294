//! `reprieve free` beside procps' `free` on the same `/proc/meminfo`, made up and put in its place.
//! Needs root, for a mount namespace of its own, and procps-ng 4.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;

const FLAGS: &[&[&str]] = &[
    &[],
    &["-b"],
    &["-k"],
    &["-m"],
    &["-g"],
    &["--kilo"],
    &["--mega"],
    &["--giga"],
    &["--tera"],
    &["--peta"],
    &["--tebi"],
    &["--pebi"],
    &["--si"],
    &["--mebi", "--si"],
    &["-h"],
    &["-h", "--si"],
    &["-l"],
    &["-t"],
    &["-v"],
    &["-w"],
    &["-ltvw"],
    &["-hltvw"],
    &["-h", "-v", "--si", "-t"],
    &["-w", "-s", "0.001", "-c", "3"],
];

/// A small generator of numbers (xorshift), so that each run tries the same.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end.max(1)
    }

    fn meminfo(&mut self, number: u64) -> String {
        let size = [100, 5_000, 1_000_000, 30_000_000, 10_000_000_000, 1_000_000_000_000][self.below(6) as usize];
        let total = 1 + self.below(size);
        let swap = self.below(2) * self.below(size);
        let mut lines = vec![("MemTotal", total), ("MemFree", self.below(total + 1))];
        if number % 5 != 1 {
            // More available than there is, is what a machine with a made-up meminfo may say.
            lines.push(("MemAvailable", self.below(total + total / 10 + 1)));
        }
        for key in ["Buffers", "Cached", "Shmem", "SReclaimable", "CommitLimit"] {
            lines.push((key, self.below(total)));
        }
        if number % 7 == 1 {
            for key in ["LowTotal", "LowFree", "HighTotal", "HighFree"] {
                lines.push((key, self.below(total)));
            }
        }
        lines.extend([
            ("SwapTotal", swap),
            ("SwapFree", self.below(swap + 1)),
            ("Committed_AS", self.below(2 * total)),
        ]);
        lines.iter().fold(String::new(), |mut text, (key, kib)| {
            writeln!(text, "{:<16}{kib:>8} kB", format!("{key}:")).unwrap();
            text
        })
    }
}

fn procps(meminfo: &Path, flags: &[&str]) -> String {
    let script = "mount --bind \"$0\" /proc/meminfo && exec free \"$@\"";
    let mut command = Command::new("unshare");
    let output = command.args(["-m", "sh", "-c", script]).arg(meminfo).args(flags).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn ours(proc: &Path, flags: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_reprieve"));
    let output = command.args(["free", "--sys", "/nonexistent", "--proc"]).arg(proc).args(flags).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Whether procps can be asked here.
fn can_compare() -> bool {
    let version = Command::new("free").arg("--version").output();
    let is_procps = version.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("procps-ng 4"));
    let may_mount = Command::new("unshare").args(["-m", "true"]).status().is_ok_and(|status| status.success());
    is_procps && may_mount
}

#[test]
fn every_table_is_procps_to_the_letter() {
    if !can_compare() {
        assert!(std::env::var_os("REPRIEVE_REQUIRE_KERNEL").is_none(), "needs procps-ng 4 and the right to mount");
        eprintln!("SKIPPED: needs procps-ng 4 and the right to mount");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let meminfo = directory.path().join("meminfo");
    let mut numbers = Numbers(7);
    for number in 0..30 {
        let text = numbers.meminfo(number);
        fs::write(&meminfo, &text).unwrap();
        for flags in FLAGS {
            assert_eq!(ours(directory.path(), flags), procps(&meminfo, flags), "free {flags:?} of\n{text}");
        }
    }
}
