//! How often a cgroup met its limits: v2's `memory.events`, v1's `memory.oom_control`.

use crate::parse::{self, ParseError};

/// Counters of v2's `memory.events` and `memory.events.local`, since the cgroup was made.
/// A counter that this kernel lacks is `None`.
///
/// Source: Documentation/admin-guide/cgroup-v2.rst ("memory.events"), Linux 6.18.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MemoryEvents {
    /// Times it was reclaimed although below `memory.low`.
    pub low: Option<u64>,
    /// Times it was throttled for exceeding `memory.high`.
    pub high: Option<u64>,
    /// Times its usage was about to go over `memory.max`.
    pub max: Option<u64>,
    /// Times an allocation was about to fail at the limit.
    pub oom: Option<u64>,
    /// Processes killed by any OOM killer.
    pub oom_kill: Option<u64>,
    /// Times the whole cgroup was killed (Linux 5.17).
    pub oom_group_kill: Option<u64>,
}

impl MemoryEvents {
    /// Parses `memory.events` or `memory.events.local`. Unknown keys are passed over.
    pub fn parse(text: &[u8]) -> Result<Self, ParseError> {
        let mut events = MemoryEvents::default();
        parse::key_values(text, |key, value| {
            let field = match key {
                b"low" => &mut events.low,
                b"high" => &mut events.high,
                b"max" => &mut events.max,
                b"oom" => &mut events.oom,
                b"oom_kill" => &mut events.oom_kill,
                b"oom_group_kill" => &mut events.oom_group_kill,
                _ => return,
            };
            *field = Some(value);
        })?;
        Ok(events)
    }
}

/// v1's `memory.oom_control`.
///
/// Source: Documentation/admin-guide/cgroup-v1/memory.rst (section 10), Linux 6.18.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OomControl {
    /// The OOM killer is off for this cgroup: at its limit, its processes wait.
    pub kill_disabled: Option<bool>,
    /// Its processes are waiting for memory now.
    pub under_oom: Option<bool>,
    /// Processes of this cgroup itself killed by any OOM killer (Linux 4.13).
    pub oom_kill: Option<u64>,
}

impl OomControl {
    /// Parses `memory.oom_control`. Unknown keys are passed over.
    pub fn parse(text: &[u8]) -> Result<Self, ParseError> {
        let mut control = OomControl::default();
        parse::key_values(text, |key, value| match key {
            b"oom_kill_disable" => control.kill_disabled = Some(value != 0),
            b"under_oom" => control.under_oom = Some(value != 0),
            b"oom_kill" => control.oom_kill = Some(value),
            _ => {}
        })?;
        Ok(control)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_that_a_kernel_lacks_are_none() {
        let events = MemoryEvents::parse(b"low 0\nhigh 1\nmax 2\noom 3\noom_kill 4\nsock_throttled 9\n").unwrap();
        assert_eq!((events.oom_kill, events.oom_group_kill), (Some(4), None));
        let control = OomControl::parse(b"oom_kill_disable 0\nunder_oom 1\n").unwrap();
        assert_eq!((control.under_oom, control.oom_kill), (Some(true), None));
    }

    #[test]
    fn malformed_text_is_an_error() {
        for text in [&b""[..], b"oom_kill", b"oom_kill 1", b"oom_kill -1\n", b"\xff\xff\n"] {
            assert!(MemoryEvents::parse(text).is_err(), "{text:?}");
            assert!(OomControl::parse(text).is_err(), "{text:?}");
        }
    }
}
