//! Pages of the kernel's trace: real ones against the kernel's own text of them, made-up ones, and hostile ones.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, clippy::disallowed_methods, missing_docs)]

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use proptest::prelude::*;
use reprieve_readings::{
    Bytes, CgroupInode, CgroupPath, ForkKind, LostEvents, MarkVictim, TraceDecoder, TraceEvent, TraceEventKind,
    TracePage, Tracepoint,
};

const KERNELS: [&str; 3] = ["6.1", "6.12", "6.18"];
const TRACEPOINTS: [Tracepoint; 3] = [Tracepoint::MarkVictim, Tracepoint::CgroupAttachTask, Tracepoint::TaskNewtask];

fn fixture(kernel: &str, file: &str) -> Vec<u8> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fixtures");
    fs::read(root.join(format!("trace-{kernel}")).join(file)).unwrap()
}

fn decoder(kernel: &str) -> TraceDecoder {
    let mut decoder = TraceDecoder::new(&fixture(kernel, "header_page")).unwrap();
    for tracepoint in TRACEPOINTS {
        decoder.add(tracepoint, &fixture(kernel, &format!("{}.format", tracepoint.event()))).unwrap();
    }
    decoder
}

fn number<T: std::str::FromStr>(line: &str, key: &str) -> T
where
    T::Err: std::fmt::Debug,
{
    let (_, value) = line.split_once(key).unwrap_or_else(|| panic!("no {key} in {line}"));
    value.split([' ', 'k']).next().unwrap().parse().unwrap()
}

/// An event as the kernel's text has it: `TASK-PID [CPU] FLAGS SECONDS.MICROSECONDS: EVENT: FIELDS`.
fn told(line: &str) -> TraceEvent {
    let (_, rest) = line.split_once('[').unwrap();
    let mut words = rest.split_whitespace();
    let stamp = words.nth(2).unwrap().trim_end_matches(':');
    let (seconds, microseconds) = stamp.split_once('.').unwrap();
    let time = Duration::from_secs(seconds.parse().unwrap()) + Duration::from_micros(microseconds.parse().unwrap());
    let kib = |key| Some(Bytes::from_kib(number(line, key)));
    let kind = match words.next().unwrap() {
        "mark_victim:" => TraceEventKind::MarkVictim(MarkVictim {
            pid: number(line, " pid="),
            name: Some(number::<String>(line, " comm=").into_bytes()),
            uid: Some(number(line, " uid=")),
            total_vm: kib(" total-vm="),
            anon_rss: kib(" anon-rss="),
            file_rss: kib(" file-rss:"),
            shmem_rss: kib(" shmem-rss:"),
            pgtables: kib(" pgtables="),
            oom_score_adj: Some(number(line, " oom_score_adj=")),
        }),
        "cgroup_attach_task:" => TraceEventKind::CgroupAttach {
            pid: number(line, " pid="),
            hierarchy: number(line, " dst_root="),
            path: CgroupPath::new(line.split_once(" dst_path=").unwrap().1.split(' ').next().unwrap().as_bytes()),
            inode: Some(CgroupInode(number(line, " dst_id="))),
        },
        "task_newtask:" => TraceEventKind::Fork {
            // The task that runs: `sh-123`.
            parent: line.split_once('[').unwrap().0.trim().rsplit('-').next().unwrap().parse().unwrap(),
            child: number(line, " pid="),
            kind: ForkKind::Process,
        },
        other => panic!("{other}"),
    };
    TraceEvent { time, kind }
}

fn told_by_kernel(kernel: &str, file: &str) -> Vec<TraceEvent> {
    let text = String::from_utf8(fixture(kernel, file)).unwrap();
    text.lines().filter(|line| !line.starts_with('#') && line.contains(": ")).map(told).collect()
}

/// The kernel's text rounds to microseconds.
fn rounded(events: &[TraceEvent]) -> Vec<TraceEvent> {
    let round = |time: Duration| Duration::from_micros((time.as_nanos() as u64 + 500) / 1000);
    events.iter().map(|event| TraceEvent { time: round(event.time), kind: event.kind.clone() }).collect()
}

#[test]
fn real_pages_say_what_the_kernel_s_own_text_says() {
    for kernel in KERNELS {
        let page = decoder(kernel).page(&fixture(kernel, "kill.page"));
        let told = told_by_kernel(kernel, "kill.txt");
        assert_eq!(rounded(&page.events), told, "Linux {kernel}");
        assert_eq!((page.lost, page.unreadable), (LostEvents::default(), 0));
        assert!(told.iter().any(|event| matches!(event.kind, TraceEventKind::MarkVictim(_))));
        let gap = page.events.windows(2).map(|pair| pair[1].time - pair[0].time).max().unwrap();
        assert!(gap > Duration::from_nanos(1 << 27), "a gap that takes a record of its own is among them");
    }
}

