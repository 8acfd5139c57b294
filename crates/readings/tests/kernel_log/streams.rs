//! Several reports in one stream: which line belongs to which kill, with and without callers, storms and losses.

use proptest::prelude::*;
use reprieve_readings::{CgroupPath, KmsgRecord, OomKillReader, OomVictim};

use crate::kmsg::{Kernel, record, victims};

fn invoked(name: &str) -> String {
    format!("{name} invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0")
}

fn usage(failcnt: u32) -> String {
    format!("memory: usage 5kB, limit 5kB, failcnt {failcnt}")
}

fn summary(memcg: &str, pid: u32) -> String {
    let constraint = "constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0";
    format!("oom-kill:{constraint},oom_memcg={memcg},task_memcg={memcg},task=x,pid={pid},uid=0")
}

fn killed(pid: u32) -> String {
    let sizes = "total-vm:9kB, anon-rss:8kB, file-rss:7kB, shmem-rss:6kB, UID:0 pgtables:5kB oom_score_adj:4";
    format!("Memory cgroup out of memory: Killed process {pid} (x) {sizes}")
}

fn group(memcg: &str) -> String {
    format!("Tasks in {memcg} are going to be killed due to memory.oom.group set")
}

fn report(failcnt: u32, memcg: &str, pid: u32) -> [String; 4] {
    [invoked("x"), usage(failcnt), summary(memcg, pid), killed(pid)]
}

fn read(messages: &[String]) -> Vec<OomVictim> {
    Kernel::says(messages.iter().map(String::as_str)).victims()
}

/// What the report told of each victim, by its failcnt.
fn failcnts(victims: &[OomVictim]) -> Vec<(u32, Option<u64>)> {
    victims.iter().map(|victim| (victim.pid, victim.report.failcnt)).collect()
}

fn path(path: &str) -> Option<CgroupPath> {
    Some(CgroupPath::new(path.as_bytes()))
}

#[test]
fn a_report_tells_of_its_own_kill_only() {
    let second = [killed(8), killed(9)];
    let victims = read(&[&report(1, "/a", 7)[..], &second, &report(2, "/b", 10)].concat());
    assert_eq!(failcnts(&victims), [(7, Some(1)), (8, None), (9, None), (10, Some(2))]);
    assert_eq!(victims[3].report.oom_memcg, path("/b"));
}

#[test]
fn a_report_whose_kill_never_came_tells_of_no_other() {
    let begun = |lines: usize| report(1, "/a", 7)[..lines].to_vec();
    for lines in 1..=3 {
        assert_eq!(
            failcnts(&read(&[begun(lines), vec![killed(8)]].concat())),
            [(8, None)],
            "{lines} lines, then a kill"
        );
        let next = report(2, "/b", 8).to_vec();
        let victims = read(&[begun(lines), next].concat());
        assert_eq!(failcnts(&victims), [(8, Some(2))], "{lines} lines, then a report");
        assert_eq!(victims[0].report.oom_memcg, path("/b"));
    }
    let nobody = "Out of memory and no killable processes...".to_owned();
    let other = "Out of memory: Killed process 8 (x) total-vm:9kB, anon-rss:8kB, file-rss:7kB".to_owned();
    assert_eq!(failcnts(&read(&[invoked("x"), usage(1), nobody, other])), [(8, None)]);
}

#[test]
fn a_report_whose_first_line_is_missing_is_another_all_the_same() {
    let second = [usage(2), summary("/b", 8), killed(8)];
    for first in [report(1, "/a", 7)[..3].to_vec(), [&report(1, "/a", 7)[..], &[group("/a")]].concat()] {
        let last = read(&[&first[..], &second].concat()).pop().unwrap();
        assert_eq!((last.report.trigger, last.report.oom_memcg), (None, path("/b")));
        assert_eq!((last.report.failcnt, last.oom_group), (Some(2), None));
    }
}

#[test]
fn an_announcement_that_came_to_nothing_is_forgotten() {
    let announced =
        |pid: u32| format!("Memory cgroup out of memory: Kill process {pid} (x) score 1 or sacrifice child");
    let kill = "Killed process 8 (x) total-vm:9kB, anon-rss:8kB, file-rss:7kB".to_owned();
    let victims = read(&[invoked("x"), usage(1), announced(7), announced(8), kill]);
    assert_eq!(failcnts(&victims), [(8, None)]);
}

#[test]
fn lost_records_end_what_has_begun() {
    let mut kernel = Kernel::says(report(1, "/a", 7).iter().map(String::as_str));
    kernel.records.remove(1);
    let victims = kernel.victims();
    assert_eq!(failcnts(&victims), [(7, None)]);
    assert_eq!((victims[0].report.trigger.as_ref(), victims[0].report.oom_memcg.clone()), (None, path("/a")));
}

