//! What can be found out right after a kill: which processes are left, and which limit was hit.

use std::time::Duration;

use reprieve_judgement::{
    FirstProcess, Kill, KillRecord, OldestSurvivor, OomKind, ProcessTable, RememberedProcess, Victim, VictimProcess,
    judge_remembered, judge_survivors,
};
use reprieve_linux::{
    Cgroup, CgroupId, CgroupTree, Problems, ProcessEnd, is_namespace_init, process_end, process_stat,
};
use reprieve_readings::{BootId, Bytes, OomScope, OomVictim, Owner, ProcessId};

use crate::containers::oldest_process;
use crate::node::Node;

/// How long the start of a victim is waited for, which can be read when it has let go of its memory.
const END_LOOKS: usize = 10;
const END_PAUSE: Duration = Duration::from_millis(1);

/// Reads the cgroup `id` of a victim and those above it anew, and finds out what became of its container's first process.
/// `seen` is when the victim started, if it was seen before.
pub(crate) fn first_process(victim: &OomVictim, seen: Option<u64>, id: CgroupId, node: &mut Node) -> FirstProcess {
    refresh_upwards(id, node);
    let container = container_of(id, node);
    if dies_as_a_whole(&node.tree, container, victim) {
        return FirstProcess::Killed;
    }
    let process = VictimProcess { pid: victim.pid, start_time: seen };
    let first = remembered(process, container, node);
    judge_remembered(process, first).unwrap_or_else(|| judge_by_survivors(process, container, node))
}

/// What became of the first process, for a kill whose cgroup was found out only later, or that the log did not name at
/// all: by what was remembered of it.
pub(crate) fn first_process_later(kill: &Kill, node: &mut Node) -> FirstProcess {
    let Some(id) = kill.cgroup.as_ref().and_then(|path| node.tree.find(path)).map(Cgroup::id) else {
        return FirstProcess::Unknown;
    };
    let container = container_of(id, node);
    match &kill.victim {
        Some(victim) => {
            let victim = VictimProcess { pid: victim.pid, start_time: None };
            judge_remembered(victim, remembered(victim, container, node)).unwrap_or(FirstProcess::Unknown)
        }
        // By now every victim is dead: whoever runs survived.
        None => match node.known.first_process(container) {
            Some(first) if runs(first, node) == Some(true) => FirstProcess::Survived,
            _ => FirstProcess::Unknown,
        },
    }
}

/// Listing a container's processes takes long if they are thousands, and is seldom needed: the oldest is remembered.
fn judge_by_survivors(victim: VictimProcess, container: CgroupId, node: &mut Node) -> FirstProcess {
    let cgroups = match node.tree.get(container) {
        Some(cgroup) if Owner::of(cgroup.path()).container.is_some() => node.tree.subtree(container),
        // Outside of containers, what lies inside is somebody else's.
        cgroup => cgroup.into_iter().collect(),
    };
    let survivor = oldest_process(&cgroups, Some(victim.pid), &node.roots).and_then(|oldest| {
        let Some(id) = oldest else { return Ok(None) };
        Ok(Some(OldestSurvivor { id, namespace_init: is_namespace_init(&node.roots, id.pid)? }))
    });
    match survivor {
        Ok(oldest) => {
            if let Some(oldest) = oldest {
                node.known.remember(container, oldest.id);
            }
            match judge_survivors(victim, oldest) {
                FirstProcess::Unknown if victim.start_time.is_none() => {
                    let start_time = start_of_ended(victim.pid, node);
                    judge_survivors(VictimProcess { start_time, ..victim }, oldest)
                }
                judged => judged,
            }
        }
        // What could not be read proves nothing.
        Err(problem) => {
            node.problems.take_one(problem.to_string());
            FirstProcess::Unknown
        }
    }
}

/// When a victim started, if it can still be read once its memory is free.
fn start_of_ended(pid: u32, node: &mut Node) -> Option<u64> {
    for _ in 0..END_LOOKS {
        let mut problems = Problems::default();
        let end = problems.keep(process_end(&node.roots, pid));
        node.problems.take(&problems);
        match end? {
            ProcessEnd::Ended(stat) => return Some(stat.id.start_time),
            ProcessEnd::Gone => return None,
            ProcessEnd::HoldsMemory => std::thread::sleep(END_PAUSE),
        }
    }
    None
}

fn remembered(victim: VictimProcess, container: CgroupId, node: &mut Node) -> Option<RememberedProcess> {
    let id = node.known.first_process(container)?;
    // The victim itself is not to be looked at: it may still have memory.
    let running = id.pid != victim.pid && runs(id, node)?;
    Some(RememberedProcess { id, running })
}

/// Whether a process still runs. `None` where it can't be looked at.
fn runs(id: ProcessId, node: &mut Node) -> Option<bool> {
    let mut problems = Problems::default();
    let stat = problems.keep(process_stat(&node.roots, id.pid));
    node.problems.take(&problems);
    Some(stat?.is_some_and(|stat| stat.id == id && !stat.ended))
}

