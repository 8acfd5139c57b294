//! Lines of those that kill for want of memory beside the kernel's OOM killer.

use super::prefix::{Author, Origin};
use super::report::{OtherKill, OtherKiller};
use crate::kernel_log::text::{process_id, split_once};

/// The kill that a line tells of, if it does.
pub(super) fn parse(line: u64, origin: &Origin, message: &[u8]) -> Option<OtherKill> {
    let (killer, pid) = match &origin.author {
        Author::Program(tag) => by_program(tag, message.trim_ascii())?,
        Author::Kernel | Author::Unknown => (OtherKiller::LowMemoryKiller, low_memory_killer(message.trim_ascii())?),
    };
    let message = message.get(..LONGEST).unwrap_or(message).to_vec();
    Some(OtherKill { line, time: origin.time.clone(), killer, pid, message })
}

/// So much of the message is kept.
const LONGEST: usize = 1024;

fn by_program(tag: &[u8], message: &[u8]) -> Option<(OtherKiller, Option<u32>)> {
    let name = tag.split(|&byte| byte == b'[').next()?;
    match name {
        // `Killed CGROUP due to memory pressure …` and `… due to memory used (…) / total (…)` (src/oom/oomd-manager.c).
        b"systemd-oomd" => {
            let is_kill = message.starts_with(b"Killed /") && split_once(message, b" due to ").is_some();
            is_kill.then_some((OtherKiller::SystemdOomd, None))
        }
        // `sending SIGTERM to process N uid N "NAME": badness N, VmRSS N MiB` (kill.c; before 1.4 `Killing process N`).
        b"earlyoom" => {
            let begins = [&b"sending SIGTERM to process "[..], b"sending SIGKILL to process ", b"Killing process "];
            let rest = begins.iter().find_map(|begin| message.strip_prefix(*begin))?;
            let pid = rest.split(|byte| !byte.is_ascii_digit()).next().and_then(process_id);
            Some((OtherKiller::Earlyoom, pid))
        }
        _ => None,
    }
}

/// `lowmemorykiller: Killing 'NAME' (N), adj N,` (drivers/staging/android/lowmemorykiller.c, up to Linux 4.11).
fn low_memory_killer(message: &[u8]) -> Option<Option<u32>> {
    let rest = message.strip_prefix(b"lowmemorykiller: Killing '")?;
    let (_, pid) = split_once(rest, b"' (")?;
    Some(split_once(pid, b")").and_then(|(pid, _)| process_id(pid)))
}
