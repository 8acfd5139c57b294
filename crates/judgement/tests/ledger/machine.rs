//! The machine: cgroups that come and go, and kills that are counted, marked and printed in the kernel's order.

use std::time::Duration;

use reprieve_judgement::{FirstProcess, Place, Sighting};
use reprieve_readings::{CgroupInode, CgroupPath, OomReport, OomVictim};

use crate::random::Random;

pub(crate) struct Cgroup {
    pub(crate) path: CgroupPath,
    pub(crate) inode: CgroupInode,
    pub(crate) kills: u64,
    pub(crate) alive: bool,
}

/// A kill as it really was.
pub(crate) struct Kill {
    pub(crate) pid: u32,
    pub(crate) path: CgroupPath,
    /// Counted when the machine had counted so many.
    pub(crate) number: u64,
    /// Whether its line could be read at all.
    pub(crate) line_lost: bool,
}

pub(crate) struct Line {
    pub(crate) sequence: u64,
    pub(crate) victim: OomVictim,
    pub(crate) place: Option<Place>,
    pub(crate) lost: bool,
}

/// What is still to happen of the kill under way: the kernel kills one at a time.
enum Stage {
    Count { cgroup: usize, pid: u32, repeat: bool },
    Mark { cgroup: usize, pid: u32, repeat: bool },
    Print { cgroup: usize, pid: u32, repeat: bool },
}

pub(crate) struct Machine {
    pub(crate) now: Duration,
    pub(crate) node_kills: u64,
    pub(crate) counts_node: bool,
    pub(crate) cgroups: Vec<Cgroup>,
    pub(crate) lines: Vec<Line>,
    pub(crate) marks: Vec<Sighting>,
    pub(crate) truth: Vec<Kill>,
    stages: Vec<Stage>,
    next_pid: u32,
    next_inode: u64,
    /// How well the log tells the cgroup, and how much of it is overwritten unread.
    report_percent: u64,
    lost_percent: u64,
    /// The machine stands still between counting and printing a kill, for longer than the ledger waits.
    pub(crate) stalls: bool,
    /// A cgroup was made under the path of an earlier one. The log names paths only, so it can't be told from that.
    pub(crate) path_used_again: bool,
}

impl Machine {
    pub(crate) fn new(random: &mut Random) -> Self {
        let mut machine = Machine {
            now: Duration::from_secs(100),
            node_kills: random.below(3),
            counts_node: random.percent(95),
            cgroups: Vec::new(),
            lines: Vec::new(),
            marks: Vec::new(),
            truth: Vec::new(),
            stages: Vec::new(),
            next_pid: 1000,
            next_inode: 1,
            report_percent: [0, 30, 100][random.below(3) as usize],
            lost_percent: [0, 0, 20][random.below(3) as usize],
            stalls: random.percent(10),
            path_used_again: false,
        };
        for _ in 0..=random.below(3) {
            machine.make_cgroup(random);
        }
        machine
    }

    pub(crate) fn step(&mut self, random: &mut Random) {
        if !self.stages.is_empty() && random.percent(70) {
            return self.advance_kill(random);
        }
        match random.below(10) {
            0..=5 => self.begin_kill(random),
            6 => self.make_cgroup(random),
            7 | 8 => self.remove_cgroup(random),
            _ => self.mark_process_that_ends_anyway(random),
        }
    }

    pub(crate) fn pass_time(&mut self, random: &mut Random) {
        if !self.stalls {
            self.finish_kill();
        }
        self.now += Duration::from_millis(random.below(3000));
    }

    /// Lets the kill under way come to its end.
    pub(crate) fn finish_kill(&mut self) {
        let mut random = Random::new(0);
        while !self.stages.is_empty() {
            self.advance_kill(&mut random);
        }
    }

    fn alive(&self, random: &mut Random) -> Option<usize> {
        let alive: Vec<usize> = (0..self.cgroups.len()).filter(|&index| self.cgroups[index].alive).collect();
        (!alive.is_empty()).then(|| alive[random.below(alive.len() as u64) as usize])
    }

