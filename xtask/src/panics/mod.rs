//! Whether reprieve-init could panic: looked for in the executable, after all that the compiler knows has been left out.
//!
//! Two rules. No place in a source file of ours may be one that panics: an `unwrap`, an index out of bounds, a division
//! by zero. And no function of ours, with all that was inlined into it, may call what can panic in the standard library or
//! another crate, but for what [`KEPT`] names with a reason. Another compiler may inline otherwise, so an entry that is not needed is only told.

mod calls;
mod image;

use crate::process;
use anyhow::{Context, Result, bail, ensure};
use calls::RiskyCall;
use image::{Location, Locations};
use std::{collections::BTreeSet, fs, path::Path, process::Command};

/// What can panic and stays: a part of the callee's name, or of the path of the file that panics, or both, and why that
/// does not happen or can't be helped.
const KEPT: &[(&str, &str)] = &[
    // Texts.
    ("alloc::fmt::format", "a Display that fails: ours fail only where the writer does, and a String takes all"),
    ("alloc/src/string.rs", "the same, by to_string"),
    ("alloc/src/str.rs", "words that are joined to more than the address space holds"),
    ("std::io::error::Error as core::fmt::Display", "an error of the C library without a text"),
    // Assertions of others about themselves.
    ("FromStr>::from_str", "parsing decimal numbers"),
    ("core::net::parser", "parsing an IP address"),
    ("core/src/net/parser.rs", "parsing an IP address"),
    ("core/src/iter/adapters/peekable.rs", "a value that was peeked at is there"),
    ("collections/btree/navigate.rs", "freeing a map visits its own nodes"),
    ("core::option::expect_failed in core/src/time.rs", "a difference of times has less than a second of nanoseconds"),
    ("core::slice::sort", "an order that contradicts itself: numbers have none such"),
    ("std::path::", "splitting a path at its slashes"),
    ("memchr::memmem", "searching bytes"),
    // Iterators with a closure of ours in them, which calls what stands here on its own account.
    ("GenericShunt", "parses the thresholds of a rung"),
    ("FlattenCompat", "lists a directory"),
    ("Iterator::min_by_key", "looks whether mounts are directories"),
    ("SpecFromIterNested", "more arguments than the address space holds"),
    // The kernel would have to break its word.
    ("std::env::", "the lock of the environment, which one thread takes"),
    ("std::sys::env::", "the lock of the environment, which one thread takes"),
    ("std::sys::fs::", "a directory that is open can be closed"),
    ("std::fs::DirEntry", "the same, by its last entry"),
    ("std/src/io/mod.rs", "a write takes no more than it was given"),
    ("net/connection/socket/mod.rs", "the address of who has connected is as long as its family has it"),
    ("rustix-1.1.6/src/buffer.rs", "a call fills no more than it was given"),
    ("rustix-1.1.6/src/fs/inotify.rs", "a notice ends where the read ended"),
    ("linux_raw/conv.rs", "a new descriptor is not -1"),
    ("linux_raw/io/errno.rs", "an error has a number from 1 to 4095"),
    ("rustix::path::arg", "a path is freed as it was allocated"),
    ("rustix::backend::vdso_wrappers", "the table of functions that the kernel maps is well-formed"),
    ("core::panicking::assert_failed::<i32, i32>", "rustix: the monotonic clock can be read"),
];

/// Fails where the program could panic for a reason that is not known.
pub(crate) fn check(program: &Path) -> Result<()> {
    let elf = fs::read(program).with_context(|| format!("{} could not be read", program.display()))?;
    let locations = image::locations(&elf)?;
    let mut objdump = Command::new("objdump");
    objdump.args(["--disassemble", "--no-show-raw-insn", "--demangle"]).arg(program);
    let calls = calls::risky_calls(&process::read_output(&mut objdump)?, &locations);
    // Each of them is there in any program: without, nothing was understood.
    ensure!(
        locations.values().any(|location| location.file.contains("library/core/")),
        "no place of a panic was found"
    );
    ensure!(calls.iter().any(|call| call.callee.contains("alloc::fmt::format")), "no call of the formatter was found");
    let Findings { faults, unneeded } = findings(&locations, &calls, KEPT);
    if !faults.is_empty() {
        bail!("{} could panic:\n{}", program.display(), faults.join("\n"));
    }
    for what in unneeded {
        println!("{what} is not called any more: take it out of the list");
    }
    println!("no panic of ours in {}; {} kinds of others' are known", program.display(), KEPT.len());
    Ok(())
}

