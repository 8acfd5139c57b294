//! The agent on made-up machines: what it serves and logs, and how it refuses.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod common;

use std::fs;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use common::{Agent, PATIENCE, reprieve};
use reprieve_lab::{Captured, wait_for};

const HOSTILE: &[u8] = b"a\x1b[31m\n\"b\\c\xff";
const HOSTILE_LABEL: &str = r#"cgroup="/a\\x1b[31m\\n\"b\\\\c\\xff""#;

fn start(captured: &Captured) -> Agent {
    Agent::start(|command| {
        command.args(["--interval", "50ms"]).arg("--proc").arg(captured.proc()).arg("--sys").arg(captured.sys());
    })
}

fn hostile() -> Captured {
    let captured = Captured::new().unwrap();
    captured.sound_cgroup(HOSTILE).unwrap();
    let pod = b"kubepods.slice/kubepods-pod11111111_2222_3333_4444_555555555555.slice/cri-containerd-";
    captured.sound_cgroup(&[&pod[..], &[b'a'; 64], b".scope"].concat()).unwrap();
    let bad = captured.sound_cgroup(b"system.slice/broken.service").unwrap();
    fs::write(bad.join("memory.max"), "\x1b]0;owned\x07").unwrap();
    captured
}

#[test]
fn metrics_tell_of_every_cgroup() {
    let captured = hostile();
    let agent = start(&captured);
    let pod_labels = format!(
        "{{cgroup=\"/kubepods.slice/kubepods-pod11111111_2222_3333_4444_555555555555.slice/cri-containerd-{0}.scope\",\
         container_id=\"{0}\",pod_uid=\"11111111-2222-3333-4444-555555555555\"",
        "a".repeat(64)
    );
    let of_pod = |name: &str| agent.sample(&format!("reprieve_cgroup_{name}{pod_labels}}}"));
    assert_eq!(of_pod("memory_limit_bytes"), Some(4_194_304.0));
    assert_eq!(of_pod("memory_usage_bytes"), Some(1_048_576.0));
    assert_eq!(of_pod("memory_working_set_bytes"), Some(1_048_576.0 - 196_608.0));
    assert_eq!(of_pod("memory_reclaimable_bytes"), Some(262_144.0));
    assert_eq!(of_pod("memory_available_bytes"), Some(4_194_304.0 - 1_048_576.0 + 262_144.0));
    assert_eq!(of_pod("oom_kills_total"), Some(2.0));
    let identity = format!("{pod_labels},qos_class=\"Guaranteed\",runtime=\"containerd\",driver=\"systemd\"}}");
    assert_eq!(agent.sample(&format!("reprieve_cgroup_info{identity}")), Some(1.0));
    let service = "{cgroup=\"/system.slice/broken.service\",unit=\"broken.service\"}";
    assert_eq!(agent.sample(&format!("reprieve_cgroup_info{service}")), Some(1.0));

    assert_eq!(agent.sample("reprieve_node_memory_available_bytes"), Some(4_000_000.0 * 1024.0));
    assert_eq!(agent.sample("reprieve_node_oom_kills_total"), Some(3.0));
    assert_eq!(agent.sample("reprieve_scan_cgroups"), Some(7.0));
    assert!(agent.sample("reprieve_scan_duration_seconds").unwrap() > 0.0);
    assert!(agent.sample("reprieve_problems_total").unwrap() > 0.0);
    assert_eq!(agent.stop(), 0);
}

#[test]
fn labels_and_logs_carry_nothing_raw() {
    let captured = hostile();
    let agent = start(&captured);
    let (_, _, body) = agent.get("/metrics", "");
    assert!(body.contains(&format!("reprieve_cgroup_memory_usage_bytes{{{HOSTILE_LABEL}}} 1048576\n")), "{body}");
    assert!(!body.chars().any(|character| character.is_control() && character != '\n'));
    // The broken file is read twenty times a second. That the log names it once, another test sees.
    std::thread::sleep(Duration::from_secs(1));
    let problems = agent.sample("reprieve_problems_total").unwrap();
    assert!(problems >= 5.0, "counted each time: {problems}");
}

#[test]
fn a_problem_is_named_once() {
    let captured = hostile();
    let mut command = reprieve();
    let state = tempfile::tempdir().unwrap();
    command.args(["agent", "--listen", "127.0.0.1:0", "--interval", "20ms", "--state-dir"]).arg(state.path());
    command.arg("--proc").arg(captured.proc()).arg("--sys").arg(captured.sys());
    let path = state.path().join("log");
    let mut agent = command.stderr(fs::File::create(&path).unwrap()).spawn().unwrap();
    let is_named = || fs::read_to_string(&path).unwrap().contains("memory.max").then_some(());
    wait_for(PATIENCE, is_named).expect("it is named");
    std::thread::sleep(Duration::from_millis(500));
    agent.kill().unwrap();
    agent.wait().unwrap();
    let log = fs::read_to_string(&path).unwrap();
    let named: Vec<&str> = log.lines().filter(|line| line.contains("memory.max")).collect();
    assert_eq!(named.len(), 1, "{log}");
    assert!(named[0].contains(
        r#"/system.slice/broken.service/memory.max: expected `max` or a number of bytes, found "\x1b]0;owned\x07""#
    ));
    assert!(!log.chars().any(|character| character.is_control() && character != '\n'), "{log:?}");
}

