//! The steps of the ladder, climbed for real.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use reprieve_lab::{Version, wait_for};

use crate::common::INIT;
use crate::{PATIENCE, exists, start, start_in, take};

/// Waits until it is told to go on.
const WAIT: &str = "while [ ! -e $1/go ]; do sleep 0.05; done";

/// Takes 18 of 24 MiB when told to, and gives them back when told to.
fn on_demand(before: &str) -> String {
    format!(
        "{before}
        while [ ! -e $1/take ]; do sleep 0.05; done
        {}
        while [ ! -e $1/give ]; do sleep 0.05; done
        rm $2
        while :; do sleep 0.1; done",
        take(18)
    )
}

#[test]
fn the_program_is_signalled_once_an_episode() {
    let script = on_demand("trap 'echo warned >>$1/warned' USR1; trap 'exit 0' TERM; echo up >$1/up");
    let Some(mut container) = start(&["--warn", "30%"], &script) else { return };
    container.wait_for_file("up");
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(container.read("warned"), "");
    container.write("take");
    assert_eq!(container.wait_for_file("warned"), "warned\n");
    let warning = container.wait_for_event("memory_low");
    assert_eq!(warning["limit_bytes"], crate::LIMIT, "{warning}");
    assert!(warning["available_bytes"].as_u64().unwrap() < crate::LIMIT * 3 / 10, "{warning}");
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(container.read("warned"), "warned\n", "once");
    container.write("give");
    container.wait_for_event("memory_recovered");
    crate::common::kill(container.init(), 15);
    container.ends_with(0);
    assert_eq!(container.oom_kills(), 0);
}

#[test]
fn a_program_that_does_not_handle_the_signal_is_spared() {
    let unhandled = "SIGUSR1 is not sent: the program does not handle it, and it would end or stop the program";
    let ignored = "SIGUSR1 is not sent: the program does nothing about it";
    for (trap, said) in [(":", unhandled), ("trap '' USR1", ignored)] {
        let script = format!("{trap}; {}; {}; exit 7", take(18), WAIT);
        let Some(mut container) = start(&["--warn", "30%"], &script) else { return };
        container.wait_for_said(said);
        container.write("go");
        container.ends_with(7);
    }
}

#[test]
fn the_hook_gets_the_facts() {
    let options = ["--warn", "30%:hook", "--hook", "env | grep REPRIEVE_ >$1/some; mv $1/some $1/facts"];
    let Some(mut container) = start(&options, &format!("{}; {WAIT}; exit 0", take(18))) else { return };
    let facts = container.wait_for_file("facts");
    container.write("go");
    container.ends_with(0);
    let fact =
        |name: &str| facts.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).unwrap_or_default();
    assert_eq!(fact("REPRIEVE_LIMIT_BYTES"), crate::LIMIT.to_string(), "{facts}");
    assert!(fact("REPRIEVE_AVAILABLE_BYTES").parse::<u64>().unwrap() < crate::LIMIT, "{facts}");
    assert_eq!(fact("REPRIEVE_MAIN_PID"), "2", "{facts}");
}

#[test]
fn the_hook_has_a_time_limit() {
    let options = ["--warn", "30%:hook", "--hook", "sleep 1000; true", "--hook-timeout", "300ms"];
    let Some(mut container) = start(&options, &format!("{}; {WAIT}; exit 0", take(18))) else { return };
    container.wait_for_said("the hook was ended by SIGKILL");
    container.write("go");
    container.ends_with(0);
    container.assert_said("the hook has not ended within 300ms: SIGKILL");
    assert_eq!(container.events("oom_kill").len(), 0);
}

fn ask(port: u16) -> String {
    let mut connection = TcpStream::connect(("127.0.0.1", port)).unwrap();
    connection.set_read_timeout(Some(PATIENCE)).unwrap();
    connection.write_all(b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn the_container_is_taken_out_of_service_and_put_back() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let address = format!("127.0.0.1:{port}");
    let options = ["--warn", "30%:unready", "--ready-file", "$1/ready", "--ready-port", &address];
    let script = on_demand("trap 'exit 0' TERM; echo up >$1/up");
    let Some(mut container) = start(&options, &script) else { return };
    container.wait_for_file("up");
    assert!(exists(&container.path("ready")));
    assert!(ask(port).starts_with("HTTP/1.1 200 OK\r\n"), "{}", ask(port));
    // Those that say nothing, more than there is room for, give way at once.
    let silent: Vec<_> = (0..40).map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap()).collect();
    assert!(ask(port).ends_with("\r\n\r\nready\n"));
    drop(silent);
    container.write("take");
    container.wait_for_event("memory_low");
    wait_for(PATIENCE, || (!exists(&container.path("ready"))).then_some(())).unwrap();
    assert!(ask(port).starts_with("HTTP/1.1 503 "), "{}", ask(port));
    container.write("give");
    wait_for(PATIENCE, || exists(&container.path("ready")).then_some(())).expect("it recovers");
    assert!(ask(port).starts_with("HTTP/1.1 200 OK\r\n"));
    crate::common::kill(container.init(), 15);
    container.ends_with(0);
}