    fn begin_kill(&mut self, random: &mut Random) {
        let Some(cgroup) = self.alive(random) else { return };
        if !self.stages.is_empty() {
            return;
        }
        let mut take = |count: u64| {
            (0..count)
                .map(|_| {
                    self.next_pid += 1;
                    self.next_pid
                })
                .collect::<Vec<u32>>()
        };
        let mut victims: Vec<(u32, bool)> = take(1).into_iter().map(|pid| (pid, false)).collect();
        if random.percent(15) {
            // A group kill: the first victim, then each of the group, the first once more.
            victims.push((victims[0].0, true));
            victims.extend(take(random.below(3)).into_iter().map(|pid| (pid, false)));
        }
        for (pid, repeat) in victims.into_iter().rev() {
            self.stages.push(Stage::Print { cgroup, pid, repeat });
            self.stages.push(Stage::Mark { cgroup, pid, repeat });
            self.stages.push(Stage::Count { cgroup, pid, repeat });
        }
    }

    fn advance_kill(&mut self, random: &mut Random) {
        match self.stages.pop() {
            None => {}
            Some(Stage::Count { cgroup, pid, repeat }) => {
                self.node_kills += 1;
                self.cgroups[cgroup].kills += 1;
                if !repeat {
                    let path = self.cgroups[cgroup].path.clone();
                    self.truth.push(Kill { pid, path, number: self.node_kills, line_lost: false });
                }
            }
            Some(Stage::Mark { cgroup, pid, repeat: false }) if random.percent(80) => {
                let place = random.percent(50).then(|| self.place(cgroup));
                self.marks.push(self.sighting(self.victim(pid, false), place));
            }
            Some(Stage::Mark { .. }) => {}
            Some(Stage::Print { cgroup, pid, repeat }) => {
                let place = random.percent(self.report_percent).then(|| self.place(cgroup));
                let lost = random.percent(self.lost_percent);
                if lost && let Some(kill) = self.truth.iter_mut().find(|kill| kill.pid == pid) {
                    kill.line_lost = true;
                }
                let sequence = self.lines.len() as u64;
                let victim = OomVictim { sequence, ..self.victim(pid, repeat) };
                self.lines.push(Line { sequence, victim, place, lost });
            }
        }
    }

    fn make_cgroup(&mut self, random: &mut Random) {
        let path = CgroupPath::new(format!("/{}", random.below(4)).as_bytes());
        if self.cgroups.iter().any(|cgroup| cgroup.alive && cgroup.path == path) {
            return;
        }
        self.path_used_again |= self.cgroups.iter().any(|cgroup| cgroup.path == path);
        let inode = CgroupInode(self.next_inode);
        self.next_inode += 1;
        self.cgroups.push(Cgroup { path, inode, kills: 0, alive: true });
    }

    /// The processes of a cgroup must be gone first, so no kill is under way in it.
    fn remove_cgroup(&mut self, random: &mut Random) {
        if self.stages.is_empty()
            && let Some(index) = self.alive(random)
        {
            self.cgroups[index].alive = false;
        }
    }

    /// The kernel marks it and counts nothing.
    fn mark_process_that_ends_anyway(&mut self, random: &mut Random) {
        let Some(cgroup) = self.alive(random) else { return };
        self.next_pid += 1;
        let place = random.percent(50).then(|| self.place(cgroup));
        self.marks.push(self.sighting(self.victim(self.next_pid, false), place));
    }

    fn place(&self, cgroup: usize) -> Place {
        let cgroup = &self.cgroups[cgroup];
        Place { path: cgroup.path.clone(), inode: Some(cgroup.inode) }
    }

    pub(crate) fn sighting(&self, victim: OomVictim, place: Option<Place>) -> Sighting {
        Sighting { victim, place_certain: place.is_some(), place, first_process: FirstProcess::Unknown }
    }

    fn victim(&self, pid: u32, repeat: bool) -> OomVictim {
        OomVictim {
            sequence: 0,
            since_boot: self.now,
            pid,
            name: b"hog".to_vec(),
            uid: None,
            total_vm: None,
            anon_rss: None,
            file_rss: None,
            shmem_rss: None,
            pgtables: None,
            oom_score_adj: None,
            scope: None,
            oom_group: None,
            repeat,
            report: OomReport::default(),
        }
    }
}