fn refresh_upwards(id: CgroupId, node: &mut Node) {
    let mut problems = Problems::default();
    let mut level = Some(id);
    while let Some(id) = level {
        node.tree.refresh_after_kill(id, &mut problems);
        level = node.tree.get(id).and_then(Cgroup::parent);
    }
    node.problems.take(&problems);
}

/// The cgroup of the container that `id` is in, or `id` itself outside of containers.
fn container_of(id: CgroupId, node: &Node) -> CgroupId {
    let root = node.tree.get(id).and_then(|cgroup| Owner::of(cgroup.path()).container_root);
    root.and_then(|root| node.tree.find(&root)).map_or(id, Cgroup::id)
}

/// Whether the kill takes the whole container. For all but the first victim the kernel's log says which cgroup dies. For
/// the first, `memory.oom.group` does: of the container or above it, up to the cgroup whose limit was hit
/// (`mem_cgroup_get_oom_group`, mm/memcontrol.c, Linux 4.19). Without the report that cgroup isn't known, and the
/// container itself is the likeliest.
fn dies_as_a_whole(tree: &CgroupTree, container: CgroupId, victim: &OomVictim) -> bool {
    let mut level = tree.get(container);
    if let (Some(container), Some(dying)) = (level, &victim.oom_group) {
        return container.path().below(dying).is_some();
    }
    let limited = victim.report.oom_memcg.as_ref();
    while let Some(cgroup) = level.filter(|cgroup| limited.is_none_or(|limited| cgroup.path().below(limited).is_some()))
    {
        if cgroup.memory().oom_group == Some(true) {
            return true;
        }
        level = cgroup.parent().filter(|_| limited.is_some()).and_then(|parent| tree.get(parent));
    }
    false
}

/// The record of a kill, with the limit that led to it: by the kernel's report or, without it, of the level that is nearest
/// to its limit now. Out of memory as a whole, the machine had no limit hit.
pub(crate) fn record(kill: Kill, boot: BootId, killed_at: Duration, node: &Node, table: &ProcessTable) -> KillRecord {
    let told = kill.victim.as_ref();
    let (limited_cgroup, limit, usage, usage_after) = match told.map(|victim| (&victim.report, victim.scope)) {
        Some((report, _)) if report.usage.is_some() => (report.oom_memcg.clone(), report.limit, report.usage, None),
        Some((_, Some(OomScope::Global))) => (None, None, None, None),
        _ if kill.history => (told.and_then(|victim| victim.report.oom_memcg.clone()), None, None, None),
        _ => match nearest_to_its_limit(&kill, node) {
            Some(cgroup) => (Some(cgroup.path().clone()), cgroup.memory().max, None, cgroup.memory().usage),
            None => (None, None, None, None),
        },
    };
    let kind = OomKind::of_kill(told, limited_cgroup.as_ref(), kill.cgroup.as_ref());
    let (whole_cgroup, trigger) = match &kill.victim {
        Some(victim) => (victim.oom_group.clone(), victim.report.trigger.clone()),
        None => (None, None),
    };
    KillRecord {
        id: kill.id,
        boot,
        since_boot: kill.since_boot,
        killed_at,
        sequence: kill.sequence,
        history: kill.history,
        count: kill.count,
        repeats: kill.repeats,
        identity: kill.identity,
        cgroup: kill.cgroup,
        cgroup_certain: kill.cgroup_certain,
        kind,
        whole_cgroup,
        limited_cgroup,
        limit,
        usage,
        usage_after,
        trigger,
        first_process: kill.first_process,
        victim: kill.victim.map(|named| victim(named, table)),
    }
}

/// What is kept of a victim. Its arguments are those of the process that had its pid and name when last seen.
fn victim(named: OomVictim, table: &ProcessTable) -> Victim {
    let seen = table.find(named.pid).map(|(.., process)| process).filter(|process| process.name == named.name);
    Victim {
        pid: named.pid,
        command_line: seen.and_then(|process| process.command_line.clone()),
        name: named.name,
        uid: named.uid,
        total_vm: named.total_vm,
        anon_rss: named.anon_rss,
        file_rss: named.file_rss,
        shmem_rss: named.shmem_rss,
        pgtables: named.pgtables,
        oom_score_adj: named.oom_score_adj,
    }
}

/// Of the kill's cgroup and those above it, the one that has least left below its limit.
fn nearest_to_its_limit<'a>(kill: &Kill, node: &'a Node) -> Option<&'a Cgroup> {
    let innermost = kill.cgroup.as_ref().and_then(|path| node.tree.find(path));
    let levels = std::iter::successors(innermost, |cgroup| cgroup.parent().and_then(|parent| node.tree.get(parent)));
    levels
        .filter_map(|cgroup| Some((left_below_limit(cgroup)?, cgroup)))
        .min_by_key(|(left, _)| *left)
        .map(|(_, cgroup)| cgroup)
}

fn left_below_limit(cgroup: &Cgroup) -> Option<Bytes> {
    let memory = cgroup.memory();
    Some(memory.max?.bytes()?.saturating_sub(memory.usage?))
}
