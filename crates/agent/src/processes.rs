//! The processes of each cgroup, as last seen: looked at anew where kills are likely, and elsewhere in turns.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use reprieve_judgement::{KillLedger, ProcessTable, SeenProcess, judge_likely_victims};
use reprieve_linux::{Cgroup, CgroupId, Problems, Roots, command_line, process_stat};
use reprieve_readings::{Bytes, CgroupInode, Limit, ProcessId};

use crate::node::Node;

/// What of a process's arguments is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandLines {
    /// All of them, up to a length.
    Full,
    /// The program only: arguments may hold secrets.
    Program,
    /// Nothing.
    Off,
}

/// Keeps the table of processes.
pub(crate) struct Processes {
    pub(crate) table: ProcessTable,
    command_lines: Option<CommandLineReader>,
    scans: u64,
}

impl Processes {
    /// Scans from one look at a quiet cgroup to the next.
    const TURNS: u64 = 16;
    /// Looks at once after a cgroup was found: its processes come after it.
    const FIRST_SCANS: u64 = 3;

    pub(crate) fn new(roots: &Roots, keep: CommandLines) -> Self {
        let command_lines =
            (keep != CommandLines::Off).then(|| CommandLineReader::start(roots.clone(), keep)).flatten();
        Processes { table: ProcessTable::default(), command_lines, scans: 0 }
    }

    /// Looks at the processes of cgroups after a scan: of those near their limit, of those that are new, and of a part of
    /// the others. Not where kills wait for a name: who has vanished from there must still be known.
    pub(crate) fn look(&mut self, ledger: &KillLedger, node: &mut Node) {
        self.take_command_lines();
        self.scans += 1;
        let mut problems = Problems::default();
        let due: Vec<CgroupId> = node
            .tree
            .iter()
            .filter(|cgroup| ledger.open_in(cgroup.inode()) == 0 && self.is_due(cgroup, node))
            .map(Cgroup::id)
            .collect();
        for id in due {
            if let Some(cgroup) = node.tree.get(id) {
                self.look_at(cgroup, &node.roots, &mut problems);
            }
        }
        node.problems.take(&problems);
    }

    /// Of the processes that were in a cgroup when last seen, the likely victims of `count` kills there.
    pub(crate) fn likely_victims(&self, cgroup: CgroupInode, count: u64, node: &mut Node) -> Vec<SeenProcess> {
        let mut problems = Problems::default();
        let Some(full) = self.full(cgroup, node) else { return Vec::new() };
        let has_vanished = |process: &SeenProcess| {
            let now = problems.keep(process_stat(&node.roots, process.id.pid));
            // What can't be looked at has not vanished.
            now.is_some_and(|now| now.is_none_or(|now| now.id != process.id || now.ended))
        };
        let likely = judge_likely_victims(self.table.members(cgroup), count, full, has_vanished);
        node.problems.take(&problems);
        likely
    }

    /// What a cgroup may use or, without a limit of its own, uses: in pages.
    fn full(&self, inode: CgroupInode, node: &Node) -> Option<u64> {
        let path = self.table.path(inode)?;
        let memory = node.tree.find(path).filter(|cgroup| cgroup.inode() == inode)?.memory();
        let bytes = memory.max.and_then(Limit::bytes).or(memory.usage)?;
        Some(bytes.get() / page_size())
    }

    /// Takes what arguments were read since last asked.
    pub(crate) fn take_command_lines(&mut self) {
        let Some(reader) = &self.command_lines else { return };
        while let Ok((id, line)) = reader.answers.try_recv() {
            self.table.see_command_line(id, line);
        }
    }

    fn is_due(&self, cgroup: &Cgroup, node: &Node) -> bool {
        let age = node.known.get(cgroup.id()).map_or(0, |known| u64::from(known.scans()));
        let turn = (cgroup.inode().0 + self.scans).is_multiple_of(Self::TURNS);
        age <= Self::FIRST_SCANS || turn || is_near_limit(cgroup)
    }

    fn look_at(&mut self, cgroup: &Cgroup, roots: &Roots, problems: &mut Problems) {
        let Some(pids) = problems.keep(cgroup.processes()) else { return };
        let mut seen = Vec::with_capacity(pids.len());
        for pid in pids {
            let Some(stat) = problems.keep(process_stat(roots, pid)).flatten().filter(|stat| !stat.ended) else {
                continue;
            };
            let known = self.table.find(pid).filter(|(.., process)| process.id == stat.id);
            // Another name is that of another program, which has other arguments: a runtime's process becomes the container's.
            let is_other =
                known.is_none_or(|(.., process)| process.command_line.is_none() || process.name != stat.name);
            if let Some(reader) = self.command_lines.as_ref().filter(|_| is_other) {
                reader.ask(stat.id);
            }
            seen.push(SeenProcess {
                id: stat.id,
                name: stat.name,
                resident_pages: stat.resident_pages,
                command_line: None,
            });
        }
        self.table.see(cgroup.inode(), cgroup.path(), seen);
    }
}

fn page_size() -> u64 {
    u64::try_from(rustix::param::page_size()).unwrap_or(4096)
}

/// Whether less than a quarter is left below the cgroup's own limit.
fn is_near_limit(cgroup: &Cgroup) -> bool {
    let memory = cgroup.memory();
    match (memory.usage, memory.max) {
        (Some(usage), Some(Limit::At(limit))) => usage >= Bytes::new(limit.get() - limit.get() / 4),
        _ => false,
    }
}

/// Reads arguments in a thread of its own: the kernel makes whoever reads them wait while their process holds its memory
/// lock, which it may do for as long as it waits for memory.
struct CommandLineReader {
    asked: SyncSender<ProcessId>,
    answers: Receiver<(ProcessId, Vec<u8>)>,
}

impl CommandLineReader {
    /// Longer arguments are cut.
    const LONGEST: usize = 256;
    /// Questions and answers that wait at most; more are asked again at the next look.
    const MOST_WAITING: usize = 1024;

    fn start(roots: Roots, keep: CommandLines) -> Option<Self> {
        let (asked, questions) = sync_channel::<ProcessId>(Self::MOST_WAITING);
        let (answer, answers) = sync_channel(Self::MOST_WAITING);
        let answer_all = move || {
            for id in questions {
                let line = command_line(&roots, id.pid, Self::LONGEST).ok().flatten();
                let stat = process_stat(&roots, id.pid).ok().flatten();
                let Some(line) = line.filter(|_| stat.is_some_and(|stat| stat.id == id)) else { continue };
                if answer.send((id, redacted(line, keep))).is_err() {
                    return;
                }
            }
        };
        let started = std::thread::Builder::new().name("command-lines".into()).stack_size(64 * 1024).spawn(answer_all);
        match started {
            Ok(_) => Some(CommandLineReader { asked, answers }),
            Err(error) => {
                tracing::warn!("command lines of victims will be unknown: can't start a thread: {error}");
                None
            }
        }
    }

    fn ask(&self, id: ProcessId) {
        // Full: the thread waits for some process. It is asked again at the next look.
        let _ = self.asked.try_send(id);
    }
}

fn redacted(line: Vec<u8>, keep: CommandLines) -> Vec<u8> {
    match keep {
        CommandLines::Program => line.split(|&byte| byte == b' ').next().unwrap_or_default().to_vec(),
        CommandLines::Full | CommandLines::Off => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redaction_leaves_the_program_only() {
        assert_eq!(redacted(b"/bin/db --password x".to_vec(), CommandLines::Program), b"/bin/db");
        assert_eq!(redacted(b"/bin/db --password x".to_vec(), CommandLines::Full), b"/bin/db --password x");
    }
}
