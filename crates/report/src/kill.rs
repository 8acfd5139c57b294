//! One kill, told in one line.

use std::fmt;

use reprieve_judgement::{FirstProcess, Identity, KillRecord};
use reprieve_readings::{Escaped, Limit};

/// Tells a record of the ledger in one line for people, by `Display`.
#[derive(Debug, Clone, Copy)]
pub struct KillSentence<'a>(pub &'a KillRecord);

impl KillSentence<'_> {
    fn write_who(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let record = self.0;
        match &record.victim {
            None if record.count == 1 => f.write_str("1 process, not named by the kernel,"),
            None => write!(f, "{} processes, not named by the kernel,", record.count),
            Some(victim) => {
                if record.identity == Identity::Likely {
                    f.write_str("probably ")?;
                }
                write!(f, "{} (pid {}", Escaped(&victim.name), victim.pid)?;
                if let Some(uid) = victim.uid {
                    write!(f, ", uid {uid}")?;
                }
                f.write_str(")")
            }
        }
    }

    fn write_where(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let owner = self.0.owner();
        match &self.0.cgroup {
            None => f.write_str(" in an unknown cgroup")?,
            Some(cgroup) => write!(f, " in {}{cgroup}", if self.0.cgroup_certain { "" } else { "(probably) " })?,
        }
        if let Some(container) = &owner.container {
            write!(f, ", container {container}")?;
        }
        if let Some(pod) = &owner.pod {
            write!(f, ", pod {pod}")?;
        }
        if let Some(unit) = &owner.unit {
            write!(f, ", unit {unit}")?;
        }
        Ok(())
    }

    fn write_sizes(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(victim) = &self.0.victim else { return Ok(()) };
        let sizes = [("anon", victim.anon_rss), ("file", victim.file_rss), ("shmem", victim.shmem_rss)];
        let mut separator = ": ";
        for (name, bytes) in sizes {
            if let Some(bytes) = bytes {
                write!(f, "{separator}{name} {bytes}")?;
                separator = ", ";
            }
        }
        Ok(())
    }

    fn write_limit(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0.usage, self.0.limit) {
            (Some(usage), Some(Limit::At(limit))) => write!(f, "; usage {usage} of limit {limit}")?,
            (Some(usage), _) => write!(f, "; usage {usage}")?,
            (None, Some(Limit::At(limit))) => write!(f, "; limit {limit}")?,
            (None, _) => return Ok(()),
        }
        if let Some(usage) = self.0.usage_after {
            write!(f, ", usage after the kill {usage}")?;
        }
        match &self.0.limited_cgroup {
            Some(limited) if self.0.limited_cgroup != self.0.cgroup => write!(f, " (of {limited})"),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for KillSentence<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OOM kill: ")?;
        self.write_who(f)?;
        self.write_where(f)?;
        self.write_sizes(f)?;
        self.write_limit(f)?;
        f.write_str(match self.0.first_process {
            FirstProcess::Survived => "; the first process survived: invisible to Kubernetes",
            FirstProcess::Killed => "; the first process died with it",
            FirstProcess::Unknown => "; what became of the first process is unknown",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use reprieve_judgement::{KillId, OomKind, Victim};
    use reprieve_readings::{BootId, Bytes, CgroupPath};

    use super::*;

    fn record(name: &[u8]) -> KillRecord {
        let cgroup = Some(CgroupPath::new(b"/system.slice/web.service"));
        KillRecord {
            id: KillId(1),
            boot: BootId(1),
            since_boot: Duration::ZERO,
            killed_at: Duration::ZERO,
            sequence: Some(1),
            history: false,
            count: 1,
            repeats: 0,
            victim: Some(Victim {
                pid: 42,
                name: name.to_vec(),
                command_line: None,
                uid: Some(7),
                total_vm: None,
                anon_rss: Some(Bytes::from_kib(900)),
                file_rss: Some(Bytes::ZERO),
                shmem_rss: Some(Bytes::from_kib(4)),
                pgtables: None,
                oom_score_adj: None,
            }),
            identity: Identity::Exact,
            cgroup: cgroup.clone(),
            cgroup_certain: true,
            kind: OomKind::CgroupLimit,
            whole_cgroup: None,
            limited_cgroup: cgroup,
            limit: Some(Limit::At(Bytes::from_mib(1))),
            usage: Some(Bytes::from_mib(1)),
            usage_after: None,
            trigger: None,
            first_process: FirstProcess::Survived,
        }
    }

    fn line(record: &KillRecord) -> String {
        KillSentence(record).to_string()
    }

    #[test]
    fn a_kill_is_one_line_that_says_it_all() {
        assert_eq!(
            line(&record(b"worker")),
            "OOM kill: worker (pid 42, uid 7) in /system.slice/web.service, unit web.service: anon 900.0 KiB, file 0 B, \
             shmem 4.0 KiB; usage 1.0 MiB of limit 1.0 MiB; the first process survived: invisible to Kubernetes"
        );
        let likely = KillRecord { identity: Identity::Likely, cgroup_certain: false, ..record(b"worker") };
        let line = line(&likely);
        assert!(line.starts_with("OOM kill: probably worker (pid 42, uid 7) in (probably) /system.slice"), "{line}");
    }

    #[test]
    fn usage_read_after_the_kill_is_not_taken_for_usage_at_the_kill() {
        let unreported = KillRecord { usage: None, usage_after: Some(Bytes::from_kib(8)), ..record(b"x") };
        let line = line(&unreported);
        assert!(line.contains("; limit 1.0 MiB, usage after the kill 8.0 KiB; the first"), "{line}");
    }

    #[test]
    fn what_is_not_known_is_said_so() {
        let unnamed = KillRecord {
            victim: None,
            identity: Identity::Unknown,
            count: 3,
            cgroup: None,
            cgroup_certain: false,
            first_process: FirstProcess::Unknown,
            usage: None,
            limit: None,
            ..record(b"x")
        };
        assert_eq!(
            line(&unnamed),
            "OOM kill: 3 processes, not named by the kernel, in an unknown cgroup; \
             what became of the first process is unknown"
        );
    }

    #[test]
    fn no_control_character_gets_through() {
        let line = line(&record(b"a\x1b[31m\nb"));
        assert!(line.contains("a\\x1b[31m\\nb (pid 42"), "{line}");
        assert!(!line.chars().any(char::is_control));
    }
}
