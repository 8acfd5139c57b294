//! What must hold whatever comes in.

use proptest::prelude::*;
use reprieve_readings::{OomLogEvent, OomLogReader};

use serde_json::json;

use crate::corpus::logs;
use crate::read::{events, events_in_chunks, reports};

fn pids(log: &[u8]) -> Vec<u32> {
    reports(log).iter().flat_map(|report| report.victims.iter().map(|victim| victim.pid)).collect()
}

/// Lines of no interest, as many bytes.
fn filler(length: usize) -> Vec<u8> {
    let line = b"Mar 11 10:16:36 host app[7]: GET /index.html 200 12ms, nothing to see here\n";
    line.iter().copied().cycle().take(length / line.len() * line.len()).collect()
}

#[test]
fn chunks_make_no_difference() {
    for (name, log) in logs() {
        let whole = events(&log);
        for size in if log.len() < 3000 { [1, 7] } else { [61, 4096] } {
            assert_eq!(events_in_chunks(&log, size), whole, "{name} in chunks of {size}");
        }
    }
}

#[test]
fn chunks_make_no_difference_in_a_long_log() {
    let mut log = Vec::new();
    for (index, (_, report)) in logs().into_iter().enumerate() {
        log.extend(report);
        log.push(b'\n');
        log.extend(filler(if index % 3 == 0 { 300_000 } else { 9_000 + 64 * index }));
        if index % 10 == 0 {
            log.extend(std::iter::repeat_n(b'x', 200_000));
        }
    }
    let whole = events(&log);
    assert!(whole.len() > 90);
    for size in [997, 65_536, 262_144, 1_000_000] {
        assert_eq!(events_in_chunks(&log, size), whole, "in chunks of {size}");
    }
}

#[test]
fn wrapping_a_whole_log_changes_nothing() {
    for (name, log) in logs() {
        let Ok(text) = String::from_utf8(log) else { continue };
        let whole = reports(text.as_bytes());
        let lines = || text.lines().map(|line| line.trim_end_matches('\r'));
        let docker = lines().map(|line| json!({"log": format!("{line}\n"), "stream": "stdout"}).to_string() + "\n");
        assert_eq!(reports(docker.collect::<String>().as_bytes()), whole, "{name} by Docker");
        let cri = lines().map(|line| format!("2025-03-11T10:16:36.1Z stderr F {line}\n"));
        assert_eq!(reports(cri.collect::<String>().as_bytes()), whole, "{name} by CRI");
        let crlf = lines().map(|line| format!("{line}\r\n"));
        assert_eq!(reports(crlf.collect::<String>().as_bytes()), whole, "{name} with CRLF");
        let utf16: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(reports(&[&[0xff, 0xfe], &utf16[..]].concat()), whole, "{name} in UTF-16");
    }
}

/// Every byte of the lines that kill, and some others.
fn cuts(log: &[u8]) -> Vec<usize> {
    let mut cuts: Vec<usize> = (0..log.len()).step_by(2003).collect();
    let mut at = 0;
    for line in log.split_inclusive(|&byte| byte == b'\n') {
        if line.windows(4).any(|window| window == b"Kill") && cuts.len() < 100 {
            cuts.extend((at..at + line.len()).step_by(3));
        }
        at += line.len();
    }
    cuts
}

#[test]
fn a_cut_never_invents_a_victim() {
    for (name, log) in logs() {
        let whole = pids(&log);
        for cut in cuts(&log) {
            let of_cut = pids(&log[..cut]);
            assert!(of_cut.iter().all(|pid| whole.contains(pid)), "{name} cut at {cut}: {of_cut:?}");
        }
    }
}

#[test]
fn a_cut_at_the_beginning_never_invents_a_victim() {
    for (name, log) in logs() {
        let whole = pids(&log);
        for cut in (0..log.len()).step_by(2503) {
            let of_cut = pids(&log[cut..]);
            assert!(of_cut.iter().all(|pid| whole.contains(pid)), "{name} cut at {cut}: {of_cut:?}");
        }
    }
}

#[test]
fn a_line_without_end_is_not_kept() {
    let mut reader = OomLogReader::new();
    let mut events = 0;
    for begin in
        [&b"[    1.000000] x invoked oom-killer: gfp_mask=0x0, order=0, oom_score_adj=0\n"[..], b"{\"log\":\"", b""]
    {
        reader.feed(begin, |_| events += 1);
        let block = vec![b'x'; 1 << 20];
        for _ in 0..100 {
            reader.feed(&block, |_| events += 1);
            assert!(reader.kept() < 1 << 20, "{} bytes are kept", reader.kept());
        }
        reader.feed(b"Out of memory: Killed process 5 (x) total-vm:1kB, anon-rss:1kB, file-rss:1kB\n", |_| events += 1);
    }
    reader.finish(|_| events += 1);
    assert_eq!(events, 1);
}