/// Between two rungs, only the upper one's episode is over.
#[test]
fn the_container_is_out_of_service_until_all_rungs_are_over() {
    let script = format!(
        "trap 'exit 0' TERM; {}; while [ ! -e $1/ease ]; do sleep 0.05; done
        dd if=/dev/null of=$2 bs=1048576 seek=26 count=0; echo eased >$1/eased
        while [ ! -e $1/give ]; do sleep 0.05; done; rm $2; while :; do sleep 0.1; done",
        take(36)
    );
    let options = ["--warn", "50%:unready", "--warn", "30%:unready", "--ready-file", "$1/ready"];
    let Some(mut container) = start_in(&options, &script, 48 << 20) else { return };
    let both = || (container.events("memory_low").len() == 2).then_some(());
    wait_for(PATIENCE, both).unwrap_or_else(|| panic!("{}", container.read("said")));
    wait_for(PATIENCE, || (!exists(&container.path("ready"))).then_some(())).expect("it is taken out of service");
    container.write("ease");
    container.wait_for_file("eased");
    // An episode is over after ten calm seconds.
    std::thread::sleep(Duration::from_secs(12));
    assert!(!exists(&container.path("ready")), "{}", container.read("said"));
    container.write("give");
    wait_for(PATIENCE, || exists(&container.path("ready")).then_some(())).expect("it recovers");
    crate::common::kill(container.init(), 15);
    container.ends_with(0);
}

#[test]
fn the_program_is_stopped_before_the_kill() {
    let script = format!("trap 'echo graceful >$1/end; exit 3' TERM; {}; while :; do sleep 0.05; done", take(18));
    let Some(mut container) = start(&["--warn", "30%:stop"], &script) else { return };
    container.ends_with(3);
    assert_eq!((container.read("end").as_str(), container.oom_kills()), ("graceful\n", 0));
    let Some(mut container) = start(&["--warn", "30%:stop", "--stop-exit-code", "75"], &script) else { return };
    container.ends_with(75);
}

/// It may be about the program as it runs: a dump of its heap, say.
#[test]
fn the_program_is_stopped_when_the_hook_is_done() {
    let script = format!("trap '[ -e $1/hook ] && exit 3; exit 4' TERM; {}; while :; do sleep 0.05; done", take(18));
    let options = ["--warn", "30%:hook,stop", "--hook", "sleep 1; echo done >$1/hook"];
    let Some(mut container) = start(&options, &script) else { return };
    container.ends_with(3);
}

/// Where it is not PID 1, with which all others end.
#[test]
fn the_hook_ends_with_the_init() {
    let script = format!(
        "OWN=$1; HOG=$2; export OWN HOG
        {INIT} -s --termination-log '' --warn 30%:hook --hook 'echo $$ >$OWN/hook; exec sleep 1000' -- /bin/sh -c '{}
            until [ -s $OWN/hook ]; do sleep 0.05; done'
        for _ in 1 2 3 4 5 6 7 8 9 10; do kill -0 $(cat $1/hook) || exit 6; sleep 0.5; done; exit 7",
        take(18).replace("$2", "$HOG")
    );
    let Some(mut container) = start(&[], &script) else { return };
    container.ends_with(6);
    container.assert_said("the program has ended before the hook, which ends with it");
}

/// Above `memory.high` the kernel holds processes up, however fast the machine is, and counts that as pressure.
#[test]
fn a_container_that_stalls_is_warned() {
    let script = format!(
        "trap 'echo warned >$1/warned; exit 0' USR1; echo up >$1/up
        while [ ! -e $1/take ]; do sleep 0.05; done; {} & while :; do wait; sleep 0.1; done",
        take(18)
    );
    let Some(mut container) = start(&["--warn", "pressure=20%"], &script) else { return };
    container.wait_for_file("up");
    if container.version() == Version::V1 {
        eprintln!("SKIPPED pressure: cgroup v1 has none");
        return;
    }
    assert_eq!(container.said(), "");
    std::fs::write(container.cgroup.join("memory.high"), (8 << 20).to_string()).unwrap();
    container.write("take");
    assert_eq!(container.wait_for_file("warned"), "warned\n");
    let warning = container.wait_for_event("memory_low");
    assert!(warning["pressure_percent"].as_f64().unwrap() > 20.0, "{warning}");
    assert!(warning["message"].as_str().unwrap().contains("processes waited for memory"), "{warning}");
    container.ends_with(0);
    assert_eq!(container.oom_kills(), 0);
}

#[test]
fn what_only_fills_the_page_cache_is_not_warned() {
    let directory = if exists(std::path::Path::new("/var/tmp")) { "/var/tmp" } else { "/tmp" };
    let script = format!(
        "f=$(mktemp -p {directory}); for i in 1 2; do
            dd if=/dev/zero of=$f bs=1048576 count=40 conv=fsync 2>/dev/null; cat $f >/dev/null; done; rm $f; exit 0"
    );
    let Some(mut container) = start(&["--warn", "30%,5s:stop"], &script) else { return };
    container.ends_with(0);
    assert_eq!(container.said(), "");
}

#[test]
fn programs_that_know_systemd_s_protocol_are_told() {
    let script =
        on_demand("trap 'exit 0' TERM; echo $MEMORY_PRESSURE_WATCH >$1/watch; echo $MEMORY_PRESSURE_WRITE >$1/write");
    let Some(mut container) = start(&["--warn", "30%", "--pressure-socket", "$1"], &script) else { return };
    let socket = container.wait_for_file("watch");
    assert_eq!(container.wait_for_file("write"), "c29tZSAyMDAwMDAgMjAwMDAwMAA=\n");
    let mut clients: Vec<UnixStream> = (0..2).map(|_| UnixStream::connect(socket.trim()).unwrap()).collect();
    for client in &mut clients {
        client.write_all(b"some 200000 2000000\0").unwrap();
        client.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        assert!(client.read(&mut [0]).is_err(), "nothing is to be told yet");
        client.set_read_timeout(Some(PATIENCE)).unwrap();
    }
    container.write("take");
    for client in &mut clients {
        assert_eq!(client.read(&mut [0; 16]).unwrap(), 1);
    }
    crate::common::kill(container.init(), 15);
    container.ends_with(0);
    assert!(!exists(std::path::Path::new(socket.trim())), "the socket is gone with it");
}
