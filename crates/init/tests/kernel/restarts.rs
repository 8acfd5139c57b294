//! Programs that are started again after a kill.

use std::time::Duration;

use reprieve_lab::wait_for;

use crate::common::INIT;
use crate::kills::{SPARED, VICTIM};
use crate::{PATIENCE, exists, start, take};

/// What the first run does, and the second; they know by a file.
fn two_runs(first: &str, second: &str) -> String {
    format!("echo run >>$1/runs; if [ $(wc -l <$1/runs) -gt 1 ]; then {second}; else {first}; fi")
}

const WAIT: &str = "while [ ! -e $1/go ]; do sleep 0.05; done";

#[test]
fn on_a_kill_the_program_is_started_again() {
    // The first run is killed itself, the second loses a worker, the third is content.
    let script = format!(
        "echo run >>$1/runs; case $(wc -l <$1/runs) in
        1) exec tail /dev/zero;;
        2) {SPARED}; trap 'exit 0' TERM; {VICTIM}; while :; do sleep 0.1; done;;
        *) exit 6;; esac"
    );
    let Some(mut container) = start(&["--on-oom-kill", "restart"], &script) else { return };
    container.ends_with(6);
    assert_eq!(container.read("runs"), "run\nrun\nrun\n");
    container.assert_said("it is started again in 1s");
    container.assert_said("it is started again in 2s");
}

/// Who stops a container sends the signal once: a restart would undo it.
#[test]
fn what_was_asked_to_end_is_not_started_again() {
    let script = "echo run >>$1/runs; trap 'exec tail /dev/zero' TERM; echo up >$1/up; while :; do sleep 0.1; done";
    let Some(mut container) = start(&["--on-oom-kill", "restart"], script) else { return };
    container.wait_for_file("up");
    crate::common::kill(container.init(), 15);
    container.ends_with(137);
    assert_eq!(container.read("runs"), "run\n");
}

/// What the ended run has left would hold its port and its memory.
#[test]
fn what_a_run_has_left_is_gone_before_the_next() {
    let script = "echo run >>$1/runs; [ $(wc -l <$1/runs) -gt 1 ] && { kill -0 $(cat $1/left) && exit 7; exit 6; }
        sh -c 'trap \"\" TERM; while :; do sleep 0.1; done' & echo $! >$1/left
        exec tail /dev/zero";
    let Some(mut container) = start(&["--on-oom-kill", "restart"], script) else { return };
    container.ends_with(6);
}

#[test]
fn between_two_runs_it_can_be_ended() {
    let Some(mut container) = start(&["--on-oom-kill", "restart"], "exec tail /dev/zero") else { return };
    container.wait_for_said("started again");
    crate::common::kill(container.init(), 15);
    // On a slow machine it may run again by now: SIGTERM ends it, or the kernel does, and it is not started again.
    let code = container.end();
    assert!([143, 137].contains(&code), "{code}: {}", container.read("said"));
}

/// A Java machine prints its threads at SIGQUIT, and is not meant to end.
#[test]
fn a_signal_that_the_program_has_lived_on_with_is_no_wish_to_end() {
    let script = two_runs(&format!("trap : QUIT; echo up >$1/up; {WAIT}; exec tail /dev/zero"), "exit 6");
    let Some(mut container) = start(&["--on-oom-kill", "restart", "--grace", "300ms"], &script) else { return };
    container.wait_for_file("up");
    crate::common::kill(container.init(), 3);
    std::thread::sleep(Duration::from_secs(1));
    container.write("go");
    container.ends_with(6);
}

#[test]
fn each_run_is_warned() {
    let hooked = |times: u32| format!("until [ $(wc -l <$1/hooks) -ge {times} ]; do sleep 0.05; done");
    let script = two_runs(
        &format!(": >$1/hooks; {}; {}; exec tail /dev/zero", take(18), hooked(1)),
        &format!("{}; {}; exit 6", take(18), hooked(2)),
    );
    let options = ["--on-oom-kill", "restart", "--warn", "30%:hook", "--hook", "echo hooked >>$1/hooks"];
    let Some(mut container) = start(&options, &script) else { return };
    container.ends_with(6);
}

#[test]
fn between_two_runs_it_is_not_ready() {
    let script =
        two_runs(&format!("{WAIT}; exec tail /dev/zero"), "while [ ! -e $1/end ]; do sleep 0.05; done; exit 6");
    let Some(mut container) = start(&["--on-oom-kill", "restart", "--ready-file", "$1/ready"], &script) else { return };
    let ready = container.path("ready");
    let becomes = |wanted: bool| wait_for(PATIENCE, || (exists(&ready) == wanted).then_some(()));
    becomes(true).expect("it is ready");
    container.write("go");
    becomes(false).expect("nothing runs");
    becomes(true).expect("it runs again");
    container.write("end");
    container.ends_with(6);
}

/// The terminal's foreground group is that of the run that has ended, until somebody takes it back.
#[test]
fn the_next_run_has_the_terminal_too() {
    if !exists(std::path::Path::new("/usr/bin/script")) {
        eprintln!("SKIPPED a restart on a terminal: there is no script(1); install Debian's package bsdutils");
        return;
    }
    // An init of its own in a session of its own, which script(1) makes.
    let runs =
        two_runs("exec tail /dev/zero", r#"read -r typed; echo "$typed" >$1/typed; exit 6"#).replace("$1", "$OWN");
    let script = format!(
        "OWN=$1; INIT={INIT}; RUNS='{runs}'; export OWN INIT RUNS; (echo hello; sleep 1000) | exec /usr/bin/script -qec \
         'exec \"$INIT\" -s --on-oom-kill restart --termination-log \"\" -- /bin/sh -c \"$RUNS\"' /dev/null"
    );
    let Some(container) = start(&[], &script) else { return };
    assert_eq!(container.wait_for_file("typed"), "hello\n");
}
