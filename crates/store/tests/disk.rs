//! A disk that is full or read-only, and a place that may not be written: errors that say so, and nothing is lost.
//!
//! Needs root, to mount a small tmpfs of its own; says so where it isn't.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{ids, open, told};
use reprieve_store::{Retention, Store, StoreError, open_read_only};

/// A tmpfs, gone with the value.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount(size: &str) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            assert!(std::env::var_os("REPRIEVE_REQUIRE_KERNEL").is_none(), "needs root");
            eprintln!("SKIPPED: needs root, to mount a tmpfs");
            return None;
        }
        let disk = SmallDisk(tempfile::tempdir().unwrap());
        let options = format!("size={size},mode=0755");
        disk.run("mount", &["-t", "tmpfs", "-o", &options, "reprieve-test"]);
        Some(disk)
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        assert!(Command::new(program).args(arguments).arg(self.path()).status().unwrap().success());
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // A child that another test has just started may still have its files open.
        self.run("umount", &["-l"]);
    }
}

#[test]
fn a_full_disk_is_told_and_nothing_is_lost() {
    let Some(disk) = SmallDisk::mount("512k") else { return };
    let directory = disk.path().join("state");
    let mut opened = open(&directory);
    let ballast = disk.path().join("ballast");
    fs::write(&ballast, vec![0; 200 * 1024]).unwrap();
    let mut applied = 0;
    let error = loop {
        match opened.store.apply(&[told(applied + 1)]) {
            Ok(()) => applied += 1,
            Err(error) => break error,
        }
        assert!(applied < 10_000);
    };
    assert!(matches!(error, StoreError::Full { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("kills.redb: No space left on device (os error 28): make room there"), "{text}");
    assert_eq!(ids(&opened.store.reader()), (1..=applied).collect::<Vec<_>>(), "it can still be read");
    for _ in 0..3 {
        // It may fit by now: what failed has left pages free.
        match opened.store.apply(&[told(applied + 1)]) {
            Ok(()) => applied += 1,
            Err(error) => assert!(matches!(error, StoreError::Full { .. }), "{error:?}"),
        }
    }
    fs::remove_file(&ballast).unwrap();
    opened.store.apply(&[told(applied + 1), told(applied + 2)]).unwrap();
    let expected: Vec<_> = (1..=applied + 2).collect();
    assert_eq!(ids(&opened.store.reader()), expected);
    drop(opened);
    let opened = open(&directory);
    assert!(opened.moved.is_empty());
    assert_eq!(ids(&opened.store.reader()), expected);
    println!("{applied} changes until the disk was full");
}

#[test]
fn a_disk_that_is_full_from_the_start_leaves_nothing_half_done() {
    let Some(disk) = SmallDisk::mount("64k") else { return };
    let ballast = disk.path().join("ballast");
    fs::write(&ballast, vec![0; 60 * 1024]).unwrap();
    let error = Store::open(disk.path(), &Retention::default()).unwrap_err();
    assert!(matches!(error, StoreError::Full { .. }), "{error:?}");
    assert!(!disk.path().join("kills.redb").exists());
    assert!(matches!(open_read_only(disk.path()), Err(StoreError::Absent { .. })));
    fs::remove_file(&ballast).unwrap();
    disk.run("mount", &["-o", "remount,size=1m"]);
    let opened = open(disk.path());
    assert!(opened.moved.is_empty());
    assert!(!disk.path().join("kills.redb.new").exists());
}

#[test]
fn a_read_only_disk_is_told_and_can_be_looked_at() {
    let Some(disk) = SmallDisk::mount("1m") else { return };
    open(disk.path()).store.apply(&[told(1)]).unwrap();
    disk.run("mount", &["-o", "remount,ro"]);
    let error = Store::open(disk.path(), &Retention::default()).unwrap_err();
    assert!(matches!(error, StoreError::ReadOnly { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.ends_with("Read-only file system (os error 30): choose another --state-dir"), "{text}");
    let below = Store::open(&disk.path().join("below"), &Retention::default()).unwrap_err();
    assert!(matches!(below, StoreError::ReadOnly { .. }), "{below:?}");
    assert_eq!(ids(&open_read_only(disk.path()).unwrap()), [1]);
}

const CHILD: &str = "REPRIEVE_TEST_DIRECTORY";

/// Not a test of its own: what nobody may do.
#[test]
fn somebody_without_permission() {
    let Some(directory) = std::env::var_os(CHILD).map(PathBuf::from) else { return };
    let closed = directory.join("closed");
    for path in [closed.join("inside"), closed, directory.join("others")] {
        let error = Store::open(&path, &Retention::default()).unwrap_err();
        assert!(matches!(error, StoreError::Denied { .. }), "{error:?}");
        assert!(error.to_string().contains("Permission denied (os error 13): run as its owner, or choose"), "{error}");
        let error = open_read_only(&path).unwrap_err();
        assert!(matches!(error, StoreError::Denied { .. }), "{error:?}");
    }
    println!("denied, as it should be");
}

#[test]
fn a_place_without_permission_is_told() {
    let Some(disk) = SmallDisk::mount("256m") else { return };
    let closed = disk.path().join("closed");
    open(&closed).store.apply(&[told(1)]).unwrap();
    let others = disk.path().join("others");
    open(&others).store.apply(&[told(1)]).unwrap();
    fs::set_permissions(&others, fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(disk.0.path(), fs::Permissions::from_mode(0o755)).unwrap();
    // Where everybody may execute it.
    let program = disk.path().join("program");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let mut child = Command::new(&program);
    child.args(["--exact", "somebody_without_permission", "--nocapture"]).current_dir("/").env(CHILD, disk.path());
    child.uid(65_534).gid(65_534);
    // A child that another test has just started may still have the copy open for writing.
    let child = loop {
        match child.output() {
            Err(error) if error.kind() == ErrorKind::ExecutableFileBusy => std::thread::yield_now(),
            output => break output.unwrap(),
        }
    };
    let told = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success() && told.contains("denied, as it should be"), "{told}");
}