#[test]
fn a_group_kill_names_its_first_victim_twice() {
    let members = [group("/a/c"), killed(5), killed(7), killed(6)];
    let victims = read(&[&report(1, "/a", 7)[..], &members].concat());
    let told: Vec<_> = victims.iter().map(|victim| (victim.pid, victim.repeat, victim.oom_group.clone())).collect();
    let of_group = |pid, repeat| (pid, repeat, path("/a/c"));
    assert_eq!(told, [(7, false, None), of_group(5, false), of_group(7, true), of_group(6, false)]);
    assert!(victims.iter().all(|victim| victim.report.failcnt == Some(1)));
}

#[test]
fn groups_in_a_storm_without_reports() {
    let victims = read(&[killed(1), group("/a"), killed(1), killed(2), killed(3), group("/b"), killed(3), killed(4)]);
    let repeats: Vec<_> = victims.iter().filter(|victim| victim.repeat).map(|victim| victim.pid).collect();
    assert_eq!(repeats, [1, 3]);
    assert_eq!(victims[5].oom_group, path("/b"));
}

#[test]
fn a_group_ends_with_a_pause_or_the_next_report() {
    let mut kernel = Kernel::says(report(1, "/a", 7).iter().map(String::as_str));
    kernel.say("-", group("/a").as_bytes());
    kernel.say("-", killed(7).as_bytes());
    kernel.wait_seconds(6);
    kernel.say("-", killed(8).as_bytes());
    let last = kernel.victims().pop().unwrap();
    assert_eq!((last.oom_group, last.report.failcnt), (None, None));

    let victims = read(&[&report(1, "/a", 7)[..], &[group("/a")], &report(2, "/b", 8)].concat());
    assert_eq!((victims[1].oom_group.clone(), victims[1].report.failcnt), (None, Some(2)));
}

#[test]
fn a_first_victim_that_was_already_gone_leaves_its_group() {
    let gone = "Memory cgroup out of memory: OOM victim 7 (x) is already exiting. Skip killing the task".to_owned();
    let victims = read(&[invoked("x"), usage(1), summary("/a", 7), gone, group("/a/c"), killed(8)]);
    assert_eq!(failcnts(&victims), [(8, Some(1))]);
    assert_eq!((victims[0].report.oom_memcg.clone(), victims[0].oom_group.clone()), (path("/a"), path("/a/c")));
    assert!(!victims[0].repeat && victims[0].report.task_memcg.is_none());
}

#[test]
fn reports_of_several_callers_do_not_mix() {
    let mut kernel = Kernel::default();
    let reports: Vec<_> = (1..=5).map(|number| report(number, &format!("/{number}"), 100 + number)).collect();
    for line in 0..4 {
        for (caller, report) in reports.iter().enumerate() {
            kernel.say(&format!("-,caller=T{}", caller + 1), report[line].as_bytes());
        }
    }
    let victims = kernel.victims();
    assert_eq!(failcnts(&victims), [(101, Some(1)), (102, Some(2)), (103, Some(3)), (104, Some(4)), (105, Some(5))]);
    for (index, victim) in victims.iter().enumerate() {
        assert_eq!(victim.report.oom_memcg, path(&format!("/{}", index + 1)));
        assert_eq!(victim.report.trigger.as_ref().unwrap().pid, Some(index as u32 + 1));
    }
}

#[test]
fn the_oldest_report_is_forgotten_when_too_many_begin() {
    let mut kernel = Kernel::default();
    for caller in 0..10_000 {
        kernel.say(&format!("-,caller=T{caller}"), usage(caller).as_bytes());
    }
    let kill = b"Memory cgroup out of memory: Killed process 7 (x) total-vm:9kB, anon-rss:8kB, file-rss:7kB";
    for caller in [9_990, 9_999] {
        kernel.say(&format!("-,caller=T{caller}"), kill);
    }
    assert_eq!(failcnts(&kernel.victims()), [(7, None), (7, Some(9_999))]);
}

#[test]
fn endless_messages_are_not_kept() {
    let name = "x".repeat(1 << 20);
    let kill = format!("Killed process 7 ({name}) total-vm:9kB, anon-rss:8kB, file-rss:7kB");
    assert_eq!(read(&[kill]), []);
}

