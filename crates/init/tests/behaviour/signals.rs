//! Signals that are passed on, alone and in storms.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::common::{INIT, PATIENCE, children, command, end_of, example, kill, program_of, read_all};
use reprieve_lab::wait_for;
use reprieve_linux::reads_signal;
use reprieve_readings::Signal;

/// The program that prints what it is sent, under an init, and what it prints.
fn echo(options: &[&str]) -> (Child, BufReader<ChildStdout>) {
    let program = example("echo_signals");
    let mut command = command(options, &[program.to_str().unwrap()]);
    let mut init = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(init.stdout.take().unwrap());
    assert_eq!(next_line(&mut lines), "ready");
    (init, lines)
}

fn next_line(lines: &mut impl BufRead) -> String {
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}

#[test]
fn every_signal_is_passed_on() {
    let (mut init, mut lines) = echo(&["-s"]);
    for signal in (1..=64).filter(|signal| ![9, 15, 17, 19, 32, 33].contains(signal)) {
        kill(init.id(), signal);
        assert_eq!(next_line(&mut lines), signal.to_string());
    }
    kill(init.id(), 15);
    assert_eq!(next_line(&mut lines), "15");
    assert_eq!(end_of(&mut init), 0);
}

#[test]
fn a_storm_of_signals_does_no_harm() {
    let (mut init, mut lines) = echo(&["-s", "-vv"]);
    let real_time = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&real_time);
    let reader = std::thread::spawn(move || {
        let mut count = [0_u32; 65];
        loop {
            let line = next_line(&mut lines);
            let Ok(number) = line.parse::<usize>() else { return count };
            count[number] += 1;
            counted.store(count[34], Ordering::Relaxed);
            if number == 15 {
                return count;
            }
        }
    });
    // Real-time signals queue up: not one may be lost, as long as the kernel has room for them.
    for round in 0..20_000 {
        kill(init.id(), if round % 20 == 0 { 34 } else { [1, 10, 12, 28, 17][round % 5] });
        if round % 500 == 0 {
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
    }
    // The classic ones come first, whatever was sent before: the last would overtake what the program has not taken yet.
    let all_are_taken = || (real_time.load(Ordering::Relaxed) == 1000).then_some(());
    wait_for(PATIENCE, all_are_taken).unwrap_or_else(|| panic!("{} of 1000", real_time.load(Ordering::Relaxed)));
    kill(init.id(), 15);
    assert_eq!(end_of(&mut init), 0);
    let count = reader.join().unwrap();
    assert_eq!(count[34], 1000);
    assert!(count[1] > 0 && count[10] > 0 && count[17] == 0, "{count:?}");
}

#[test]
fn the_group_is_signalled_where_that_is_asked_for() {
    // The shell waits for the child, which is in its group.
    let script = "trap '' USR1; (trap 'echo inner; exit 4' USR1; echo ready; while :; do sleep 0.05; done); exit $?";
    for (options, expected) in [(&["-s", "-g"][..], "inner"), (&["-s"], "")] {
        let mut init = command(options, &["/bin/sh", "-c", script]).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(init.stdout.take().unwrap());
        assert_eq!(next_line(&mut lines), "ready");
        kill(init.id(), 10);
        if expected.is_empty() {
            std::thread::sleep(std::time::Duration::from_millis(300));
            let program = children(init.id());
            let inner: Vec<u32> = program.iter().flat_map(|&shell| children(shell)).collect();
            assert_eq!(inner.len(), 1, "nobody but the program is signalled");
            for pid in program.iter().chain(&inner) {
                kill(*pid, 9);
            }
            assert_eq!(end_of(&mut init), 128 + 9);
        } else {
            assert_eq!(next_line(&mut lines), expected);
            assert_eq!(end_of(&mut init), 4);
        }
    }
}

#[test]
fn signals_before_the_program_is_there_wait_for_it() {
    // A mask that blocks nothing is handed to the program, and SIGTERM ends it.
    for _ in 0..20 {
        let mut init = command(&["-s"], &["sleep", "1000"]).spawn().unwrap();
        // Whether it blocks its signals yet can't be known: before that, SIGTERM ends the init itself.
        wait_for(PATIENCE, || {
            let status = std::fs::read_to_string(format!("/proc/{}/status", init.id())).unwrap();
            status.lines().any(|line| line.starts_with("SigBlk:\tf")).then_some(())
        })
        .unwrap();
        kill(init.id(), 15);
        assert_eq!(end_of(&mut init), 143);
    }
}

#[test]
fn the_program_blocks_and_ignores_what_its_parent_did() {
    let read = "grep -E 'Sig(Blk|Ign)' /proc/self/status";
    let script = format!("trap '' HUP PIPE; exec \"$0\" -s -- {read}");
    let plain = format!("trap '' HUP PIPE; {read}");
    let under = Command::new("/bin/sh").args(["-c", &script, INIT]).output().unwrap();
    let without = Command::new("/bin/sh").args(["-c", &plain]).output().unwrap();
    let sets = |text: &[u8]| String::from_utf8_lossy(text).replace("1001", "0001");
    assert_eq!(sets(&under.stdout), sets(&without.stdout));
}

#[test]
fn a_reader_that_went_away_is_not_the_program_s_business() {
    let (mut init, mut lines) = echo(&["-s", "-vv"]);
    drop(init.stderr.take());
    for _ in 0..3 {
        kill(init.id(), 1);
        assert_eq!(next_line(&mut lines), "1");
    }
    kill(init.id(), 15);
    assert_eq!(next_line(&mut lines), "15", "no SIGPIPE in between");
    assert_eq!(end_of(&mut init), 0);
}

#[test]
fn a_reader_that_stands_still_holds_nothing_up() {
    let (mut init, mut lines) = echo(&["-s", "-vv"]);
    // Each signal is a line that nobody reads: more than the pipe holds.
    for _ in 0..5000 {
        kill(init.id(), 1);
        assert_eq!(next_line(&mut lines), "1");
    }
    kill(init.id(), 15);
    assert_eq!(end_of(&mut init), 0);
    let said = read_all(init.stderr.take());
    assert!(said.len() <= 1 << 20 && said.lines().all(|line| line.starts_with("reprieve-init: ")), "{said}");
}

#[test]
fn the_program_has_no_children_that_are_not_its_own() {
    let mut init = command(&["-s"], &["sleep", "1000"]).spawn().unwrap();
    let program = program_of(&init);
    assert_eq!(crate::common::children(init.id()), [program]);
    kill(init.id(), 2);
    assert_eq!(end_of(&mut init), 130);
}

/// Blocked is not enough: whoever starts a program blocks all signals for that moment.
#[test]
fn a_program_reads_a_signal_if_it_has_a_signalfd_for_it() {
    let program = example("echo_signals");
    let mut reader = Command::new(program).stdout(Stdio::piped()).spawn().unwrap();
    assert_eq!(next_line(&mut BufReader::new(reader.stdout.take().unwrap())), "ready");
    let mut blocker = Command::new("env").args(["--block-signal=USR1", "sleep", "1000"]).spawn().unwrap();
    let blocks = |pid| reprieve_linux::process_signals(pid).is_some_and(|sets| sets.blocks(Signal::USR1));
    wait_for(PATIENCE, || blocks(blocker.id()).then_some(())).expect("env blocks it");
    assert!(blocks(reader.id()) && reads_signal(reader.id(), Signal::USR1));
    assert!(!reads_signal(blocker.id(), Signal::USR1));
    for process in [&mut reader, &mut blocker] {
        process.kill().unwrap();
        process.wait().unwrap();
    }
}
