//! One report in each form of log that there is.

use std::time::Duration;

use reprieve_readings::{Bytes, CgroupPath, Constraint, Limit, OomLogReport, OomScope, PrintkCaller};
use serde_json::json;

use crate::read::reports;

/// What the kernel prints, record by record; the fourth holds a newline, as up to Linux 6.4.
const MESSAGES: &[&str] = &[
    "tmux: server invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=5",
    "CPU: 1 PID: 70 Comm: tmux: server Not tainted 5.15.0-91 #1",
    "memory: usage 1024kB, limit 2048kB, failcnt 7",
    "swap: usage 0kB, limit 9007199254740988kB, failcnt 0",
    "Memory cgroup stats for /a:",
    "anon 4096\nfile 8192\nslab 77",
    "Tasks state (memory values in pages):",
    "[  pid  ]   uid  tgid total_vm      rss pgtables_bytes swapents oom_score_adj name",
    "[     70]  1000    70     2986     2624    61440        3             5 tmux: server",
    "[     71]  1000    71      724      352    32768        0         -1000 (sd-pam)",
    "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=c,mems_allowed=0-1,oom_memcg=/a,task_memcg=/a/b,task=tmux: server,pid=70,uid=1000",
    "Memory cgroup out of memory: Killed process 70 (tmux: server) total-vm:11944kB, anon-rss:9216kB, file-rss:1280kB, shmem-rss:0kB, UID:1000 pgtables:60kB oom_score_adj:5",
    "oom_reaper: reaped process 70 (tmux: server), now anon-rss:0kB, file-rss:0kB, shmem-rss:0kB",
];

fn assert_whole(report: &OomLogReport, form: &str) {
    let trigger = report.trigger.as_ref().unwrap();
    assert_eq!((&*trigger.name, trigger.pid), (&b"tmux: server"[..], Some(70)), "{form}");
    assert_eq!((trigger.order, trigger.oom_score_adj, report.cpu), (Some(0), Some(5), Some(1)), "{form}");
    assert_eq!(report.kernel.as_deref(), Some(&b"5.15.0-91"[..]), "{form}");
    assert_eq!((report.scope, report.constraint), (Some(OomScope::MemoryCgroup), Some(Constraint::MemoryCgroup)));
    let memory = report.memory.unwrap();
    assert_eq!((memory.usage, memory.limit, memory.failcnt), (Bytes::from_mib(1), Limit::At(Bytes::from_mib(2)), 7));
    assert_eq!(report.swap.unwrap().limit, Limit::Max, "{form}");
    assert_eq!(report.stats.len(), 1, "{form}");
    let stat = report.stats[0].memory_stat();
    assert_eq!((stat.anon, stat.file), (Some(Bytes::from_kib(4)), Some(Bytes::from_kib(8))), "{form}");
    assert_eq!(report.stats[0].value(b"slab"), Some(77), "{form}");
    let rows = &report.tasks.as_ref().unwrap().rows;
    let of_row = |index: usize| (rows[index].pid, rows[index].rss, rows[index].oom_score_adj, &*rows[index].name);
    assert_eq!(of_row(0), (70, Some(2624), Some(5), &b"tmux: server"[..]), "{form}");
    assert_eq!(of_row(1), (71, Some(352), Some(-1000), &b"(sd-pam)"[..]), "{form}");
    assert_eq!(report.oom_memcg, Some(CgroupPath::new(b"/a")), "{form}");
    assert_eq!(report.task_memcg, Some(CgroupPath::new(b"/a/b")), "{form}");
    assert_eq!(report.cpuset.as_deref(), Some(&b"c"[..]), "{form}");
    assert_eq!((report.mems_allowed.as_deref(), report.nodemask.as_deref()), (Some(&b"0-1"[..]), None), "{form}");
    let [victim] = &report.victims[..] else { panic!("{form}: {:?}", report.victims) };
    assert_eq!((victim.pid, victim.name.as_deref()), (70, Some(&b"tmux: server"[..])), "{form}");
    assert_eq!((victim.uid, victim.oom_score_adj), (Some(1000), Some(5)), "{form}");
    assert_eq!(report.reaped.len(), 1, "{form}");
    assert_eq!(report.missing, [], "{form}");
    assert!(report.is_complete());
}

fn only(log: &[u8], form: &str) -> OomLogReport {
    let mut reports = reports(log);
    assert_eq!(reports.len(), 1, "{form}: {}\n{reports:#?}", String::from_utf8_lossy(log));
    assert_whole(&reports[0], form);
    reports.remove(0)
}

