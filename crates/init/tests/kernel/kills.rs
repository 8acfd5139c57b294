//! Kills: told, written down, and acted on.

use std::fs;
use std::io::Write;
use std::time::Duration;

use reprieve_lab::wait_for;
use reprieve_readings::Bytes;

use crate::{Boxed, PATIENCE, start, start_in, take};

/// While a victim still ends, the kernel may take whoever asks for memory next: not the shell that says this. Its children
/// have it from it, and offer themselves.
pub(crate) const SPARED: &str = "echo -1000 >/proc/$$/oom_score_adj";

/// A child that is killed, of a shell that is spared.
pub(crate) const VICTIM: &str = "sh -c 'echo 1000 >/proc/$$/oom_score_adj; exec tail /dev/zero'";

/// A child that does this first, and then grows by half a megabyte per line that [`pace`] writes.
fn slow_victim(first: &str) -> String {
    format!(
        "mkfifo $1/pace; sh -c '{first}; echo 1000 >/proc/$$/oom_score_adj
        part=$(printf %500000s x); while read -r _; do all=$all$part; done' <$1/pace"
    )
}

/// Lets a [`slow_victim`] grow until it is killed, so slowly that it is known by then: a faster one has no name where the
/// kernel gives no notice (v1). Paced from outside of the container: a process in it that asks for memory while the victim
/// still ends can have the kernel take another one.
fn pace(container: &Boxed) {
    let open = || fs::File::options().read(true).write(true).open(container.path("pace")).ok();
    let mut pace = wait_for(PATIENCE, open).expect("the script makes the pipe");
    let killed = || {
        pace.write_all(b"\n").unwrap();
        std::thread::sleep(Duration::from_millis(50));
        (container.oom_kills() > 0).then_some(())
    };
    wait_for(PATIENCE, killed).expect("the victim is killed");
}

/// A child of the program is killed and the program lives on: nobody else would know.
#[test]
fn a_worker_s_kill_is_told() {
    let script = format!("{SPARED}; {}; echo $? >$1/status; exit 5", slow_victim(":"));
    let Some(mut container) = start(&[], &script) else { return };
    pace(&container);
    let kill = container.wait_for_event("oom_kill");
    assert_eq!(kill["name"], "sh", "{kill}");
    assert_eq!((&kill["main"], &kill["limit_bytes"]), (&false.into(), &crate::LIMIT.into()), "{kill}");
    assert!(kill["pid"].as_u64().unwrap() > 1, "as the container numbers it: {kill}");
    container.ends_with(5);
    assert_eq!(container.read("status"), "137\n");
    container.all_are_told();
}

