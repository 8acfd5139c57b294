//! Descriptors and terminals.

use std::process::{Command, Stdio};

use crate::common::{INIT, code, command, stderr, stdout};

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

/// Runs a script of commands under `script`(1), which makes a terminal, with these keys typed after a second.
fn on_a_terminal(command: &str, keys: &str) -> Option<String> {
    let typed = format!("(sleep 1; printf '{keys}'; sleep 2) | script -qec \"$0\" /dev/null");
    let output = Command::new("/bin/sh").args(["-c", &typed, command]).output().unwrap();
    if stderr(&output).contains("not found") {
        eprintln!("SKIPPED terminals: there is no script(1); install Debian's package bsdutils");
        return None;
    }
    Some(stdout(&output))
}

#[test]
fn the_terminal_is_handed_over() {
    // Fields 5 and 8 of stat: the process group, and that of the terminal.
    let Some(output) = on_a_terminal(&format!("{INIT} -s -- cut -d' ' -f5,8 /proc/self/stat"), "") else { return };
    let mut groups = output.split_whitespace();
    let (own, terminal) = (groups.next().unwrap(), groups.next().unwrap());
    assert_eq!(own, terminal, "{output}");
}

#[test]
fn the_terminal_s_keys_reach_the_program() {
    let trap = "trap 'echo interrupted; exit 3' INT; while :; do sleep 0.1; done";
    let Some(output) =
        on_a_terminal(&format!("{INIT} -s -- sh -c \\\"{trap}\\\"; echo code $?").replace("\\\"", "\""), "\\003")
    else {
        return;
    };
    assert!(output.contains("interrupted") && output.contains("code 3"), "{output}");
}

#[test]
fn a_stopped_terminal_holds_nothing_up() {
    // Ctrl-S stops the output; the program ends all the same, and so does the init with all it would say.
    let program = "i=0; while [ $i -lt 200 ]; do (true &); i=$((i+1)); done; sleep 2; exit 3";
    let command = format!("{INIT} -s -w -- sh -c '{program}'; echo code $? >\"$CODE\"");
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("code");
    let typed = "(printf '\\023'; sleep 8; printf '\\021') | script -qec \"$0\" /dev/null";
    let started = std::time::Instant::now();
    let mut shell =
        Command::new("/bin/sh").args(["-c", typed, &command]).env("CODE", &file).stdout(Stdio::null()).spawn().unwrap();
    let ended = reprieve_lab::wait_for(std::time::Duration::from_secs(7), || {
        std::fs::read_to_string(&file).ok().filter(|text| !text.is_empty())
    });
    assert_eq!(ended.as_deref(), Some("code 3\n"), "after {:?}", started.elapsed());
    shell.wait().unwrap();
}