#[test]
fn endless_reports_are_bounded() {
    let mut log = b"[    1.000000] x invoked oom-killer: gfp_mask=0x0, order=0, oom_score_adj=0\n".to_vec();
    log.extend(b"[    1.000000] [ pid ]   uid  tgid total_vm      rss nr_ptes swapents oom_score_adj name\n");
    let rows = 30_000;
    for pid in 1..=rows {
        log.extend(
            format!(
                "[    1.000000] [{pid:5}]     0 {pid:5}     1079 {:8}       7        0             0 x\n",
                pid % 7919
            )
            .bytes(),
        );
    }
    let reports = reports(&log);
    let tasks = reports[0].tasks.as_ref().unwrap();
    assert_eq!(tasks.rows.len() as u64 + tasks.rows_left_out, rows);
    assert!(tasks.rows.len() <= 4096);
    assert!(tasks.rows.iter().any(|row| row.rss == Some(7918)), "those with the most memory are kept");
    assert!(tasks.rows.iter().all(|row| row.rss > Some(6000)));

    let name = "x".repeat(60_000);
    let kill = format!("Out of memory: Killed process 5 ({name}) total-vm:1kB, anon-rss:1kB, file-rss:1kB\n");
    assert_eq!(pids(kill.as_bytes()), [] as [u32; 0]);
}

/// Words and signs that logs are made of, so that something is recognised.
fn any_log() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(vec![
        "\n",
        "\r\n",
        " ",
        "[    1.000001] ",
        "[    2.000002][  T7] ",
        "[  pid  ]   uid  tgid total_vm      rss swapents oom_score_adj name",
        "[      7]     0     7  1  2  3  -5 x",
        "x invoked oom-killer: ",
        "gfp_mask=0x0(), order=0, oom_score_adj=0",
        "Out of memory: ",
        "Memory cgroup out of memory: ",
        "Killed process 7 (x)",
        "Killed process ",
        "71",
        " total-vm:1kB, anon-rss:2kB, file-rss:3kB",
        ", shmem-rss:4kB",
        ", UID:5 pgtables:6kB oom_score_adj:7",
        "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null)",
        ",oom_memcg=/a,task_memcg=/a/b,task=x,pid=7,uid=5",
        "Tasks in /a are going to be killed due to memory.oom.group set",
        "memory: usage 1kB, limit 2kB, failcnt 3",
        "Memory cgroup stats for /a:",
        "anon 5",
        "Mem-Info:",
        "active_anon:5 free:6",
        "Node 0 Normal: 3*4kB (U) 4*8kB",
        "Mar 11 10:16:36 host kernel: ",
        "Mar 11 10:16:36 host app[5]: ",
        "{\"log\":\"",
        "\\n\"}",
        "{\"MESSAGE\":\"",
        "\",\"_TRANSPORT\":\"kernel\"}",
        "4,5,6,-;",
        "__CURSOR=x\n",
        "MESSAGE=",
        "MESSAGE\n",
        "\u{7}\0\0\0\0\0\0\0",
        "2025-03-11T10:16:36Z stdout P ",
        "2025-03-11T10:16:36Z stdout F ",
        "oom_reaper: reaped process 7 (x), now anon-rss:0kB",
        "\u{1b}[32m",
        "Kernel panic - not syncing: Out of memory: system-wide panic_on_oom is enabled",
        "\\",
        "#012",
        "\u{a0}",
        "\u{fe}",
        "Linux version 6.1 ",
        "Out of memory and no killable processes...",
    ]);
    let pieces = prop::collection::vec(
        prop_oneof![9 => piece.prop_map(|text| text.as_bytes().to_vec()), 1 => any::<Vec<u8>>()],
        0..60,
    );
    pieces.prop_map(|pieces| pieces.concat())
}

fn text_of(log: &[u8]) -> String {
    String::from_utf8_lossy(log).into_owned()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn any_log_reads_the_same_in_chunks(log in any_log(), size in 1..40_usize) {
        prop_assert_eq!(events_in_chunks(&log, size), events(&log), "{}", text_of(&log));
    }

    #[test]
    fn each_victim_is_named_by_the_log(log in any_log()) {
        for event in events(&log) {
            if let OomLogEvent::Report(report) = event {
                for victim in &report.victims {
                    let pid = victim.pid.to_string();
                    prop_assert!(text_of(&log).contains(&pid), "{pid}");
                    prop_assert!(text_of(&log).contains("Killed process"));
                }
            }
        }
    }

    #[test]
    fn any_bytes_do_not_panic(log: Vec<u8>) {
        events(&log);
    }
}