/// Each message behind `prefix`, in which `SECONDS` becomes a time; a message's other lines by `other_lines`.
fn log(prefix: &str, other_lines: fn(&str, &str) -> String) -> String {
    let mut log = format!("{}an unrelated line\n", prefix.replace("SECONDS", "    9.000000"));
    for (index, message) in MESSAGES.iter().enumerate() {
        let prefix = prefix.replace("SECONDS", &format!("{:5}.000042", 10 + index));
        let mut lines = message.split('\n');
        log.push_str(&format!("{prefix}{}\n", lines.next().unwrap()));
        lines.for_each(|line| log.push_str(&other_lines(&prefix, line)));
    }
    log
}

const REPEATED: fn(&str, &str) -> String = |prefix, line| format!("{prefix}{line}\n");
const INDENTED: fn(&str, &str) -> String = |prefix, line| format!("{}{line}\n", " ".repeat(prefix.len()));

#[test]
fn texts_with_each_prefix() {
    for (prefix, has_boot_time) in [
        ("", false),
        ("[SECONDS] ", true),
        ("[SECONDS][   T70] ", true),
        ("[SECONDS] [T70] ", true),
        ("[SECONDS][  T70] [1: tmux:70] ", true),
        ("  [SECONDS]  ", true),
        ("<4>[SECONDS] ", true),
        ("kern  :warn  : [SECONDS] ", true),
        ("kern  :warn  : [Tue Mar 11 10:16:36 2025] ", false),
        ("[Tue Mar 11 10:16:36 2025] ", false),
        ("[四 3月 18 18:47:12 2021] ", false),
        ("[月  1月 26 18:47:12 2021] ", false),
        ("[Di Aug 12 18:47:12 2025] ", false),
        ("[Mar11 10:16] ", false),
        ("[  +0.000003] ", false),
        ("[SECONDS <    0.000003>] ", true),
        ("2025-03-11T10:16:36,123456+00:00 ", false),
        ("2025-03-11T10:16:36.123456+00:00 host kernel: ", false),
        ("2025-03-11T10:16:36+0000 host kernel: [SECONDS] ", true),
        ("2025-03-11T10:16:36Z host kernel: ", false),
        ("Tue 2025-03-11 10:16:36 UTC host kernel: ", false),
        ("Mar  1 10:16:36 host kernel: ", false),
        ("Mar 11 10:16:36.123456 host kernel: ", false),
        ("Mar 11 10:16:36 host kernel: [SECONDS] ", true),
        ("Mar 11 10:16:36  kernel: [SECONDS] ", true),
        ("Mar 11 10:16:36 kernel: [SECONDS] ", true),
        ("Mar 11 10:16:36 ** kernel: ", false),
        ("<4>Mar 11 10:16:36 host kernel: ", false),
        ("<4>1 2025-03-11T10:16:36.123Z host kernel - - - [SECONDS] ", true),
        ("1741688196 host [SECONDS] ", true),
        ("1741688196.123456 host kernel: ", false),
        ("2025-03-11T10:16:36.1+08:00|warning|kernel[-]|[SECONDS] ", true),
        ("[SECONDS] host kernel: ", true),
        ("[SECONDS <    0.000003 >] host kernel: ", true),
        ("kernel: [SECONDS] ", true),
        ("kernel:[SECONDS] ", true),
        ("\u{1b}[32m[SECONDS] \u{1b}[0m", true),
        ("> > [SECONDS] ", true),
        ("2025-03-11T10:16:36.123456789Z stdout F [SECONDS] ", true),
        ("2025-03-11T10:16:36.123456789+01:00 stderr F Mar 11 10:16:36 host kernel: ", false),
    ] {
        for other_lines in [REPEATED, INDENTED] {
            let is_container = prefix.contains(" F ");
            let other_lines = if is_container { REPEATED } else { other_lines };
            let report = only(log(prefix, other_lines).as_bytes(), prefix);
            let since_boot = has_boot_time.then_some(Duration::from_micros(10_000_042));
            assert_eq!(report.time.since_boot, since_boot, "{prefix}");
            assert_eq!(report.line, 2, "{prefix}");
            let has_caller = prefix.contains("T70");
            assert_eq!(report.caller, has_caller.then_some(PrintkCaller::Task(70)), "{prefix}");
        }
    }
}

