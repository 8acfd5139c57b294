//! Records of the kernel's log, and the kills among them.

use reprieve_readings::{KmsgRecord, OomKillReader, OomLogEvent, OomLogReader, OomLogReport, OomVictim};

use crate::assert_harmless;

/// One record of `/dev/kmsg`.
pub fn kmsg_record(input: &[u8]) {
    match KmsgRecord::parse(input) {
        Ok(record) => {
            assert!(record.level < 8);
            assert_eq!(record.is_from_kernel(), record.facility == 0);
            assert!(record.message().len() < input.len(), "unescaping made a message longer");
        }
        Err(error) => assert_harmless(&error.to_string()),
    }
}

/// A stream of records, one a line.
pub fn oom_kills(input: &[u8]) {
    let mut reader = OomKillReader::new();
    let mut victims: Vec<OomVictim> = Vec::new();
    for line in input.split_inclusive(|&byte| byte == b'\n') {
        let Ok(record) = KmsgRecord::parse(line) else { continue };
        if let Some(victim) = reader.feed(&record) {
            assert_told_by(&victim, &record);
            let named_before = victims.iter().any(|earlier| earlier.pid == victim.pid);
            assert!(!victim.repeat || (named_before && victim.oom_group.is_some()));
            victims.push(victim);
        }
    }
}

/// A log of any form. The first byte says in what chunks it comes.
pub fn oom_log(input: &[u8]) {
    let whole = log_events(input, input.len().max(1));
    let size = input.first().map_or(1, |&first| usize::from(first) + 1);
    assert_eq!(log_events(input, size), whole, "in chunks of {size} bytes");
    for event in &whole {
        match event {
            OomLogEvent::Report(report) => assert_sound(report),
            OomLogEvent::OtherKill(kill) => assert!(kill.message.len() <= input.len()),
        }
    }
}

fn log_events(log: &[u8], chunk: usize) -> Vec<OomLogEvent> {
    let mut events = Vec::new();
    let mut reader = OomLogReader::new();
    for chunk in log.chunks(chunk) {
        reader.feed(chunk, |event| events.push(event));
        assert!(reader.kept() < 1 << 20, "{} bytes are kept", reader.kept());
    }
    reader.finish(|event| events.push(event));
    events
}

fn assert_sound(report: &OomLogReport) {
    let pids: Vec<u32> = report.victims.iter().map(|victim| victim.pid).collect();
    assert!(pids.iter().enumerate().all(|(index, pid)| !pids.iter().take(index).any(|earlier| earlier == pid)));
    assert!(report.victims.iter().all(|victim| victim.lines > 0));
    assert!(report.missing.is_sorted());
    if let Some(tasks) = &report.tasks {
        assert!(tasks.rows.iter().all(|row| row.name.len() <= 60));
    }
    for stats in &report.stats {
        let _ = stats.memory_stat();
    }
}

fn assert_told_by(victim: &OomVictim, record: &KmsgRecord<'_>) {
    assert!(record.is_from_kernel());
    assert_eq!((victim.sequence, victim.since_boot), (record.sequence, record.since_boot));
    let message = record.message();
    let named = [b" (", &victim.name[..], b")"].concat();
    assert!(contains(&message, b"Killed process ") && contains(&message, &named), "{victim:?}");
    assert!(victim.total_vm.is_some());
    if let (Some(oom_memcg), Some(task_memcg)) = (&victim.report.oom_memcg, &victim.report.task_memcg) {
        assert!(task_memcg.below(oom_memcg).is_some(), "{task_memcg} was killed for {oom_memcg}");
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}
