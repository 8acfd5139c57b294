//! Records of the kernel's log, and the kills among them.

use reprieve_readings::{KmsgRecord, OomKillReader, OomVictim};

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