#[test]
fn a_counter_that_rises_is_told_and_history_is_not() {
    let captured = hostile();
    let agent = start(&captured);
    // Made elsewhere and moved into place whole, so that no scan sees another count before.
    let made = captured.sound_cgroup(b"../made").unwrap();
    fs::write(made.join("memory.events.local"), "low 0\nhigh 0\nmax 9\noom 5\noom_kill 5\n").unwrap();
    // The machine counts them too: without that, the ledger takes them for told elsewhere.
    let vmstat = fs::read_to_string(captured.proc().join("vmstat")).unwrap();
    let count = |line: &str| line.strip_prefix("oom_kill ").map(|kills| kills.parse::<u64>().unwrap());
    let before = vmstat.lines().find_map(count).unwrap();
    let after = vmstat.replace(&format!("oom_kill {before}\n"), &format!("oom_kill {}\n", before + 5));
    fs::write(captured.proc().join("vmstat"), after).unwrap();
    fs::rename(made, captured.sys().join("fs/cgroup/counted")).unwrap();
    // The kernel's log is this machine's own, so kills elsewhere may be told too.
    let told = agent.wait_for_line(|line| {
        let cgroup = line["cgroup"].as_str().unwrap_or_default();
        assert!(!cgroup.starts_with("/kubepods.slice/"), "those two were before: {line}");
        cgroup == "/counted"
    });
    assert_eq!(told.expect("it is told")["count"], 5);
    let series = "reprieve_reported_kills_total{visibility=\"unknown\"}";
    wait_for(PATIENCE, || agent.sample(series).filter(|&kills| kills >= 5.0))
        .expect("the next scan's metrics count all five");
}

#[test]
fn an_agent_with_few_descriptors_and_idle_clients_goes_on() {
    let captured = hostile();
    for number in 0..400 {
        captured.sound_cgroup(format!("many/c{number}").as_bytes()).unwrap();
    }
    let mut limited = Command::new("/bin/sh");
    limited.args(["-c", "ulimit -n 400; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_reprieve")]);
    let agent = Agent::start_as(limited, |command| {
        command.args(["--interval", "50ms"]).arg("--proc").arg(captured.proc()).arg("--sys").arg(captured.sys());
    });
    let idle: Vec<TcpStream> = (0..100).map(|_| TcpStream::connect(agent.address).unwrap()).collect();
    std::thread::sleep(Duration::from_millis(500));
    let (status, _, body) = agent.get("/metrics", "");
    assert_eq!(status, 200, "though idle clients hold more connections than there are");
    drop(idle);
    assert!(body.contains("reprieve_node_memory_total_bytes 8192000000\n"), "the machine is still read");
    assert!(body.contains("reprieve_cgroup_memory_usage_bytes{cgroup=\"/many/c"), "and as many cgroups as fit");
    assert!(agent.sample("reprieve_problems_total").unwrap() > 100.0, "the others are counted");
    assert_eq!(agent.stop(), 0);
}

#[test]
fn each_asker_gets_the_format_that_it_reads() {
    let agent = start(&hostile());
    let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.2";
    let (status, head, body) = agent.get("/metrics", prometheus);
    assert_eq!(status, 200);
    assert!(head.contains("content-type: application/openmetrics-text; version=1.0.0"));
    assert!(body.contains("# TYPE reprieve_cgroup_oom_kills counter\n") && body.ends_with("# EOF\n"));

    let (_, head, body) = agent.get("/metrics", "*/*");
    assert!(head.contains("content-type: text/plain; version=0.0.4"));
    assert!(body.contains("# TYPE reprieve_cgroup_oom_kills_total counter\n") && !body.contains("# EOF"));

    assert_eq!(agent.get("/healthz", "").0, 200);
    assert_eq!(agent.get("/readyz", "").0, 200);
    assert_eq!(agent.get("/nothing", "").0, 404);
}

#[test]
fn promtool_accepts_the_metrics() {
    let Some(promtool) = std::env::var_os("PROMTOOL") else {
        assert!(std::env::var_os("CI").is_none(), "CI must name promtool in PROMTOOL");
        eprintln!("SKIPPED: PROMTOOL does not name Prometheus' promtool; `cargo xtask test` does");
        return;
    };
    let agent = start(&hostile());
    let (_, _, body) = agent.get("/metrics", "");
    let mut check = Command::new(promtool);
    let mut check = check.args(["check", "metrics"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    check.stdin.take().unwrap().write_all(body.as_bytes()).unwrap();
    let output = check.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "promtool has nothing to complain about");
    assert!(output.status.success());
}

/// The agent refuses with exit code 2 and one line.
fn refusal(arguments: &[&str]) -> String {
    let output = reprieve().args(arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    let stderr = String::from_utf8(output.stderr).unwrap();
    let last = stderr.lines().last().unwrap_or_default().to_owned();
    assert_eq!(stderr.lines().filter(|line| line.starts_with("reprieve: ")).count(), 1, "{stderr}");
    last
}

#[test]
fn what_can_t_be_done_is_said_in_one_line() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let state = tempfile::tempdir().unwrap();
    let state = state.path().to_str().unwrap();
    let line = refusal(&["agent", "--listen", &address, "--state-dir", state]);
    assert!(line.contains(&format!("can't listen on {address}; choose another address with --listen")), "{line}");
    assert!(line.contains("in use"), "{line}");

    let empty = tempfile::tempdir().unwrap();
    fs::create_dir(empty.path().join("self")).unwrap();
    fs::write(empty.path().join("self/mountinfo"), "").unwrap();
    fs::write(empty.path().join("self/cgroup"), "").unwrap();
    let proc = empty.path().to_str().unwrap();
    for arguments in [&["agent", "--state-dir", state][..], &["free"]] {
        let line = refusal(&[arguments, &["--proc", proc]].concat());
        assert!(line.contains(": no memory controller: "), "{line}");
    }
    let line = refusal(&["free", "--proc", "/nonexistent"]);
    assert!(line.contains("/nonexistent/self/mountinfo: No such file or directory"), "{line}");
}
