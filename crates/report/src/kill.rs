//! One kill, told in one line.

use std::fmt;

use reprieve_judgement::{FirstProcess, Kill};
use reprieve_readings::{Bytes, CgroupPath, Escaped, Limit, OomScope, Owner};

/// A kill with what is known of its cgroup. `Display` tells it in one line for people; the methods give its parts.
#[derive(Debug, Clone)]
pub struct KillReport {
    /// The kill.
    pub kill: Kill,
    /// Whose cgroup it was in.
    pub owner: Owner,
    /// The cgroup whose limit was hit, if it was a cgroup's.
    pub limited_cgroup: Option<CgroupPath>,
    /// That cgroup's limit.
    pub limit: Option<Limit>,
    /// The memory charged to that cgroup when the limit was hit, if the kernel's report tells.
    pub usage: Option<Bytes>,
    /// The memory charged to it right after the kill, where the report is missing.
    pub usage_after: Option<Bytes>,
}

impl KillReport {
    /// The victim's name, escaped.
    pub fn name(&self) -> Option<String> {
        self.kill.victim.as_ref().map(|victim| Escaped(&victim.name).to_string())
    }

    /// Whose memory had run out: `memory_cgroup` or `global`.
    pub fn scope(&self) -> Option<&'static str> {
        self.kill.victim.as_ref()?.scope.map(|scope| match scope {
            OomScope::MemoryCgroup => "memory_cgroup",
            OomScope::Global => "global",
        })
    }

    /// Whether Kubernetes can see it: `visible`, `invisible` or `unknown`.
    pub fn visibility(&self) -> &'static str {
        match self.kill.first_process {
            FirstProcess::Survived => "invisible",
            FirstProcess::Killed => "visible",
            FirstProcess::Unknown => "unknown",
        }
    }

    fn write_who(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kill.victim {
            None if self.kill.count == 1 => f.write_str("1 process, not named by the kernel's log,"),
            None => write!(f, "{} processes, not named by the kernel's log,", self.kill.count),
            Some(victim) => {
                write!(f, "{} (pid {}", Escaped(&victim.name), victim.pid)?;
                if let Some(uid) = victim.uid {
                    write!(f, ", uid {uid}")?;
                }
                f.write_str(")")
            }
        }
    }

    fn write_where(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kill.cgroup {
            None => f.write_str(" in an unknown cgroup")?,
            Some(cgroup) => write!(f, " in {}{cgroup}", if self.kill.cgroup_certain { "" } else { "(probably) " })?,
        }
        if let Some(container) = &self.owner.container {
            write!(f, ", container {container}")?;
        }
        if let Some(pod) = &self.owner.pod {
            write!(f, ", pod {pod}")?;
        }
        if let Some(unit) = &self.owner.unit {
            write!(f, ", unit {unit}")?;
        }
        Ok(())
    }

    fn write_sizes(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(victim) = &self.kill.victim else { return Ok(()) };
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
        match (self.usage, self.limit) {
            (Some(usage), Some(Limit::At(limit))) => write!(f, "; usage {usage} of limit {limit}")?,
            (Some(usage), _) => write!(f, "; usage {usage}")?,
            (None, Some(Limit::At(limit))) => write!(f, "; limit {limit}")?,
            (None, _) => return Ok(()),
        }
        if let Some(usage) = self.usage_after {
            write!(f, ", usage after the kill {usage}")?;
        }
        match &self.limited_cgroup {
            Some(limited) if self.limited_cgroup != self.kill.cgroup => write!(f, " (of {limited})"),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for KillReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OOM kill: ")?;
        self.write_who(f)?;
        self.write_where(f)?;
        self.write_sizes(f)?;
        self.write_limit(f)?;
        f.write_str(match self.kill.first_process {
            FirstProcess::Survived => "; the first process survived: invisible to Kubernetes",
            FirstProcess::Killed => "; the first process died with it",
            FirstProcess::Unknown => "; what became of the first process is unknown",
        })
    }
}

#[cfg(test)]
mod tests {
    use reprieve_readings::{KmsgRecord, OomKillReader};

    use super::*;

    fn report(name: &str) -> KillReport {
        let line = format!(
            "3,1,2,-;Memory cgroup out of memory: Killed process 42 ({name}) total-vm:1000kB, anon-rss:900kB, \
             file-rss:0kB, shmem-rss:4kB, UID:7 pgtables:44kB oom_score_adj:0\n"
        );
        let victim = OomKillReader::new().feed(&KmsgRecord::parse(line.as_bytes()).unwrap()).unwrap();
        let cgroup = CgroupPath::new(b"/system.slice/web.service");
        KillReport {
            owner: Owner::of(&cgroup),
            limited_cgroup: Some(cgroup.clone()),
            limit: Some(Limit::At(Bytes::from_mib(1))),
            usage: Some(Bytes::from_mib(1)),
            usage_after: None,
            kill: Kill {
                victim: Some(victim),
                count: 1,
                cgroup: Some(cgroup),
                cgroup_certain: true,
                first_process: FirstProcess::Survived,
            },
        }
    }

    #[test]
    fn a_kill_is_one_line_that_says_it_all() {
        assert_eq!(
            report("worker").to_string(),
            "OOM kill: worker (pid 42, uid 7) in /system.slice/web.service, unit web.service: anon 900.0 KiB, file 0 B, \
             shmem 4.0 KiB; usage 1.0 MiB of limit 1.0 MiB; the first process survived: invisible to Kubernetes"
        );
    }

    #[test]
    fn usage_read_after_the_kill_is_not_taken_for_usage_at_the_kill() {
        let unreported = KillReport { usage: None, usage_after: Some(Bytes::from_kib(8)), ..report("x") }.to_string();
        assert!(unreported.contains("; limit 1.0 MiB, usage after the kill 8.0 KiB; the first"), "{unreported}");
    }

    #[test]
    fn what_is_not_known_is_said_so() {
        let mut unnamed = report("x");
        unnamed.kill =
            Kill { victim: None, count: 3, cgroup: None, cgroup_certain: false, first_process: FirstProcess::Unknown };
        unnamed.owner = Owner::default();
        unnamed.usage = None;
        unnamed.limit = None;
        assert_eq!(
            unnamed.to_string(),
            "OOM kill: 3 processes, not named by the kernel's log, in an unknown cgroup; \
             what became of the first process is unknown"
        );
    }

    #[test]
    fn no_control_character_gets_through() {
        let line = report("a\\x1b[31m\\x0ab").to_string();
        assert!(line.contains("a\\x1b[31m\\nb (pid 42"), "{line}");
        assert!(!line.chars().any(char::is_control));
    }
}