#[test]
fn a_page_of_an_overrun_buffer_tells_that_events_are_lost() {
    let mut counted = 0;
    for kernel in KERNELS {
        let text = String::from_utf8(fixture(kernel, "lost.txt")).unwrap();
        let (_, counts) = text.split_once("entries-written: ").unwrap();
        let (kept, written) = counts.split(' ').next().unwrap().split_once('/').unwrap();
        let lost = written.parse::<u64>().unwrap() - kept.parse::<u64>().unwrap();
        assert!(lost > 100);
        let page = decoder(kernel).page(&fixture(kernel, "lost.page"));
        // A page that is full has no room for the number.
        let found = (page.lost.counted, page.lost.gaps);
        assert!(found == (lost, 0) || found == (0, 1), "Linux {kernel}: {found:?} of {lost}");
        counted += page.lost.counted;
        assert_eq!(page.unreadable, 0);
        let told = told_by_kernel(kernel, "lost.txt");
        assert_eq!(rounded(&page.events), told[..page.events.len()], "Linux {kernel}");
        assert!(page.events.len() > 20);
    }
    assert!(counted > 100, "one of the pages has the number");
}

#[test]
fn a_page_that_was_cut_off_gives_what_is_left_of_it() {
    for (kernel, file) in KERNELS.iter().flat_map(|kernel| [(kernel, "kill.page"), (kernel, "lost.page")]) {
        let (decoder, page) = (decoder(kernel), fixture(kernel, file));
        let whole = decoder.page(&page);
        let mut most = 0;
        for length in 0..page.len() {
            let cut = decoder.page(&page[..length]);
            assert_eq!(cut.events[..], whole.events[..cut.events.len()]);
            assert!(cut.events.len() >= most && (cut.unreadable == 1 || cut.events.len() == whole.events.len()));
            most = cut.events.len();
        }
    }
}

#[test]
fn older_kernels_tell_the_victim_s_pid_alone() {
    let format = String::from_utf8(fixture("6.18", "mark_victim.format")).unwrap();
    let wanted = |line: &&str| !line.contains("offset:") || line.contains("common_") || line.contains("int pid;");
    let format: String = format.lines().filter(wanted).map(|line| format!("{line}\n")).collect();
    let mut decoder = TraceDecoder::new(&fixture("6.18", "header_page")).unwrap();
    decoder.add(Tracepoint::MarkVictim, format.as_bytes()).unwrap();
    let record = [[0x61, 0x02, 0, 0], [0; 4], 77_u32.to_le_bytes()].concat();
    let page = decoder.page(&page(1_000, &[Piece::Record(5, record)], 0));
    let [TraceEvent { time, kind: TraceEventKind::MarkVictim(victim) }] = &page.events[..] else { panic!("{page:?}") };
    assert_eq!((time.as_nanos(), victim.pid), (1_005, 77));
    let empty = MarkVictim {
        pid: 77,
        name: None,
        uid: None,
        total_vm: None,
        anon_rss: None,
        file_rss: None,
        shmem_rss: None,
        pgtables: None,
        oom_score_adj: None,
    };
    assert_eq!(*victim, empty);
}

#[test]
fn threads_and_children_put_elsewhere_are_told_apart() {
    let kinds = [(0x120_0000, ForkKind::Process), (0x3d_0f00, ForkKind::Thread), (1 << 33, ForkKind::IntoCgroup)];
    for (flags, kind) in kinds {
        let page = decoder("6.18").page(&page(0, &[Piece::Record(0, newtask(3, 4, flags))], 0));
        assert_eq!(page.events, [fork(Duration::ZERO, 3, 4, kind)]);
    }
}

#[test]
fn formats_without_their_fields_are_errors() {
    let mut decoder = decoder("6.18");
    let format = |tracepoint: Tracepoint| fixture("6.18", &format!("{}.format", tracepoint.event()));
    assert!(decoder.add(Tracepoint::MarkVictim, &format(Tracepoint::MarkVictim)).is_ok());
    assert!(decoder.add(Tracepoint::CgroupAttachTask, &format(Tracepoint::MarkVictim)).is_err());
    assert!(TraceDecoder::new(b"").is_err());
    assert!(TraceDecoder::new(b"\tfield: u64 timestamp;\toffset:0;\tsize:8;\tsigned:0;\n").is_err());
}

/// Part of a made-up page.
#[derive(Debug, Clone)]
enum Piece {
    /// A record so many nanoseconds after what was before.
    Record(u32, Vec<u8>),
    /// The same, with its length in a word of its own.
    LongRecord(u32, Vec<u8>),
    /// A record that the kernel discarded.
    Discarded(u32, Vec<u8>),
    /// Time that passed.
    Extend(u64),
    /// A time from the start of the clock.
    Stamp(u64),
}

fn header(kind: usize, delta: u32) -> [u8; 4] {
    (kind as u32 | delta << 5).to_le_bytes()
}

