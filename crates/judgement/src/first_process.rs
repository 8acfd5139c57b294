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

/// What was found right after the kill.
#[derive(Debug, Clone, Default)]
pub struct Aftermath {
    /// The victim's pid.
    pub victim: u32,
    /// When the victim started, if it could still be read.
    pub victim_start_time: Option<u64>,
    /// The first process, as seen before the kill, and whether it still runs.
    pub remembered: Option<(ProcessId, bool)>,
    /// All other processes of the container that still run.
    pub others: Vec<OtherProcess>,
    /// The whole container dies (`memory.oom.group`).
    pub group_kill: bool,
}

/// A process that was not the victim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OtherProcess {
    /// Which process.
    pub id: ProcessId,
    /// Whether it is PID 1 of a pid namespace of its own.
    pub namespace_init: bool,
}

/// Judges what became of the first process.
pub fn judge_first_process(aftermath: &Aftermath) -> FirstProcess {
    if aftermath.group_kill {
        return FirstProcess::Killed;
    }
    match aftermath.remembered {
        Some((first, _)) if first.pid == aftermath.victim => return FirstProcess::Killed,
        Some((_, true)) => return FirstProcess::Survived,
        // It ended before (a daemon that forks), or was never seen: the processes that are there must tell.
        Some((_, false)) | None => {}
    }
    if aftermath.others.is_empty() {
        return FirstProcess::Killed;
    }
    if aftermath.others.iter().any(|other| other.namespace_init) {
        return FirstProcess::Survived;
    }
    match aftermath.victim_start_time {
        Some(start_time) => {
            let victim = (start_time, aftermath.victim);
            let older = aftermath.others.iter().any(|other| (other.id.start_time, other.id.pid) < victim);
            if older { FirstProcess::Survived } else { FirstProcess::Killed }
        }
        None => FirstProcess::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: ProcessId = ProcessId { pid: 10, start_time: 100 };

    fn other(pid: u32, start_time: u64) -> OtherProcess {
        OtherProcess { id: ProcessId { pid, start_time }, namespace_init: false }
    }

    fn child_killed() -> Aftermath {
        Aftermath { victim: 20, victim_start_time: Some(200), ..Aftermath::default() }
    }

    fn check(aftermath: Aftermath, expected: FirstProcess) {
        assert_eq!(judge_first_process(&aftermath), expected, "{aftermath:?}");
    }

    #[test]
    fn a_remembered_first_process_decides() {
        check(Aftermath { remembered: Some((FIRST, true)), ..child_killed() }, FirstProcess::Survived);
        check(Aftermath { victim: 10, remembered: Some((FIRST, true)), ..child_killed() }, FirstProcess::Killed);
    }

    #[test]
    fn else_the_oldest_process_is_the_first() {
        check(Aftermath { others: vec![other(30, 300), other(10, 100)], ..child_killed() }, FirstProcess::Survived);
        check(Aftermath { others: vec![other(30, 300)], ..child_killed() }, FirstProcess::Killed);
        check(Aftermath { others: vec![other(19, 200)], ..child_killed() }, FirstProcess::Survived);
        check(
            Aftermath { remembered: Some((FIRST, false)), others: vec![other(5, 50)], ..child_killed() },
            FirstProcess::Survived,
        );
    }

    #[test]
    fn a_victim_that_was_alone_was_the_first() {
        check(child_killed(), FirstProcess::Killed);
    }

    #[test]
    fn a_victim_that_is_gone_leaves_it_open_unless_a_pid_1_is_there() {
        let gone = Aftermath { victim_start_time: None, others: vec![other(30, 300)], ..child_killed() };
        check(gone.clone(), FirstProcess::Unknown);
        let init = OtherProcess { namespace_init: true, ..other(30, 300) };
        check(Aftermath { others: vec![init], ..gone }, FirstProcess::Survived);
    }

    #[test]
    fn a_group_kill_takes_the_first_process_too() {
        check(Aftermath { group_kill: true, remembered: Some((FIRST, true)), ..child_killed() }, FirstProcess::Killed);
    }
}
