//! Asks its parent to trace it, and becomes a shell, as a program that looks for a debugger may do. For the tests.
#![allow(unsafe_code, reason = "ptrace(2) has no safe face")]

use std::os::unix::process::CommandExt;
use std::process::Command;

fn main() {
    let none = std::ptr::null_mut::<libc::c_void>();
    // SAFETY: PTRACE_TRACEME looks at no other argument.
    let asked = unsafe { libc::ptrace(libc::PTRACE_TRACEME, 0, none, none) };
    assert_eq!(asked, 0, "the parent may trace this process");
    let failed = Command::new("/bin/sh").args(["-c", "kill -WINCH $$; exit 5"]).exec();
    eprintln!("{failed}");
    std::process::exit(1);
}