/// Lines of reports and others, from few pids and cgroups so that they meet.
fn any_line() -> impl Strategy<Value = String> {
    let memcg = prop::sample::select(vec!["/a", "/a/b", "/c"]);
    prop_oneof![
        Just(invoked("x")),
        any::<u32>().prop_map(usage),
        (memcg.clone(), 1..4_u32).prop_map(|(memcg, pid)| summary(memcg, pid)),
        (1..4_u32).prop_map(killed),
        (1..4_u32).prop_map(|pid| format!("Out of memory: Kill process {pid} (x) score 1 or sacrifice child")),
        (1..4_u32).prop_map(|pid| format!("Killed process {pid} (x) total-vm:9kB, anon-rss:8kB, file-rss:7kB")),
        memcg.prop_map(group),
        Just("Task in /a/b killed as a result of limit of /a".to_owned()),
        Just("Memory cgroup out of memory: OOM victim 7 (x) is already exiting. Skip killing the task".to_owned()),
        Just("usb 1-1: new device".to_owned()),
    ]
}

/// A stream of records of the kernel: flags, then the message.
fn any_stream() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let flags = prop::sample::select(vec!["-", "-", "c", "-,caller=T1", "-,caller=T2", "-,caller=C1"]);
    let record_parts = (prop::sample::select(vec![4_u32, 4, 4, 6, 12]), flags, any_line());
    prop::collection::vec(record_parts, 0..40).prop_map(|parts| {
        let lines = parts.into_iter().enumerate();
        lines
            .map(|(at, (priority, flags, line))| record(priority, at as u64, at as u64, flags, line.as_bytes()))
            .collect()
    })
}

fn pids(victims: &[OomVictim]) -> Vec<(u64, u32)> {
    victims.iter().map(|victim| (victim.sequence, victim.pid)).collect()
}

proptest! {
    /// A stream cut anywhere, even within a record, gives the first of the victims of the whole and no other.
    #[test]
    fn cutting_a_stream_never_invents_a_victim(stream in any_stream(), cut: prop::sample::Index) {
        let whole = victims(&stream);
        let bytes = stream.concat();
        let kept = &bytes[..cut.index(bytes.len() + 1)];
        let cut_stream: Vec<&[u8]> = kept.split_inclusive(|&byte| byte == b'\n').collect();
        let of_cut = victims(&cut_stream);
        prop_assert_eq!(&of_cut[..], &whole[..of_cut.len()]);
    }

    /// Each kill line of the kernel is one victim, whatever stands around it.
    #[test]
    fn there_is_one_victim_a_kill_line(stream in any_stream()) {
        let lines: Vec<u64> = stream.iter().enumerate().filter(|(_, record)| {
            let text = String::from_utf8_lossy(record);
            !text.starts_with("12,") && text.contains("Killed process")
        }).map(|(at, _)| at as u64).collect();
        let of_stream = victims(&stream);
        prop_assert_eq!(of_stream.iter().map(|victim| victim.sequence).collect::<Vec<_>>(), lines);
    }

    /// Leaving records out changes what is told of the victims, not who they are.
    #[test]
    fn losing_records_only_loses(stream in any_stream(), kept: Vec<bool>) {
        let kept: Vec<_> = stream.iter().zip(kept.iter().chain(std::iter::repeat(&true))).filter(|(_, kept)| **kept)
            .map(|(record, _)| record.clone()).collect();
        let all = pids(&victims(&stream));
        prop_assert!(pids(&victims(&kept)).iter().all(|victim| all.contains(victim)));
    }

    /// No value is told of a victim that no line of the kernel printed.
    #[test]
    fn forged_records_never_change_anything(stream in any_stream(), forged in prop::collection::vec(any_line(), 40)) {
        let forge = |forged: &[String]| {
            let mut sequence = 0;
            let mut records = Vec::new();
            for (genuine, forged) in stream.iter().zip(forged) {
                let text = String::from_utf8(genuine.clone()).unwrap();
                let (priority, rest) = text.split_once(',').unwrap();
                let (_, rest) = rest.split_once(',').unwrap();
                records.push(record(12, sequence, 0, "-", forged.as_bytes()));
                records.push(format!("{priority},{},{rest}", sequence + 1).into_bytes());
                sequence += 2;
            }
            victims(&records)
        };
        prop_assert_eq!(forge(&forged), forge(&vec!["a line".to_owned(); 40]));
    }

    #[test]
    fn any_messages_do_not_panic(messages in prop::collection::vec((0..10_u32, any::<Vec<u8>>()), 0..20)) {
        let mut kernel = Kernel::default();
        messages.iter().for_each(|(priority, message)| kernel.write(*priority, "c", message));
        kernel.victims();
    }

    #[test]
    fn any_records_do_not_panic(records in prop::collection::vec("[0-9,;c\\-\nKiled pros(x)tal:kBTMm.u/]{0,60}", 0..20)) {
        let mut reader = OomKillReader::new();
        for record in &records {
            if let Ok(record) = KmsgRecord::parse(record.as_bytes()) {
                reader.feed(&record);
            }
        }
    }
}