/// A process chooses its own name.
#[test]
fn a_hostile_name_breaks_no_line() {
    let script = format!("{SPARED}; {}; exit 5", slow_victim(r#"printf "a\"\n{\\" >/proc/$$/comm"#));
    let Some(mut container) = start(&["--termination-log", "$1/log"], &script) else { return };
    pace(&container);
    container.ends_with(5);
    assert_eq!(container.events("oom_kill")[0]["name"], r#"a"\n{\\"#, "{}", container.read("said"));
    let log = container.read("log");
    assert!(log.contains(r#"(a"\n{\\) for want of memory"#), "{log}");
    assert!(log.lines().all(|line| line.starts_with("the kernel killed ")), "{log}");
}

/// Looking at a victim holds its memory, and opening a file takes some: while the victim ends, both have the kernel take
/// the next process, which is the program.
#[test]
fn a_kill_does_not_take_the_program_too() {
    const KILLS: u64 = 40;
    // Seldom the kernel does that by itself, where a process asks for memory in the wrong moment.
    const MOST: u64 = 2;
    let (mut killed, mut taken) = (0, 0);
    while killed < KILLS && taken <= MOST {
        let script = format!("for i in $(seq {}); do tail /dev/zero; done; exit 0", KILLS - killed);
        let Some(mut container) = start(&[], &script) else { return };
        let status = wait_for(PATIENCE, || container.unshare.try_wait().unwrap()).expect("it ends");
        killed += container.oom_kills();
        taken += u64::from(!status.success());
    }
    assert!(taken <= MOST, "of {killed} kills {taken} took the program too");
}

#[test]
fn an_orphan_s_kill_is_told_by_its_end() {
    // The program is sleep, which takes no notice of its child: that stays as a zombie.
    let neglected = "(sleep 0.3; exec tail /dev/zero) & exec sleep 1000";
    let orphaned = "( (sleep 0.3; exec tail /dev/zero) & ); exec sleep 1000";
    // With the kernel's notice (v2) an orphan may be seen while it is dying.
    for (script, evidence) in [(neglected, &["dying"][..]), (orphaned, &["reaped", "dying"])] {
        let Some(mut container) = start(&[], script) else { return };
        // Linux 6.12 may take the program too, while the first victim still ends. That is told as well.
        let tail = || container.events("oom_kill").into_iter().find(|kill| kill["name"] == "tail");
        let kill = wait_for(PATIENCE, tail).unwrap_or_else(|| panic!("{}", container.read("said")));
        assert!(evidence.iter().any(|evidence| kill["evidence"] == *evidence), "{kill}");
        if container.oom_kills() == 1 {
            crate::common::kill(container.init(), 15);
            container.ends_with(143);
        } else {
            container.ends_with(137);
        }
    }
}

#[test]
fn the_program_s_own_kill_is_told_before_the_exit() {
    let Some(mut container) = start(&[], "exec tail /dev/zero") else { return };
    container.ends_with(137);
    let kill = &container.events("oom_kill")[0];
    assert_eq!((&kill["name"], &kill["main"]), (&"tail".into(), &true.into()), "{kill}");
    // With the kernel's notice (v2) it may be seen while it is dying.
    assert!(["reaped", "dying"].iter().any(|evidence| kill["evidence"] == *evidence), "{kill}");
}

#[test]
fn a_kill_by_somebody_else_is_not_told() {
    let Some(mut container) = start(&[], "sleep 1000 & sleep 0.2; kill -9 $!; wait $!; sleep 1; exit 0") else {
        return;
    };
    container.ends_with(0);
    assert_eq!(container.said(), "");
    let Some(mut container) = start(&[], "kill -9 $$") else { return };
    container.ends_with(137);
    assert_eq!(container.said(), "");
}

#[test]
fn kills_before_the_start_are_not_told() {
    // The shell that starts the init loses a child first.
    let Some(mut container) = start(&[], "tail /dev/zero; exit 0") else { return };
    container.end();
    let before = container.oom_kills();
    assert_eq!(container.events("oom_kill").len() as u64, before);
}

#[test]
fn on_a_kill_the_program_is_ended_gracefully() {
    let script = format!("{SPARED}; trap 'echo graceful >$1/end; exit 0' TERM; {VICTIM}; while :; do sleep 0.1; done");
    let Some(mut container) = start(&["--on-oom-kill", "exit"], &script) else { return };
    container.ends_with(137);
    assert_eq!(container.read("end"), "graceful\n");
    container.all_are_told();
}

/// Whoever ends it first, the kill is to be seen.
#[test]
fn a_kill_while_the_program_is_ended_for_a_warning_is_shown_by_the_code() {
    let asked = "until grep -q 'ending the program' $1/said; do sleep 0.05; done";
    let script = format!("{SPARED}; trap '' TERM; {}; {asked}; {VICTIM}; exit 0", take(18));
    let Some(mut container) = start(&["--warn", "30%:stop", "--on-oom-kill", "exit"], &script) else { return };
    container.ends_with(137);
    container.assert_said("--warn: ending the program with SIGTERM");
}

#[test]
fn a_program_that_ignores_the_stop_signal_is_killed_after_its_grace() {
    let script = format!("{SPARED}; trap '' TERM; {VICTIM}; while :; do sleep 0.1; done");
    let options = ["--on-oom-kill", "exit", "--grace", "500ms"];
    let Some(mut container) = start(&options, &script) else { return };
    container.ends_with(137);
    container.assert_said("has not ended within 500ms: SIGKILL");
    // Our own SIGKILL is no kill by the kernel.
    container.all_are_told();
}

/// The program may go because its worker was killed, before anybody could end it.
#[test]
fn a_program_that_goes_with_its_worker_is_dealt_with_as_after_a_kill() {
    let script = format!("echo run >>$1/runs; [ $(wc -l <$1/runs) -gt 1 ] && exit 6; {SPARED}; {VICTIM} || exit 1");
    let Some(mut container) = start(&["--on-oom-kill", "exit"], &script) else { return };
    container.ends_with(137);
    let Some(mut container) = start(&["--on-oom-kill", "restart"], &script) else { return };
    container.ends_with(6);
    assert_eq!(container.read("runs"), "run\nrun\n");
}

#[test]
fn on_a_kill_the_program_is_told_by_a_signal_that_it_handles() {
    let script = format!("{SPARED}; trap 'echo told >$1/told; exit 0' USR2; {VICTIM}; while :; do sleep 0.1; done");
    let Some(mut container) = start(&["--on-oom-kill", "signal=USR2"], &script) else { return };
    container.ends_with(0);
    assert_eq!(container.read("told"), "told\n");
    let script = format!("{SPARED}; {VICTIM}; while [ ! -e $1/go ]; do sleep 0.1; done; exit 8");
    let Some(mut container) = start(&["--on-oom-kill", "signal=USR2"], &script) else { return };
    container.wait_for_said("SIGUSR2 is not sent: the program does not handle it");
    container.write("go");
    container.ends_with(8);
}

#[test]
fn kills_stand_in_the_termination_log() {
    let script = format!("{SPARED}; echo \"the program's own words\" >$1/log; {VICTIM}; {VICTIM}; exit 0");
    let Some(mut container) = start(&["--termination-log", "$1/log"], &script) else { return };
    container.ends_with(0);
    let log = container.read("log");
    assert!(log.starts_with("the program's own words\nthe kernel killed "), "{log}");
    let told = log.matches(" for want of memory (limit 24.0 MiB)").count();
    assert!(told >= 2 && told as u64 == container.oom_kills(), "{log}");
}

#[test]
fn a_termination_log_that_can_t_be_written_is_told_once_and_harms_nothing() {
    // An unwritable place, a full disk, and a pipe that nobody reads.
    for (place, error) in [("/proc/log", "No such file"), ("/dev/full", "No space left"), ("$1/pipe", "No such device")]
    {
        let script = format!("{SPARED}; mkfifo $1/pipe; {VICTIM}; {VICTIM}; exit 4");
        let Some(mut container) = start(&["--termination-log", place], &script) else { return };
        container.ends_with(4);
        container.assert_said(error);
        assert_eq!(container.read("said").matches("can't be told in").count(), 1, "{}", container.read("said"));
        assert!(container.events("oom_kill").len() >= 2, "{}", container.read("said"));
        container.all_are_told();
    }
}

/// A program that holds 30 of 48 MiB, and a worker that takes 40 once it may. It writes its worker's exit status into
/// `worker`, and ends by SIGTERM.
const LARGE_PROGRAM: &str = "mkfifo $1/pipe; sleep 1000 <>$1/pipe &
    (while [ ! -e $1/go ]; do sleep 0.05; done; dd if=/dev/zero of=/dev/null bs=40M count=1; echo $? >$1/worker
    kill $$) & echo $! >$1/up
    exec dd if=/dev/zero of=$1/pipe bs=30M count=1";

fn start_large_program(options: &[&str]) -> Option<Boxed> {
    let container = start_in(options, LARGE_PROGRAM, 48 << 20)?;
    container.wait_for_file("up");
    let program = crate::common::children(container.init())[0];
    let is_large = || (reprieve_linux::process_resident(program)? > Bytes::from_mib(30)).then_some(());
    wait_for(PATIENCE, is_large).expect("the program takes its memory");
    Some(container)
}

/// Waits until all processes of the container but the init and the program have this adjustment.
fn wait_for_others(container: &Boxed, adjustment: i16) {
    let program = crate::common::children(container.init())[0];
    let others = || {
        let all = fs::read_to_string(container.cgroup.join("cgroup.procs")).unwrap();
        let others = all.lines().filter_map(|pid| pid.parse().ok());
        let mut others = others.filter(|pid| ![container.init(), program].contains(pid));
        others.all(|pid| reprieve_linux::oom_score_adj(pid).is_none_or(|found| found == adjustment)).then_some(())
    };
    wait_for(PATIENCE, others).expect("the others are adjusted");
}

#[test]
fn of_a_large_program_and_its_worker_the_kernel_takes_the_program() {
    let Some(mut container) = start_large_program(&[]) else { return };
    container.write("go");
    container.ends_with(137);
}

#[test]
fn a_protected_program_outlives_its_worker() {
    let Some(mut container) = start_large_program(&["--protect-main"]) else { return };
    wait_for_others(&container, 1000);
    container.write("go");
    container.ends_with(143);
    assert_eq!(container.read("worker"), "137\n");
}

#[test]
fn a_sacrificed_program_is_taken_before_a_large_worker() {
    // An adjustment of 1000 weighs less than the limit: it is rounded down to thousands of pages. What is in files on a
    // tmpfs keeps the worker below that.
    let script = format!(
        "{}; (while [ ! -e $1/go ]; do sleep 0.05; done; exec tail /dev/zero) & echo up >$1/up; exec sleep 1000",
        take(6)
    );
    for attempt in 1.. {
        let Some(mut container) = start(&["--sacrifice-main"], &script) else { return };
        container.wait_for_file("up");
        wait_for_others(&container, reprieve_linux::oom_score_adj(container.init()).unwrap());
        // As in the other tests, the init itself is not to be taken, where root may say so: inside a container it may not.
        let spared = reprieve_linux::set_oom_score_adj(container.init(), -1000);
        assert!(matches!(spared, Ok(()) | Err(rustix::io::Errno::ACCESS)), "{spared:?}");
        container.write("go");
        if spared.is_err() && attempt < 3 && container.is_taken() {
            continue;
        }
        container.ends_with(137);
        // It frees little, so the kernel may take the worker too before the init has ended.
        let kills = container.events("oom_kill");
        assert!(kills.iter().any(|kill| kill["name"] == "sleep" && kill["main"] == true), "{kills:?}");
        return;
    }
}
