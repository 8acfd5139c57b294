//! Readers of all kinds: those who ask well, badly, slowly and not at all.

use std::io::{BufRead, BufReader, Write};
use std::time::Instant;

use reprieve_readings::CgroupPath;
use reprieve_report::KillLine;
use reprieve_store::Retention;

use super::*;
use crate::journal::tests::told;

const SOON: Duration = Duration::from_secs(20);
const TEST_BOUNDS: Bounds = Bounds { connections: 3, patience: Duration::from_secs(3) };

struct Scene {
    directory: tempfile::TempDir,
    journal: Journal,
    served: Option<Served>,
}

fn scene() -> Scene {
    let directory = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(Some(directory.path().to_owned()), Retention::default());
    let served = serve_within(directory.path(), journal.clone(), TEST_BOUNDS).unwrap();
    Scene { directory, journal, served: Some(served) }
}

impl Scene {
    fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(self.directory.path().join(SOCKET_NAME)).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        stream
    }

    fn ask(&self, line: &str) -> impl Iterator<Item = String> + use<> {
        let mut stream = self.connect();
        // Who is refused may be so before he has asked.
        let _ = writeln!(stream, "{line}");
        BufReader::new(stream).lines().map_while(Result::ok)
    }

    fn ids(&self, request: &KillRequest) -> Vec<u64> {
        let mut lines: Vec<_> = self.ask(&request.to_line()).collect();
        let end = lines.pop().unwrap();
        assert!(end.starts_with(r#"{"end":true,"unreadable":0"#), "{end}");
        lines.iter().map(|line| KillLine::parse(line.as_bytes()).unwrap().id).collect()
    }
}

#[test]
fn who_asks_gets_the_kills_that_were_asked_for() {
    let mut scene = scene();
    for id in 1..=600 {
        let mut change = told(id);
        if id % 100 == 0 {
            change.records[0].cgroup = Some(CgroupPath::new(format!("/docker/{}", "a".repeat(64)).as_bytes()));
        }
        scene.journal.write(change);
    }
    assert_eq!(scene.ids(&KillRequest::default()), (1..=600).collect::<Vec<_>>());
    let mut request = KillRequest::default();
    request.filter.container = Some("aaa".into());
    assert_eq!(scene.ids(&request), [100, 200, 300, 400, 500, 600]);
    let one = |id| KillRequest { id: Some(reprieve_judgement::KillId(id)), ..KillRequest::default() };
    assert_eq!(scene.ids(&one(300)), [300]);
    assert_eq!(scene.ids(&one(0)), [0_u64; 0]);
    assert_eq!(scene.ids(&one(601)), [0_u64; 0]);
    request.filter.since = Some(Duration::from_secs(5_000_000_000));
    assert_eq!(scene.ids(&request), [0_u64; 0]);
}

#[test]
fn who_follows_gets_each_kill_once_as_it_is_told() {
    let mut scene = scene();
    scene.journal.write(told(1));
    let mut lines = scene.ask(&KillRequest { follow: true, ..KillRequest::default() }.to_line());
    assert_eq!(KillLine::parse(lines.next().unwrap().as_bytes()).unwrap().id, 1);
    assert!(lines.next().unwrap().contains("\"end\":true"));
    let (begin, end) = (2, 200);
    for id in begin..end {
        scene.journal.write(told(id));
    }
    for id in begin..end {
        assert_eq!(KillLine::parse(lines.next().unwrap().as_bytes()).unwrap().id, id);
    }
    scene.journal.write(told(5));
    assert_eq!(KillLine::parse(lines.next().unwrap().as_bytes()).unwrap().id, 5, "told again: more is known");
}

#[test]
fn kills_told_while_the_pages_are_read_come_once() {
    let scene = scene();
    let mut writer = scene.journal.clone();
    let telling = std::thread::spawn(move || {
        for id in 1..=400 {
            writer.write(told(id));
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    std::thread::sleep(Duration::from_millis(30));
    let lines = scene.ask(&KillRequest { follow: true, ..KillRequest::default() }.to_line());
    let kills = lines.filter(|line| !line.contains("\"end\":true")).take(400);
    let ids: Vec<_> = kills.map(|line| KillLine::parse(line.as_bytes()).unwrap().id).collect();
    assert_eq!(ids, (1..=400).collect::<Vec<_>>());
    telling.join().unwrap();
}

#[test]
fn nonsense_is_answered_with_an_error() {
    let scene = scene();
    let answer = |line: &str| scene.ask(line).collect::<Vec<_>>();
    assert!(answer("hello")[0].starts_with(r#"{"error":"no request: "#));
    assert!(answer(r#"{"version":7,"ask":"kills"}"#)[0].contains("speaks version 1, not 7"));
    assert_eq!(answer(&"x".repeat(10_000)).len(), 0, "nobody reads so long a line");
}

#[test]
fn who_says_nothing_or_reads_nothing_is_let_go() {
    let mut scene = scene();
    for id in 1..=2000 {
        scene.journal.write(told(id));
    }
    let silent = scene.connect();
    let deaf: Vec<_> = (0..2)
        .map(|_| {
            let mut stream = scene.connect();
            writeln!(stream, "{}", KillRequest::default().to_line()).unwrap();
            stream
        })
        .collect();
    std::thread::sleep(Duration::from_millis(50));
    let refused: Vec<_> = scene.ask(&KillRequest::default().to_line()).collect();
    assert!(refused[0].contains("too many ask at once"), "{refused:?}");
    let end = Instant::now() + SOON;
    while scene.ask(&KillRequest::default().to_line()).count() < 2000 {
        assert!(Instant::now() < end, "the places of the dead are free again");
        std::thread::sleep(Duration::from_millis(20));
    }
    drop((silent, deaf));
}

#[test]
fn a_dead_follower_holds_up_nobody() {
    let mut scene = scene();
    let mut stream = scene.connect();
    writeln!(stream, "{}", KillRequest { follow: true, ..KillRequest::default() }.to_line()).unwrap();
    BufReader::new(&stream).read_line(&mut String::new()).unwrap();
    for id in 1..=5000 {
        scene.journal.write(told(id));
    }
    assert!(scene.journal.flush(SOON));
    let last = BufReader::new(stream).lines().map_while(Result::ok).last();
    assert!(last.is_none_or(|line| !line.contains("\"id\":5000,")), "it has lost some");
    assert_eq!(scene.ids(&KillRequest::default()).len(), 5000);
}

#[test]
fn only_a_dead_agent_s_socket_is_replaced() {
    let mut scene = scene();
    let path = scene.directory.path().join(SOCKET_NAME);
    assert_eq!(fs::symlink_metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let again = serve(scene.directory.path(), scene.journal.clone()).unwrap_err();
    assert!(again.to_string().contains("another agent serves it"), "{again}");
    drop(scene.served.take());
    assert!(!path.exists(), "gone with the one that served it");

    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "left by one that was killed");
    scene.served = Some(serve(scene.directory.path(), scene.journal.clone()).unwrap());
    assert_eq!(scene.ids(&KillRequest::default()), [0_u64; 0]);
    drop(scene.served.take());

    fs::write(&path, "mine").unwrap();
    let taken = serve(scene.directory.path(), scene.journal.clone()).unwrap_err();
    assert!(taken.to_string().contains("something else has that name"), "{taken}");
    assert_eq!(fs::read(&path).unwrap(), b"mine");
}