#[test]
fn times_with_a_zone_are_told_since_1970() {
    for (prefix, seconds) in [
        ("2025-03-11T10:16:36,123456+00:00 ", 1_741_688_196.123_456),
        ("2025-03-11T11:46:36.5+01:30 host kernel: ", 1_741_688_196.5),
        ("2025-03-11T05:16:36-0500 host kernel: ", 1_741_688_196.0),
        ("2000-02-29T23:59:59Z host kernel: ", 951_868_799.0),
        ("1741688196.123456 host kernel: ", 1_741_688_196.123_456),
    ] {
        let time = only(log(prefix, REPEATED).as_bytes(), prefix).time;
        assert!((time.since_epoch.unwrap().as_secs_f64() - seconds).abs() < 1e-5, "{prefix}: {time:?}");
    }
    for prefix in ["Mar 11 10:16:36 host kernel: ", "[Tue Mar 11 10:16:36 2025] "] {
        let time = only(log(prefix, REPEATED).as_bytes(), prefix).time;
        assert!(
            time.since_epoch.is_none() && time.text.unwrap().ends_with(b"0:16:36 2025".get(..7).unwrap())
                || prefix.starts_with('[')
        );
    }
}

#[test]
fn line_ends_and_encodings() {
    let plain = log("Mar 11 10:16:36 host kernel: [SECONDS] ", REPEATED);
    only(plain.replace('\n', "\r\n").as_bytes(), "CRLF");
    only(plain.replace('\n', " \r\r\n").as_bytes(), "blanks and more at the ends");
    assert_eq!(only(format!("\n\n{}", log("", REPEATED)).as_bytes(), "empty lines before").line, 4);
    only(plain.trim_end().as_bytes(), "no newline at the end");
    only(format!("\u{feff}{plain}").as_bytes(), "UTF-8 with a mark");
    only(plain.replace("  ", " \u{a0}").as_bytes(), "no-break spaces");
    for form in ["\u{feff}", ""] {
        let units: Vec<u16> = format!("{form}{plain}").encode_utf16().collect();
        let little: Vec<u8> = units.iter().flat_map(|unit| unit.to_le_bytes()).collect();
        let big: Vec<u8> = units.iter().flat_map(|unit| unit.to_be_bytes()).collect();
        only(&little, "UTF-16, lowest byte first");
        only(&big, "UTF-16, highest byte first");
    }
}

#[test]
fn rsyslog_escapes_newlines() {
    let log: String = MESSAGES
        .iter()
        .map(|message| format!("Mar 11 10:16:36 host kernel: {}\n", message.replace('\n', "#012")))
        .collect();
    only(log.as_bytes(), "rsyslog");
}

#[test]
fn records_of_dev_kmsg() {
    let mut log = String::new();
    for (index, message) in MESSAGES.iter().enumerate() {
        let escaped = message.replace('\n', "\\x0a");
        log.push_str(&format!("4,{index},{},-,caller=T70;{escaped}\n SUBSYSTEM=x\n", 10_000_042 + index));
        log.push_str(&format!("6,{index},{},-,caller=C1;usb 1-1: new device\n", 10_000_042 + index));
        log.push_str(
            "12,1,1,-,caller=T70;Out of memory: Killed process 1 (init) total-vm:1kB, anon-rss:2kB, file-rss:3kB\n",
        );
    }
    let report = only(log.as_bytes(), "kmsg");
    assert_eq!(report.time.since_boot, Some(Duration::from_micros(10_000_042)));
    assert_eq!(report.caller, Some(PrintkCaller::Task(70)));
}

#[test]
fn json_of_the_journal() {
    for as_bytes in [false, true] {
        let entry = |message: &str, transport: &str| {
            let message = if as_bytes { json!(message.as_bytes()) } else { json!(message) };
            json!({
                "__REALTIME_TIMESTAMP": "1741688196123456", "_SOURCE_MONOTONIC_TIMESTAMP": "10000042",
                "_TRANSPORT": transport, "SYSLOG_IDENTIFIER": "kernel", "MESSAGE": message,
            })
            .to_string()
                + "\n"
        };
        let forged = entry("Out of memory: Killed process 1 (init) total-vm:1kB, anon-rss:2kB, file-rss:3kB", "syslog");
        let log: String = MESSAGES.iter().map(|message| entry(message, "kernel") + &forged).collect();
        let report = only(log.as_bytes(), "journal");
        assert_eq!(report.time.since_epoch, Some(Duration::from_micros(1_741_688_196_123_456)));
        assert_eq!(report.time.since_boot, Some(Duration::from_micros(10_000_042)));
    }
}

