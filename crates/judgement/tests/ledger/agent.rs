//! The agent: it reads the machine piece by piece, saves what the ledger says, and can die at any step.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use reprieve_judgement::{
    Identity, Kill, KillId, KillLedger, KillRecord, LedgerChange, OomKind, Place, Progress, SavedLedger, Sighting,
    Told, Victim,
};
use reprieve_readings::{BootId, CgroupInode};

use crate::machine::Machine;
use crate::random::Random;

const BOOT: BootId = BootId(7);
const PATIENCE: Duration = Duration::from_secs(1);

/// What is on disk.
#[derive(Default)]
struct Disk {
    records: BTreeMap<KillId, KillRecord>,
    cgroups: HashMap<CgroupInode, u64>,
    state: SavedLedger,
}

pub(crate) struct Agent {
    ledger: KillLedger,
    disk: Disk,
    known: HashSet<CgroupInode>,
    read: usize,
    marks_read: usize,
    scan_began: Option<Duration>,
    /// The machine's count when counting began.
    began_at: u64,
}

impl Agent {
    pub(crate) fn start(machine: &mut Machine) -> Self {
        let mut agent = Agent::open(Disk::default(), machine);
        agent.began_at = machine.node_kills;
        agent
    }

    /// As after `kill -9`: what is not on disk is lost, and the log is read again from its start.
    pub(crate) fn restart(self, machine: &mut Machine) -> Self {
        let began_at = self.began_at;
        let mut agent = Agent::open(self.disk, machine);
        agent.began_at = began_at;
        agent
    }

    fn open(disk: Disk, machine: &mut Machine) -> Self {
        let cgroups = disk.cgroups.iter().map(|(&inode, &told)| (inode, told)).collect();
        let mut ledger = KillLedger::new(BOOT, SavedLedger { cgroups, ..disk.state.clone() }, PATIENCE);
        for record in disk.records.values() {
            ledger.remember(record);
        }
        let marks_read = machine.marks.len();
        let known = HashSet::new();
        let mut agent = Agent { ledger, disk, known, read: 0, marks_read, scan_began: None, began_at: 0 };
        if !agent.ledger.counts() {
            for cgroup in machine.cgroups.iter().filter(|cgroup| cgroup.alive) {
                agent.known.insert(cgroup.inode);
                agent.ledger.begin_cgroup(cgroup.inode, cgroup.kills);
            }
            agent.read_log(machine, usize::MAX);
            agent.ledger.begin_counts(machine.counts_node.then_some(machine.node_kills));
            agent.save(Vec::new());
        }
        agent.scan(machine);
        agent
    }

    pub(crate) fn step(&mut self, machine: &mut Machine, random: &mut Random) {
        match random.below(8) {
            0 => self.scan(machine),
            1 => self.count_known(machine),
            2 => self.read_marks(machine),
            3 | 4 => {
                let most = random.below(4) as usize;
                self.read_log(machine, most);
            }
            _ => self.settle(machine),
        }
    }

    pub(crate) fn settle_all(&mut self, machine: &mut Machine) {
        for _ in 0..4 {
            self.scan(machine);
            self.settle(machine);
            machine.now += PATIENCE * 40;
        }
    }

    fn scan(&mut self, machine: &mut Machine) {
        let began = machine.now;
        for cgroup in &machine.cgroups {
            if cgroup.alive {
                self.known.insert(cgroup.inode);
            } else if self.known.remove(&cgroup.inode) {
                self.ledger.forget(cgroup.inode);
            }
        }
        self.count_known(machine);
        self.scan_began = Some(began);
    }

    fn count_known(&mut self, machine: &Machine) {
        for cgroup in machine.cgroups.iter().filter(|cgroup| cgroup.alive && self.known.contains(&cgroup.inode)) {
            self.ledger.count(cgroup.inode, &cgroup.path, cgroup.kills, machine.now);
        }
    }

    fn count_node(&mut self, machine: &Machine) {
        if machine.counts_node {
            self.ledger.count_node(machine.node_kills, machine.now);
        }
    }

    fn read_marks(&mut self, machine: &Machine) {
        for mark in &machine.marks[self.marks_read..] {
            let mark = self.look_up(mark.clone(), machine);
            self.ledger.mark(mark, machine.now);
        }
        self.marks_read = machine.marks.len();
    }

    /// Reads up to `most` lines; says whether that was all.
    fn read_log(&mut self, machine: &Machine, most: usize) -> bool {
        let unread = &machine.lines[self.read..];
        let mut records = Vec::new();
        for line in unread.iter().take(most) {
            self.read += 1;
            if line.lost {
                continue;
            }
            if self.ledger.wants_node_count() {
                self.count_node(machine);
            }
            let sighting = machine.sighting(line.victim.clone(), line.place.clone());
            let sighting = self.look_up(sighting, machine);
            let told = self.ledger.name(sighting, machine.now);
            records.extend(self.take(told));
        }
        if let Some(last) = self.read.checked_sub(1) {
            self.ledger.log_read_to(machine.lines[last].sequence);
        }
        self.save(records);
        self.read == machine.lines.len()
    }

