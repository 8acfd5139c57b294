//! `reprieve kills`, from a store and from a running agent.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use common::{Agent, PATIENCE, reprieve};
use reprieve_lab::{Captured, wait_for};

use reprieve_judgement::{FirstProcess, Identity, KillId, KillRecord, LedgerChange, OomKind, SavedLedger, Victim};
use reprieve_readings::{BootId, Bytes, CgroupPath, Limit, OomTrigger};
use reprieve_store::{Retention, Store};

const POD: &[u8] =
    b"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod11111111_2222_3333_4444_555555555555.slice";

fn kill(id: u64) -> KillRecord {
    KillRecord {
        id: KillId(id),
        boot: BootId(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef),
        since_boot: Duration::from_millis(1_000_250 + 60_000 * id),
        killed_at: Duration::from_millis(1_795_600_000_500 + 60_000 * id),
        sequence: Some(4000 + id),
        history: false,
        count: 1,
        repeats: 0,
        victim: Some(Victim {
            pid: 1000 + id as u32,
            name: b"worker".to_vec(),
            command_line: None,
            uid: Some(1000),
            total_vm: Some(Bytes::from_mib(900)),
            anon_rss: Some(Bytes::from_mib(250)),
            file_rss: Some(Bytes::from_kib(12)),
            shmem_rss: Some(Bytes::ZERO),
            pgtables: Some(Bytes::from_kib(600)),
            oom_score_adj: Some(994),
        }),
        identity: Identity::Exact,
        cgroup: None,
        cgroup_certain: true,
        kind: OomKind::ContainerLimit,
        whole_cgroup: None,
        limited_cgroup: None,
        limit: Some(Limit::At(Bytes::from_mib(256))),
        usage: Some(Bytes::from_mib(256)),
        usage_after: None,
        trigger: None,
        first_process: FirstProcess::Survived,
    }
}

fn in_pod(container: char) -> Option<CgroupPath> {
    let name = format!("/cri-containerd-{}.scope", container.to_string().repeat(64));
    Some(CgroupPath::new(&[POD, name.as_bytes()].concat()))
}

/// One of each sort.
fn kills() -> Vec<KillRecord> {
    let path = |path: &str| Some(CgroupPath::new(path.as_bytes()));
    let hostile = Victim {
        name: b"\x1b[31mred\n\xff".to_vec(),
        command_line: Some(b"/bin/sh -c \x1b]0;owned\x07".to_vec()),
        anon_rss: Some(Bytes::new(3 << 30)),
        ..kill(5).victim.unwrap()
    };
    let trigger = OomTrigger {
        name: b"worker".to_vec(),
        pid: Some(1003),
        gfp: b"0xcc0(GFP_KERNEL)".to_vec(),
        order: Some(0),
        oom_score_adj: Some(994),
    };
    vec![
        KillRecord { cgroup: path("/system.slice/web.service"), history: true, kind: OomKind::CgroupLimit, ..kill(1) },
        KillRecord { cgroup: in_pod('a'), ..kill(2) },
        KillRecord {
            cgroup: in_pod('c'),
            first_process: FirstProcess::Killed,
            trigger: Some(trigger),
            victim: Some(Victim {
                command_line: Some(b"/usr/bin/worker --queue jobs".to_vec()),
                ..kill(3).victim.unwrap()
            }),
            ..kill(3)
        },
        KillRecord {
            cgroup: in_pod('a'),
            kind: OomKind::PodLimit,
            limited_cgroup: Some(CgroupPath::new(POD)),
            limit: Some(Limit::At(Bytes::new(1 << 30))),
            identity: Identity::Likely,
            ..kill(4)
        },
        KillRecord {
            cgroup: path("/a\nb/some-very-long-name-of-a-cgroup"),
            cgroup_certain: false,
            kind: OomKind::Node,
            limit: None,
            usage: None,
            victim: Some(hostile),
            first_process: FirstProcess::Unknown,
            ..kill(5)
        },
        KillRecord {
            cgroup: None,
            cgroup_certain: false,
            count: 3,
            victim: None,
            identity: Identity::Unknown,
            kind: OomKind::Unknown,
            limit: None,
            usage: None,
            sequence: None,
            first_process: FirstProcess::Unknown,
            ..kill(6)
        },
    ]
}

fn store(directory: &Path, records: Vec<KillRecord>) {
    let mut opened = Store::open(directory, &Retention::default()).unwrap();
    let state = SavedLedger { boot: Some(kill(1).boot), next_id: KillId(100), ..SavedLedger::default() };
    opened.store.apply(&[LedgerChange { records, state, ..LedgerChange::default() }]).unwrap();
}

