//! What users of tini rely on, written down as tests. Those that need nothing of ours are run with tini too where its
//! path is in `TINI` (`cargo xtask test` sets it), so that they are known to say what tini does.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod common;
#[path = "behaviour/files.rs"]
mod files;
#[path = "behaviour/signals.rs"]
mod signals;
#[path = "behaviour/tracing.rs"]
mod tracing;

use std::fs;
use std::process::{Command, Output, Stdio};

use common::{PATIENCE, children, code, command, end_of, example, kill, program_of, run, state, stderr, stdout};
use reprieve_lab::wait_for;

/// Runs a script under each init that can be had, with the same options.
fn under_each(options: &[&str], program: &[&str], check: impl Fn(&str, &Output)) {
    let tini = std::env::var_os("TINI");
    if tini.is_none() {
        eprintln!("SKIPPED the comparison with tini: its path is not in TINI; `cargo xtask test` sets it");
    }
    for init in [Some(common::INIT.into()), tini].into_iter().flatten() {
        let output = Command::new(&init).args(options).arg("--").args(program).stdin(Stdio::null()).output().unwrap();
        check(&init.to_string_lossy(), &output);
    }
}

fn under_each_ends_with(options: &[&str], script: &str, expected: i32) {
    under_each(options, &["/bin/sh", "-c", script], |init, output| {
        assert_eq!(code(output), expected, "{init} {options:?} {script}: {}", stderr(output));
    });
}

#[test]
fn it_exits_as_the_program_does() {
    for expected in [0, 1, 7, 126, 127, 255] {
        under_each_ends_with(&["-s"], &format!("exit {expected}"), expected);
    }
    for signal in [1, 2, 6, 9, 11, 15, 34, 64] {
        under_each_ends_with(&["-s"], &format!("kill -{signal} $$"), 128 + signal);
    }
}

#[test]
fn chosen_exit_codes_become_a_success() {
    under_each_ends_with(&["-s", "-e", "143"], "kill -TERM $$", 0);
    under_each_ends_with(&["-s", "-e", "7", "-e", "9"], "exit 9", 0);
    under_each_ends_with(&["-s", "-e", "7"], "exit 9", 9);
}

#[test]
fn a_program_that_can_t_be_started_is_told_by_the_code() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("not-executable");
    fs::write(&file, "echo").unwrap();
    under_each(&["-s"], &["/no/such/program"], |init, output| assert_eq!(code(output), 127, "{init}"));
    under_each(&["-s"], &["no-such-program"], |init, output| assert_eq!(code(output), 127, "{init}"));
    under_each(&["-s"], &[file.to_str().unwrap()], |init, output| assert_eq!(code(output), 126, "{init}"));
    let output = command(&["-s"], &["no-such\nprogram"]).output().unwrap();
    let message = "reprieve-init: can't run no-such\\nprogram: no directory of PATH has such a program\n";
    assert_eq!(stderr(&output), message);
}

#[test]
fn options_end_with_the_program_s_name() {
    under_each(&["-s"], &["echo", "-s", "--", "-x"], |init, output| assert_eq!(stdout(output), "-s -- -x\n", "{init}"));
    let output = Command::new(common::INIT).args(["-s", "echo", "--", "-v"]).output().unwrap();
    assert_eq!(stdout(&output), "-- -v\n");
}

#[test]
fn the_environment_and_the_directory_are_the_program_s_too() {
    let mut command = command(&["-s"], &["/bin/sh", "-c", "echo $ODD; pwd"]);
    let output = command.env("ODD", "a b").current_dir("/usr").output().unwrap();
    assert_eq!(stdout(&output), "a b\n/usr\n");
}

#[test]
fn wrong_arguments_are_one_line_and_2() {
    for arguments in [&["--nope"][..], &["-e", "x", "--", "true"], &[], &["--warn", "x", "--", "true"]] {
        let output = Command::new(common::INIT).args(arguments).output().unwrap();
        assert_eq!(code(&output), 2, "{arguments:?}");
        assert_eq!(stderr(&output).lines().count(), 1, "{arguments:?}: {}", stderr(&output));
    }
}