    /// The agent looks a path up: it knows the cgroup that the last scan found there, or finds the one that is there now,
    /// or none. It may be another than the one meant.
    fn look_up(&mut self, mut sighting: Sighting, machine: &Machine) -> Sighting {
        if let Some(Place { path, inode }) = &mut sighting.place {
            let mut here = machine.cgroups.iter().filter(|cgroup| cgroup.path == *path);
            let known = here.clone().find(|cgroup| self.known.contains(&cgroup.inode));
            *inode = known.or_else(|| here.find(|cgroup| cgroup.alive)).map(|cgroup| cgroup.inode);
            self.known.extend(*inode);
        }
        sighting
    }

    fn settle(&mut self, machine: &mut Machine) {
        let log_read = self.read_log(machine, 20);
        self.count_known(machine);
        self.count_node(machine);
        let told = self.ledger.settle(Progress { log_read, scan_began: self.scan_began }, machine.now);
        let records = self.take(told);
        self.save(records);
    }

    fn take(&mut self, told: Vec<Told>) -> Vec<KillRecord> {
        let mut records = Vec::new();
        for told in told {
            let record = match told {
                Told::Kill(kill) => record(*kill),
                Told::CountedAgain(id) => {
                    let old = self.disk.records[&id].clone();
                    KillRecord { repeats: old.repeats + 1, identity: Identity::Exact, ..old }
                }
                Told::OneFewer(id) => {
                    let old = self.disk.records[&id].clone();
                    KillRecord { count: old.count - 1, ..old }
                }
            };
            self.disk.records.insert(record.id, record.clone());
            records.push(record);
        }
        records
    }

    fn save(&mut self, records: Vec<KillRecord>) {
        let Some(change) = self.ledger.take_change(records) else { return };
        let LedgerChange { records, counted, forgotten, state } = change;
        self.disk.records.extend(records.into_iter().map(|record| (record.id, record)));
        self.disk.cgroups.extend(counted);
        for inode in forgotten {
            self.disk.cgroups.remove(&inode);
        }
        self.disk.state = state;
    }

    /// Holds what was told against what happened.
    pub(crate) fn check(&self, machine: &Machine, seed: u64) {
        let records: Vec<&KillRecord> = self.disk.records.values().collect();
        if machine.counts_node {
            let told: u64 = records.iter().map(|record| record.counted()).sum();
            assert_eq!(told, machine.node_kills - self.began_at, "seed {seed}: the sum is wrong: {}", short(&records));
            assert_eq!(told, self.disk.state.node_rise, "seed {seed}: the saved sum is wrong");
        }
        let mut pids = HashSet::new();
        let mut sequences = HashSet::new();
        for record in &records {
            let Some(victim) = &record.victim else { continue };
            assert!(pids.insert(victim.pid), "seed {seed}: {} is told twice: {}", victim.pid, short(&records));
            assert!(record.sequence.is_none_or(|line| sequences.insert(line)), "seed {seed}: a line is told twice");
            let truth = machine.truth.iter().find(|kill| kill.pid == victim.pid);
            if record.identity == Identity::Exact {
                let truth =
                    truth.unwrap_or_else(|| panic!("seed {seed}: {} was not killed: {}", victim.pid, short(&records)));
                let before = truth.number <= self.began_at;
                assert!(
                    !record.history || before || !machine.counts_node,
                    "seed {seed}: {} is no history: {}",
                    victim.pid,
                    short(&records)
                );
                if record.cgroup_certain && !machine.stalls && !machine.path_used_again {
                    assert_eq!(
                        record.cgroup.as_ref(),
                        Some(&truth.path),
                        "seed {seed}: a wrong cgroup of {}: {}",
                        victim.pid,
                        short(&records)
                    );
                }
            }
        }
        for kill in machine.truth.iter().filter(|kill| !kill.line_lost) {
            let told = pids.contains(&kill.pid);
            assert!(told, "seed {seed}: {} was printed and not told: {}", kill.pid, short(&records));
        }
    }
}

/// The records in a line each.
fn short(records: &[&KillRecord]) -> String {
    let line = |record: &&KillRecord| {
        let who = record.victim.as_ref().map_or("?".into(), |victim| victim.pid.to_string());
        let place = record.cgroup.as_ref().map_or("?".into(), ToString::to_string);
        let KillRecord { id: KillId(id), count, repeats, identity, cgroup_certain, history, .. } = record;
        format!("\n{id}: {count}+{repeats} {who} {identity:?} in {place} certain={cgroup_certain} history={history}")
    };
    records.iter().map(line).collect()
}

fn record(kill: Kill) -> KillRecord {
    let victim = kill.victim.map(|victim| Victim {
        pid: victim.pid,
        name: victim.name,
        command_line: None,
        uid: None,
        total_vm: None,
        anon_rss: None,
        file_rss: None,
        shmem_rss: None,
        pgtables: None,
        oom_score_adj: None,
    });
    KillRecord {
        id: kill.id,
        boot: BOOT,
        since_boot: kill.since_boot,
        killed_at: Duration::ZERO,
        sequence: kill.sequence,
        history: kill.history,
        count: kill.count,
        repeats: kill.repeats,
        victim,
        identity: kill.identity,
        cgroup: kill.cgroup,
        cgroup_certain: kill.cgroup_certain,
        kind: OomKind::Unknown,
        whole_cgroup: None,
        limited_cgroup: None,
        limit: None,
        usage: None,
        usage_after: None,
        trigger: None,
        first_process: kill.first_process,
    }
}
