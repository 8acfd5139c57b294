//! What users of tini rely on, written down as tests. Those that need nothing of ours are run with tini too where its
//! path is in `TINI` (`cargo xtask test` sets it), so that they are known to say what tini does.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod common;
#[path = "behaviour/files.rs"]
mod files;
#[path = "behaviour/signals.rs"]
mod signals;
#[path = "behaviour/terminals.rs"]
mod terminals;
#[path = "behaviour/tracing.rs"]
mod tracing;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

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
    let script = "for i in 1 2 3 4 5; do (sleep 0.5 & exit); done; read _";
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
    let started = Instant::now();
    under_each_ends_with(&["-s"], "(sleep 30 >/dev/null 2>&1 &) ; exit 3", 3);
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
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
fn as_pid_1_it_ends_its_namespace_with_the_program() {
    let unshare = [common::UNSHARE, "--pid", "--fork", "--mount-proc", common::INIT, "-v", "--", "/bin/sh", "-c"];
    let script = "(sleep 30 >/dev/null 2>&1 &) ; cat /proc/1/comm; exit 3";
    let started = Instant::now();
    let output = Command::new(unshare[0]).args(&unshare[1..]).arg(script).output().unwrap();
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
    assert_eq!((code(&output), stdout(&output).as_str()), (3, "reprieve-init\n"), "{}", stderr(&output));
}

#[test]
fn children_are_seen_to_end_even_if_their_end_was_to_be_ignored() {
    let ignored = ["--ignore-signal=CHLD", common::INIT, "-s", "--", "/bin/sh", "-c", "exit 4"];
    let mut init = Command::new("env").args(ignored).spawn().unwrap();
    assert_eq!(end_of(&mut init), 4);
}

#[test]
fn the_hook_does_not_read_what_is_for_the_program() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("hook");
    let hook = format!("cat >{0}.new; echo end >>{0}.new; mv {0}.new {0}", file.display());
    // The program waits for its input, and less than all is available anywhere.
    let mut init = command(&["-s", "--warn", "100%:hook", "--hook", &hook], &["cat"]);
    let mut init = init.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let hooked = wait_for(PATIENCE, || fs::read_to_string(&file).ok());
    assert_eq!(hooked.as_deref(), Some("end\n"));
    std::io::Write::write_all(&mut init.stdin.take().unwrap(), b"input\n").unwrap();
    assert_eq!((end_of(&mut init), common::read_all(init.stdout.take()).as_str()), (0, "input\n"));
}

/// Servers become another user before they connect.
#[test]
fn anybody_in_the_container_may_be_told_of_pressure_but_not_too_many() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().to_str().unwrap();
    let mut init = command(&["-s", "--warn", "1%:notify", "--pressure-socket", place], &["sleep", "1000"]);
    let mut init = init.stderr(Stdio::piped()).spawn().unwrap();
    program_of(&init);
    let socket = fs::read_dir(place).unwrap().next().unwrap().unwrap().path();
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o666);
    let clients: Vec<UnixStream> = (0..17).map(|_| UnixStream::connect(&socket).unwrap()).collect();
    let turned_away = "reprieve-init: a client of MEMORY_PRESSURE_WATCH was turned away: there are 16 already\n";
    let mut said = vec![0; turned_away.len()];
    std::io::Read::read_exact(init.stderr.as_mut().unwrap(), &mut said).unwrap();
    assert_eq!(String::from_utf8_lossy(&said), turned_away);
    drop(clients);
    kill(init.id(), 15);
    assert_eq!(end_of(&mut init), 143);
}