#[test]
fn not_being_pid_1_is_told_unless_it_is_a_subreaper() {
    let output = command(&[], &["true"]).output().unwrap();
    assert!(stderr(&output).contains("not PID 1"), "{}", stderr(&output));
    assert_eq!(stderr(&run(&["-s"], "true")), "");
}

#[test]
fn orphans_are_reaped() {
    // Twice forked: the outer shell of each orphan ends at once.
    let script = "for i in 1 2 3 4 5; do (sleep 0.05 & exit); done; read _";
    let mut init = command(&["-s", "-w"], &["/bin/sh", "-c", script]);
    let mut init = init.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let program = program_of(&init);
    let only_the_program = || (children(init.id()) == [program]).then_some(());
    wait_for(PATIENCE, || (children(init.id()).len() > 1).then_some(())).expect("orphans come");
    wait_for(PATIENCE, only_the_program).expect("orphans are gone");
    drop(init.stdin.take());
    assert_eq!(end_of(&mut init), 1, "read had nothing to read");
    let said = common::read_all(init.stderr.take());
    assert_eq!(said.matches("reaped process").count(), 5, "{said}");
    assert!(said.contains("(sleep)"), "{said}");
}

#[test]
fn it_does_not_wait_for_others_than_the_program() {
    under_each_ends_with(&["-s"], "(sleep 5 >/dev/null 2>&1 &) ; exit 3", 3);
}

#[test]
fn the_parent_s_end_is_told_by_a_signal() {
    let script = format!("{} -s -p TERM -- sleep 1000 & echo $!; wait", common::INIT);
    let mut parent = Command::new("/bin/sh").args(["-c", &script]).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(parent.stdout.take().unwrap()), &mut line).unwrap();
    let init: u32 = line.trim().parse().unwrap();
    // It has asked for the signal before it has a child.
    wait_for(PATIENCE, || (!children(init).is_empty()).then_some(())).unwrap();
    parent.kill().unwrap();
    parent.wait().unwrap();
    let gone = || state(init).is_none_or(|state| state == 'Z').then_some(());
    wait_for(PATIENCE, gone).expect("it ends with its parent");
}

#[test]
fn a_program_that_asks_to_be_traced_is_let_go() {
    let program = example("ask_to_be_traced");
    let output = command(&["-s", "-v"], &[program.to_str().unwrap()]).output().unwrap();
    assert_eq!(code(&output), 5, "{}", stderr(&output));
    assert!(stderr(&output).contains("asked to be traced"), "{}", stderr(&output));
}

#[test]
fn a_stop_of_the_program_stops_it_too_and_both_go_on() {
    let mut init = command(&["-s"], &["sleep", "1000"]).spawn().unwrap();
    let program = program_of(&init);
    kill(program, 20);
    common::wait_for_state(program, 'T');
    common::wait_for_state(init.id(), 'T');
    kill(init.id(), 18);
    common::wait_for_state(program, 'S');
    common::wait_for_state(init.id(), 'S');
    kill(init.id(), 15);
    assert_eq!(end_of(&mut init), 143);
}

#[test]
fn as_pid_1_it_ends_its_namespace_with_the_program() {
    let unshare = [common::UNSHARE, "--pid", "--fork", "--mount-proc", common::INIT, "-v", "--", "/bin/sh", "-c"];
    let script = "(sleep 5 >/dev/null 2>&1 &) ; cat /proc/1/comm; exit 3";
    let output = Command::new(unshare[0]).args(&unshare[1..]).arg(script).output().unwrap();
    assert_eq!((code(&output), stdout(&output).as_str()), (3, "reprieve-init\n"), "{}", stderr(&output));
}