#[test]
fn json_of_dmesg() {
    let message = |message: &&str| format!("      }},{{\n         \"pri\": 4,\n         \"msg\": {}\n", json!(message));
    let log: String = MESSAGES.iter().map(message).collect();
    only(format!("{{\n   \"dmesg\": [\n      {{\n{log}      }}\n   ]\n}}\n").as_bytes(), "dmesg --json");
}

#[test]
fn the_journal_s_export_format() {
    let entry = |message: &str, transport: &str, is_binary: bool| {
        let mut entry = b"__CURSOR=s=1\n__REALTIME_TIMESTAMP=1741688196123456\n_BOOT_ID=5\n".to_vec();
        if is_binary {
            entry.extend_from_slice(b"MESSAGE\n");
            entry.extend_from_slice(&(message.len() as u64).to_le_bytes());
            entry.extend_from_slice(message.as_bytes());
            entry.push(b'\n');
        } else {
            entry.extend_from_slice(format!("MESSAGE={message}\n").as_bytes());
        }
        entry.extend_from_slice(format!("_TRANSPORT={transport}\nSYSLOG_IDENTIFIER=kernel\n\n").as_bytes());
        entry
    };
    for is_binary in [false, true] {
        let mut log = Vec::new();
        for message in MESSAGES {
            log.extend(entry(message, "kernel", is_binary || message.contains('\n')));
            log.extend(entry("ten bytes!", "kernel", true));
            let forged = "Out of memory: Killed process 1 (init) total-vm:1kB, anon-rss:2kB, file-rss:3kB";
            log.extend(entry(forged, "stdout", is_binary));
        }
        let report = only(&log, "export");
        assert_eq!(report.time.since_epoch, Some(Duration::from_micros(1_741_688_196_123_456)));
    }
}

#[test]
fn logs_of_containers() {
    let plain = log("[SECONDS] ", REPEATED);
    let wrap =
        |line: &str| json!({"log": line, "stream": "stdout", "time": "2025-03-11T10:16:36.1Z"}).to_string() + "\n";
    let docker: String = plain.split_inclusive('\n').map(wrap).collect();
    only(docker.as_bytes(), "Docker");
    let split: String =
        plain.split_inclusive('\n').map(|line| line.split_at(20)).map(|(a, b)| wrap(a) + &wrap(b)).collect();
    only(split.as_bytes(), "Docker, lines in two parts");
    let parts = |line: &str| {
        let (first, second) = line.split_at(20);
        format!("2025-03-11T10:16:36.1Z stdout P {first}\n2025-03-11T10:16:36.1Z stdout F {second}\n")
    };
    let cri: String = plain.lines().map(parts).collect();
    only(cri.as_bytes(), "CRI, lines in two parts");
}

#[test]
fn lines_that_a_mail_or_a_terminal_wraps() {
    let plain = log("[SECONDS] ", REPEATED);
    for width in [60, 66, 72, 76, 80] {
        let mail: String = plain.lines().map(|line| wrap_at_blanks(line, width)).collect();
        only(mail.as_bytes(), &format!("mail of {width} columns"));
    }
    let kill = plain.lines().filter(|line| line.contains("oom-kill:") || line.contains("Killed process"));
    let kill: Vec<&str> = kill.collect();
    for width in 60..160 {
        let terminal: String = kill
            .iter()
            .flat_map(|line| line.as_bytes().chunks(width))
            .map(|piece| String::from_utf8_lossy(piece).into_owned() + "\n")
            .collect();
        let reports = reports(terminal.as_bytes());
        assert_eq!(reports.len(), 1, "{width}: {terminal}");
        assert_eq!(reports[0].victims.len(), 1, "{width}: {terminal}");
        assert_eq!(reports[0].victims[0].pid, 70, "{width}: {terminal}");
        assert_eq!(reports[0].oom_memcg, Some(CgroupPath::new(b"/a")), "{width}: {terminal}");
    }
}

/// As mail programs do: at the last blank that fits, which is dropped.
fn wrap_at_blanks(line: &str, width: usize) -> String {
    let mut wrapped = String::new();
    let mut rest = line;
    while rest.len() > width {
        let Some(blank) = rest[..width].rfind(' ').filter(|at| *at > 14) else { break };
        wrapped.push_str(&rest[..blank]);
        wrapped.push('\n');
        rest = &rest[blank + 1..];
    }
    wrapped + rest + "\n"
}