struct Findings<'k> {
    faults: Vec<String>,
    /// What is kept for nothing.
    unneeded: BTreeSet<&'k str>,
}

fn findings<'k>(locations: &Locations, calls: &[RiskyCall], kept: &[(&'k str, &'k str)]) -> Findings<'k> {
    let ours: BTreeSet<&Location> =
        locations.values().filter(|location| location.file.starts_with("crates/")).collect();
    let mut faults: Vec<String> = ours.iter().map(|location| format!("{location} can panic")).collect();
    let mut unneeded: BTreeSet<&'k str> = kept.iter().map(|(what, _)| *what).collect();
    let mut unknown = BTreeSet::new();
    for call in calls.iter().filter(|call| !call.location.as_ref().is_some_and(|place| ours.contains(place))) {
        let mut reasons = kept.iter().map(|(what, _)| *what).filter(|what| call.is_about(what)).peekable();
        if reasons.peek().is_none() {
            let place = call.location.as_ref().map(|place| format!(" ({place})")).unwrap_or_default();
            unknown.insert(format!("{} calls {}{place}", call.caller, call.callee));
        }
        for what in reasons {
            unneeded.remove(what);
        }
    }
    faults.extend(unknown);
    Findings { faults, unneeded }
}

impl RiskyCall {
    fn is_about(&self, what: &str) -> bool {
        let in_file = |file: &str| self.location.as_ref().is_some_and(|location| location.file.contains(file));
        match (what.split_once(" in "), &self.location) {
            (Some((callee, file)), _) => self.callee.contains(callee) && in_file(file),
            (None, Some(_)) => in_file(what),
            (None, None) => self.callee.contains(what),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn location(file: &str) -> Location {
        Location { file: file.to_owned(), line: 7 }
    }

    fn call(callee: &str, file: Option<&str>) -> RiskyCall {
        RiskyCall { caller: "reprieve_init::run".into(), callee: callee.into(), location: file.map(location) }
    }

    #[test]
    fn a_place_of_ours_is_a_fault_whoever_is_called() {
        let locations = Locations::from([(8, location("crates/init/src/lib.rs")), (9, location("/rustc/x/core.rs"))]);
        let unwrap = call("core::option::unwrap_failed", Some("crates/init/src/lib.rs"));
        assert_eq!(findings(&locations, &[unwrap], &[]).faults, ["crates/init/src/lib.rs:7 can panic"]);
    }

    #[test]
    fn what_others_do_needs_a_reason_and_a_reason_needs_a_call() {
        let calls = [call("std::env::vars_os", None), call("core::option::expect_failed", Some("/rustc/core/time.rs"))];
        assert_eq!(
            findings(&Locations::new(), &calls, &[]).faults,
            [
                "reprieve_init::run calls core::option::expect_failed (/rustc/core/time.rs:7)",
                "reprieve_init::run calls std::env::vars_os"
            ]
        );
        let kept = [("std::env::", "why"), ("core::option::expect_failed in core/time.rs", "why")];
        let all = findings(&Locations::new(), &calls, &kept);
        assert!(all.faults.is_empty() && all.unneeded.is_empty());
        let some = findings(&Locations::new(), &calls[..1], &kept);
        assert!(
            some.faults.is_empty() && some.unneeded.into_iter().eq(["core::option::expect_failed in core/time.rs"])
        );
        let other = call("core::panicking::panic_fmt", Some("/rustc/core/time.rs"));
        assert_eq!(findings(&Locations::new(), &[other], &kept).faults.len(), 1, "another panic of the same file");
    }
}
