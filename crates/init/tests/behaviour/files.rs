//! Descriptors.

use std::process::{Command, Stdio};

use crate::common::{INIT, code, command, stdout};

#[test]
fn the_program_gets_no_descriptor_of_the_init_s() {
    let without = Command::new("ls").arg("/proc/self/fd").stdin(Stdio::null()).output().unwrap();
    let under = command(&["-s", "--warn", "1%"], &["ls", "/proc/self/fd"]).output().unwrap();
    assert_eq!(stdout(&under), stdout(&without));
}

#[test]
fn closed_standard_descriptors_stay_closed() {
    // ls opens what it lists: that takes the lowest number that is free.
    let list = |words: &str| {
        let script = format!("exec {words} ls /proc/self/fd <&- 2>&-");
        Command::new("/bin/sh").args(["-c", &script, INIT]).output().unwrap()
    };
    let (under, without) = (list("\"$0\" -s --"), list(""));
    assert!(stdout(&without).starts_with("0\n1\n") && !stdout(&without).contains("\n2\n"));
    assert_eq!((code(&under), stdout(&under)), (0, stdout(&without)));
    let script = "exec \"$0\" -s -- sh -c 'exit 6' <&- >&- 2>&-";
    assert_eq!(code(&Command::new("/bin/sh").args(["-c", script, INIT]).output().unwrap()), 6);
    // What is said does not go into some other file.
    let script = "exec \"$0\" -s -vv --warn 1% -- no-such-program <&- >&- 2>&-";
    assert_eq!(code(&Command::new("/bin/sh").args(["-c", script, INIT]).output().unwrap()), 127);
}