/// A page of 64-bit Linux: time, length, records. `lost` events are told behind the records where it isn't 0.
fn page(start: u64, pieces: &[Piece], lost: u64) -> Vec<u8> {
    let mut data = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Record(delta, record) => data.extend([&header(record.len() / 4, *delta), &record[..]].concat()),
            Piece::LongRecord(delta, record) | Piece::Discarded(delta, record) => {
                let kind = if matches!(piece, Piece::Discarded(..)) { 29 } else { 0 };
                data.extend(header(kind, *delta));
                data.extend((record.len() as u32 + 4).to_le_bytes());
                data.extend(record);
            }
            Piece::Extend(time) | Piece::Stamp(time) => {
                let kind = if matches!(piece, Piece::Stamp(_)) { 31 } else { 30 };
                data.extend(header(kind, (time & 0x7ff_ffff) as u32));
                data.extend(((time >> 27) as u32).to_le_bytes());
            }
        }
    }
    let flags = if lost == 0 { 0 } else { 3_u64 << 30 };
    let tail = if lost == 0 { Vec::new() } else { lost.to_le_bytes().to_vec() };
    [&start.to_le_bytes()[..], &(data.len() as u64 | flags).to_le_bytes(), &data, &tail, &[0; 64]].concat()
}

fn newtask(parent: u32, child: u32, flags: u64) -> Vec<u8> {
    let id = decoder_id();
    [
        &id.to_le_bytes()[..],
        &[0; 2],
        &parent.to_le_bytes(),
        &child.to_le_bytes(),
        &[0; 20],
        &flags.to_le_bytes(),
        &[0; 8],
    ]
    .concat()
}

/// The id of task_newtask in the format of 6.18.
fn decoder_id() -> u16 {
    let format = String::from_utf8(fixture("6.18", "task_newtask.format")).unwrap();
    number::<String>(&format, "ID: ").lines().next().unwrap().parse().unwrap()
}

fn fork(time: Duration, parent: u32, child: u32, kind: ForkKind) -> TraceEvent {
    TraceEvent { time, kind: TraceEventKind::Fork { parent, child, kind } }
}

/// What a piece does: the time after it, and whether it is an event.
fn after(piece: &Piece, time: u64) -> (u64, bool) {
    match piece {
        Piece::Record(delta, _) | Piece::LongRecord(delta, _) => (time + u64::from(*delta), true),
        Piece::Discarded(1, _) => (time, false),
        Piece::Discarded(delta, _) => (time + u64::from(*delta), false),
        Piece::Extend(delta) => (time + delta, false),
        Piece::Stamp(stamp) => (*stamp, false),
    }
}

fn piece() -> impl Strategy<Value = Piece> {
    let record = Just(newtask(3, 4, 17));
    let (delta, wide) = (0_u32..1 << 27, 0_u64..1 << 50);
    prop_oneof![
        (delta.clone(), record.clone()).prop_map(|(delta, record)| Piece::Record(delta, record)),
        (delta.clone(), record.clone()).prop_map(|(delta, record)| Piece::LongRecord(delta, record)),
        (prop_oneof![Just(1), 2_u32..1 << 27], record).prop_map(|(delta, record)| Piece::Discarded(delta, record)),
        wide.clone().prop_map(Piece::Extend),
        wide.prop_map(Piece::Stamp),
    ]
}

proptest! {
    #[test]
    fn made_up_pages_are_read_as_they_were_made(
        start in 0_u64..1 << 50, pieces in proptest::collection::vec(piece(), 0..60), lost in 0_u64..3,
    ) {
        let read = decoder("6.18").page(&page(start, &pieces, lost));
        let mut time = start;
        let mut expected = Vec::new();
        for piece in &pieces {
            let (now, is_event) = after(piece, time);
            time = now;
            expected.extend(is_event.then(|| fork(Duration::from_nanos(time), 3, 4, ForkKind::Process)));
        }
        let lost = LostEvents { counted: lost, gaps: 0 };
        prop_assert_eq!(read, TracePage { events: expected, lost, unreadable: 0 });
    }

    #[test]
    fn any_bytes_are_read_to_an_end(bytes in proptest::collection::vec(any::<u8>(), 0..600), head in any::<bool>()) {
        let start = if head { page(0, &[], 0)[..8].to_vec() } else { Vec::new() };
        let bytes = [start, bytes].concat();
        let read = decoder("6.18").page(&bytes);
        prop_assert!(read.events.len() as u64 + read.unreadable <= bytes.len() as u64 / 4 + 1);
    }
}

#[test]
fn an_absolute_time_keeps_the_upper_bits_of_the_one_before() {
    let high = 3_u64 << 59;
    let read = |start, stamp| {
        let pieces = [Piece::Stamp(stamp), Piece::Record(0, newtask(3, 4, 17))];
        decoder("6.18").page(&page(start, &pieces, 0)).events[0].time.as_nanos() as u64
    };
    assert_eq!(read(high | 5, 9), high | 9);
    assert_eq!(read(high | 9, 5), (4 << 59) | 5, "the lower bits went round");
    assert_eq!(read(9, 5), 5);
}

#[test]
fn a_gap_without_a_number_is_a_gap() {
    let mut bytes = page(0, &[], 0);
    bytes[11] = 0x80;
    assert_eq!(decoder("6.18").page(&bytes).lost, LostEvents { counted: 0, gaps: 1 });
    let told = page(0, &[], 7);
    assert_eq!(decoder("6.18").page(&told[..16]).lost, LostEvents { counted: 0, gaps: 1 }, "the number is cut off");
}
