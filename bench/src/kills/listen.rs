//! Hearing of kills: from the kernel's log itself, and from programs that tell of them line by line.
//!
//! Each source has a thread that waits for it and notes CLOCK_MONOTONIC as soon as it has read something.

use std::io::Read;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use anyhow::{Context, Result};
use reprieve_linux::{KmsgEvent, KmsgReader};
use reprieve_readings::{KmsgRecord, OomKillReader};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::time::{ClockId, clock_gettime};

/// What the text of a marker begins with; its number follows.
pub(crate) const MARKER: &str = "reprieve-bench: clock marker ";

/// Something that the kernel's log said.
pub(crate) enum Record {
    /// A process was killed.
    Kill(KillRecord),
    /// A marker of ours.
    Mark {
        /// Which.
        number: u64,
        /// Its time by the log, in microseconds.
        logged: f64,
    },
}

/// The kernel's line that names a victim.
#[derive(Clone, Copy)]
pub(crate) struct KillRecord {
    /// The victim.
    pub(crate) pid: u32,
    /// The line's number in the log.
    pub(crate) sequence: u64,
    /// The line's time by the log, in microseconds.
    pub(crate) logged: f64,
    /// Whether the whole report was printed, or only this line.
    pub(crate) with_report: bool,
    /// When the bench itself had read the line, by CLOCK_MONOTONIC in microseconds.
    pub(crate) read: f64,
}

/// A program's line that names a victim.
pub(crate) struct Told {
    /// The victim.
    pub(crate) pid: u32,
    /// When the line had arrived, by CLOCK_MONOTONIC in microseconds.
    pub(crate) at: f64,
}

/// CLOCK_MONOTONIC in microseconds.
pub(crate) fn monotonic() -> f64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as f64 * 1e6 + now.tv_nsec as f64 / 1e3
}

/// Listens to the kernel's log from now on.
pub(crate) fn listen_to_kernel() -> Result<Receiver<Record>> {
    let mut kmsg = KmsgReader::open_at_end(Path::new("/dev/kmsg")).context("/dev/kmsg can't be read")?;
    let (sender, records) = channel();
    thread::spawn(move || {
        let mut kills = OomKillReader::new();
        loop {
            // An interrupted wait finds nothing and waits again.
            let _ = poll(&mut [PollFd::new(&kmsg, PollFlags::IN)], None);
            if pass_on(&mut kmsg, &mut kills, &sender).is_none() {
                return;
            }
        }
    });
    Ok(records)
}

/// Passes on what the log holds; `None` once nobody listens any more or the log can't be read.
fn pass_on(kmsg: &mut KmsgReader, kills: &mut OomKillReader, sender: &Sender<Record>) -> Option<()> {
    loop {
        let record = match kmsg.next_event().ok()? {
            KmsgEvent::Record(record) => KmsgRecord::parse(record).ok(),
            KmsgEvent::Overrun => None,
            KmsgEvent::Empty => return Some(()),
        };
        let read = monotonic();
        let Some(record) = record else { continue };
        let logged = record.since_boot.as_secs_f64() * 1e6;
        let mark = String::from_utf8_lossy(&record.message()).strip_prefix(MARKER).and_then(|rest| rest.parse().ok());
        let victim = kills.feed(&record);
        if let Some(number) = mark {
            sender.send(Record::Mark { number, logged }).ok()?;
        }
        if let Some(victim) = victim {
            let with_report = victim.report.task_memcg.is_some();
            sender
                .send(Record::Kill(KillRecord {
                    pid: victim.pid,
                    sequence: record.sequence,
                    logged,
                    with_report,
                    read,
                }))
                .ok()?;
        }
    }
}

/// Listens to a program's output from now on. `parse` finds the victim in a line.
pub(crate) fn listen_to(mut output: impl Read + Send + 'static, parse: fn(&str) -> Option<u32>) -> Receiver<Told> {
    let (sender, told) = channel();
    thread::spawn(move || {
        let mut chunk = vec![0; 64 * 1024];
        let mut unfinished = Vec::new();
        while let Ok(length @ 1..) = output.read(&mut chunk) {
            let at = monotonic();
            unfinished.extend_from_slice(chunk.get(..length).unwrap_or_default());
            while let Some(end) = unfinished.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = unfinished.drain(..=end).collect();
                if let Some(pid) = parse(&String::from_utf8_lossy(&line))
                    && sender.send(Told { pid, at }).is_err()
                {
                    return;
                }
            }
        }
    });
    told
}

/// The victim in a log line of the agent: `… OOM kill: tail (pid 42, uid 0) in …`.
pub(crate) fn parse_agent_line(line: &str) -> Option<u32> {
    number_after(line.split_once("OOM kill: ")?.1, "(pid ")
}

/// The victim in a line of dmesg: `[   12.345678] Memory cgroup out of memory: Killed process 42 (tail) …`.
pub(crate) fn parse_kernel_line(line: &str) -> Option<u32> {
    number_after(line, "Killed process ")
}

fn number_after(text: &str, before: &str) -> Option<u32> {
    let rest = text.split_once(before)?.1;
    rest.split(|character: char| !character.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{parse_agent_line, parse_kernel_line};

    #[test]
    fn the_victim_is_found_in_either_line() {
        let ours = "2026-11-23T22:00:00Z  WARN OOM kill: tail (pid 42, uid 0) in /a, container 4f: anon 1 B\n";
        assert_eq!(parse_agent_line(ours), Some(42));
        assert_eq!(parse_agent_line("2026-11-23T22:00:00Z  INFO found (pid 42)\n"), None);
        let kernel = "[ 3463.8] Memory cgroup out of memory: Killed process 42 (tail) total-vm:68148kB\n";
        assert_eq!(parse_kernel_line(kernel), Some(42));
    }
}