#[test]
fn the_command_line_is_as_written_down() {
    let place = tempfile::tempdir().unwrap();
    store(&place.path().join("state"), kills());
    store(&place.path().join("empty"), Vec::new());
    fs::create_dir(place.path().join("damaged")).unwrap();
    fs::write(place.path().join("damaged/kills.redb"), "nonsense").unwrap();
    // The transcripts name directories by short names.
    std::env::set_current_dir(place.path()).unwrap();
    trycmd::TestCases::new().case(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kills/*.md")).run();
    let left: Vec<_> = fs::read_dir("damaged").unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["kills.redb"], "looking moves nothing aside");
}

fn start(state: &Path) -> (Captured, Agent) {
    let captured = Captured::new().unwrap();
    let agent = Agent::start_in(state, |command| {
        command.args(["--interval", "1h"]).arg("--proc").arg(captured.proc()).arg("--sys").arg(captured.sys());
    });
    (captured, agent)
}

fn show(state: &Path, arguments: &[&str]) -> Output {
    reprieve().args(["kills", "--state-dir"]).arg(state).args(arguments).output().unwrap()
}

fn text(output: &Output) -> String {
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn the_agent_says_what_the_store_does() {
    let state = tempfile::tempdir().unwrap();
    store(state.path(), kills());
    let questions: [&[&str]; 6] = [
        &[],
        &["--json"],
        &["--invisible", "--wide"],
        &["--pod", "1111", "--container", "a"],
        &["4"],
        &["4", "--json"],
    ];
    let stored = questions.map(|question| text(&show(state.path(), question)));
    assert_eq!(stored[0].lines().count(), 9, "{}", stored[0]);
    let (_captured, agent) = start(state.path());
    assert_eq!(questions.map(|question| text(&show(&agent.state, question))), stored);
    let none = show(&agent.state, &["--pod", "9"]);
    assert_eq!(none.status.code(), Some(1));

    // An agent that is killed leaves its socket behind, and a store that was not closed.
    drop(agent);
    assert!(state.path().join("agent.sock").exists());
    assert_eq!(questions.map(|question| text(&show(state.path(), question))), stored);
    let (_captured, agent) = start(state.path());
    assert_eq!(text(&show(&agent.state, &[])), stored[0]);
}

#[test]
fn an_agent_that_ends_takes_its_socket_along() {
    let state = tempfile::tempdir().unwrap();
    let (_captured, agent) = start(state.path());
    assert_eq!(show(state.path(), &[]).status.code(), Some(1), "no kills yet");
    assert_eq!(agent.stop(), 0);
    let left: Vec<_> = fs::read_dir(state.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["kills.redb"]);
}

#[test]
fn who_follows_shows_what_is_there_and_ends_with_the_agent() {
    let state = tempfile::tempdir().unwrap();
    store(state.path(), kills());
    let (_captured, agent) = start(state.path());
    let mut command = reprieve();
    command.args(["kills", "--follow", "--state-dir"]).arg(&agent.state);
    let mut following = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(following.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert_eq!(lines.by_ref().take(7).count(), 7, "the heading and six kills come at once");
    drop(agent);
    let mut complaint = String::new();
    following.stderr.take().unwrap().read_to_string(&mut complaint).unwrap();
    assert!(complaint.ends_with("agent.sock: the agent has ended\n"), "{complaint}");
    assert_eq!(following.wait().unwrap().code(), Some(2));
}

#[test]
fn who_follows_ends_quietly_when_interrupted_or_not_read() {
    let state = tempfile::tempdir().unwrap();
    store(state.path(), kills());
    let (_captured, agent) = start(state.path());
    let mut command = reprieve();
    command.args(["kills", "--follow", "--json", "--state-dir"]).arg(&agent.state);
    let mut following = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    BufReader::new(following.stdout.as_mut().unwrap()).read_line(&mut String::new()).unwrap();
    let pid = rustix::process::Pid::from_child(&following);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let output = following.wait_with_output().unwrap();
    assert!(output.stderr.is_empty());

    let mut command = reprieve();
    command.args(["kills", "--json", "--state-dir"]).arg(&agent.state);
    let mut unread = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(unread.stdout.take());
    let output = unread.wait_with_output().unwrap();
    assert!(output.stderr.is_empty() && output.status.code() == Some(0), "{output:?}");
}

#[test]
fn an_agent_that_can_t_store_goes_on_and_says_so_once() {
    let state = tempfile::tempdir().unwrap();
    let in_the_way = state.path().join("file");
    fs::write(&in_the_way, "").unwrap();
    let captured = Captured::new().unwrap();
    let mut command = reprieve();
    command.args(["agent", "--listen", "127.0.0.1:0", "--state-dir"]).arg(in_the_way.join("state"));
    command.arg("--proc").arg(captured.proc()).arg("--sys").arg(captured.sys());
    let mut agent = command.stderr(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_secs(4));
    agent.kill().unwrap();
    let log = String::from_utf8(agent.wait_with_output().unwrap().stderr).unwrap();
    assert!(log.contains("reprieve agent is up"), "{log}");
    assert_eq!(log.matches("kills are kept in memory only").count(), 1, "{log}");
    assert!(log.contains("file/state: Not a directory"), "{log}");
}

#[test]
fn a_second_agent_does_not_take_the_first_one_s_state() {
    let state = tempfile::tempdir().unwrap();
    let (_captured, agent) = start(state.path());
    let captured = Captured::new().unwrap();
    let mut command = reprieve();
    command.args(["agent", "--listen", "127.0.0.1:0", "--state-dir"]).arg(&agent.state);
    command.arg("--proc").arg(captured.proc()).arg("--sys").arg(captured.sys());
    let mut second = command.stderr(Stdio::piped()).spawn().unwrap();
    let log = BufReader::new(second.stderr.take().unwrap()).lines().map(Result::unwrap);
    let log: Vec<String> = log.take_while(|line| !line.contains("is up")).collect();
    second.kill().unwrap();
    second.wait().unwrap();
    let log = log.join("\n");
    assert!(log.contains("kills.redb is in use by another process"), "{log}");
    assert!(log.contains("agent.sock: another agent serves it"), "{log}");
    wait_for(PATIENCE, || (show(&agent.state, &[]).status.code() == Some(1)).then_some(())).unwrap();
    assert!(&agent.state.join("agent.sock").exists());
}
