//! Did the first process of a container survive a kill, so that nobody is told?
//!
//! A container runtime reports an OOM kill when the container's first process ends. When the kernel takes another one,
//! the container goes on, and Kubernetes says nothing: such a kill is invisible.

use reprieve_readings::ProcessId;

/// What became of the first process of a container (or other cgroup) when one of its processes was killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FirstProcess {
    /// It lives: the kill is invisible.
    Survived,
    /// It was the victim, or dies with it.
    Killed,
    /// It can't be told.
    Unknown,
}

impl FirstProcess {
    /// How it is written in logs.
    pub fn as_str(self) -> &'static str {
        match self {
            FirstProcess::Survived => "survived",
            FirstProcess::Killed => "killed",
            FirstProcess::Unknown => "unknown",
        }
    }
}

/// What is known of a victim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VictimProcess {
    /// Its pid.
    pub pid: u32,
    /// When it started, if that could still be read.
    pub start_time: Option<u64>,
}

/// The first process of a container, as seen before a kill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RememberedProcess {
    /// Which process.
    pub id: ProcessId,
    /// Whether it still runs after the kill.
    pub running: bool,
}

/// Of the other processes of a container that still run after a kill, the one that started first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OldestSurvivor {
    /// Which process.
    pub id: ProcessId,
    /// Whether it is PID 1 of a pid namespace of its own.
    pub namespace_init: bool,
}

/// Judges by what was remembered. `None` where nothing was, or where the remembered process had ended before (as the
/// first process of a daemon does): the survivors must tell then.
pub fn judge_remembered(victim: VictimProcess, first: Option<RememberedProcess>) -> Option<FirstProcess> {
    match first? {
        first if first.id.pid == victim.pid => Some(FirstProcess::Killed),
        first if first.running => Some(FirstProcess::Survived),
        _ => None,
    }
}

/// Judges by the oldest survivor; `None` stands for no survivor at all.
pub fn judge_survivors(victim: VictimProcess, oldest: Option<OldestSurvivor>) -> FirstProcess {
    let Some(oldest) = oldest else { return FirstProcess::Killed };
    if oldest.namespace_init {
        return FirstProcess::Survived;
    }
    match victim.start_time {
        None => FirstProcess::Unknown,
        Some(start_time) if (oldest.id.start_time, oldest.id.pid) < (start_time, victim.pid) => FirstProcess::Survived,
        Some(_) => FirstProcess::Killed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VICTIM: VictimProcess = VictimProcess { pid: 20, start_time: Some(200) };

    fn remembered(pid: u32, running: bool) -> Option<RememberedProcess> {
        Some(RememberedProcess { id: ProcessId { pid, start_time: 100 }, running })
    }

    fn survivor(pid: u32, start_time: u64, namespace_init: bool) -> Option<OldestSurvivor> {
        Some(OldestSurvivor { id: ProcessId { pid, start_time }, namespace_init })
    }

    #[test]
    fn a_remembered_first_process_decides() {
        assert_eq!(judge_remembered(VICTIM, remembered(10, true)), Some(FirstProcess::Survived));
        assert_eq!(judge_remembered(VICTIM, remembered(20, true)), Some(FirstProcess::Killed));
        assert_eq!(judge_remembered(VICTIM, remembered(20, false)), Some(FirstProcess::Killed));
        assert_eq!(judge_remembered(VICTIM, remembered(10, false)), None, "it had ended before");
        assert_eq!(judge_remembered(VICTIM, None), None);
    }

    #[test]
    fn else_whoever_is_older_was_the_first() {
        assert_eq!(judge_survivors(VICTIM, survivor(10, 100, false)), FirstProcess::Survived);
        assert_eq!(judge_survivors(VICTIM, survivor(30, 300, false)), FirstProcess::Killed);
        assert_eq!(judge_survivors(VICTIM, survivor(19, 200, false)), FirstProcess::Survived, "in the same tick");
        assert_eq!(judge_survivors(VICTIM, None), FirstProcess::Killed, "it was alone");
    }

    #[test]
    fn a_victim_that_is_gone_leaves_it_open_unless_a_pid_1_is_there() {
        let gone = VictimProcess { start_time: None, ..VICTIM };
        assert_eq!(judge_survivors(gone, survivor(30, 300, false)), FirstProcess::Unknown);
        assert_eq!(judge_survivors(gone, survivor(30, 300, true)), FirstProcess::Survived);
    }
}
