//! What can be found out right after a kill: which processes are left, and which limit was hit.

use reprieve_judgement::{
    FirstProcess, Kill, OldestSurvivor, RememberedProcess, VictimProcess, judge_remembered, judge_survivors,
};
use reprieve_linux::{Cgroup, CgroupId, CgroupTree, Problems, is_namespace_init, process_stat};
use reprieve_readings::{Bytes, OomScope, OomVictim, Owner, ProcessId};
use reprieve_report::KillReport;

use crate::containers::oldest_process;
use crate::node::Node;

/// Reads the cgroup `id` of a victim anew, and finds out what became of its container's first process.
pub(crate) fn first_process(victim: &OomVictim, id: CgroupId, node: &mut Node) -> FirstProcess {
    let mut problems = Problems::default();
    // First of all, before it is gone.
    let stat = problems.keep(process_stat(&node.roots, victim.pid)).flatten();
    let process = VictimProcess { pid: victim.pid, start_time: stat.map(|stat| stat.id.start_time) };
    node.refresh(id);
    let judged = judge(victim, process, container_of(id, node), node, &mut problems);
    node.problems.take(&problems);
    judged
}

fn judge(
    victim: &OomVictim,
    process: VictimProcess,
    container: CgroupId,
    node: &Node,
    problems: &mut Problems,
) -> FirstProcess {
    if dies_as_a_whole(&node.tree, container, victim) {
        return FirstProcess::Killed;
    }
    let remembered =
        node.known.first_process(container).map(|id| RememberedProcess { id, running: is_running(id, node, problems) });
    // Listing a container's processes takes long if they are thousands, and is seldom needed.
    judge_remembered(process, remembered).unwrap_or_else(|| {
        let oldest = oldest_process(&node.tree.subtree(container), Some(victim.pid), &node.roots, problems);
        judge_survivors(process, oldest.map(|id| oldest_survivor(id, node, problems)))
    })
}

/// What became of the first process, by what was remembered of it: for a kill whose cgroup was found out only later.
pub(crate) fn first_process_later(kill: &Kill, node: &mut Node) -> FirstProcess {
    let Some(id) = kill.cgroup.as_ref().and_then(|path| node.tree.find(path)).map(Cgroup::id) else {
        return FirstProcess::Unknown;
    };
    let mut problems = Problems::default();
    let first = remembered(container_of(id, node), node, &mut problems);
    node.problems.take(&problems);
    match (&kill.victim, first) {
        (Some(victim), _) => {
            let victim = VictimProcess { pid: victim.pid, start_time: None };
            judge_remembered(victim, first).unwrap_or(FirstProcess::Unknown)
        }
        (None, Some(first)) if first.running => FirstProcess::Survived,
        (None, _) => FirstProcess::Unknown,
    }
}

fn remembered(container: CgroupId, node: &Node, problems: &mut Problems) -> Option<RememberedProcess> {
    let id = node.known.first_process(container)?;
    Some(RememberedProcess { id, running: is_running(id, node, problems) })
}

fn oldest_survivor(id: ProcessId, node: &Node, problems: &mut Problems) -> OldestSurvivor {
    OldestSurvivor { id, namespace_init: problems.keep(is_namespace_init(&node.roots, id.pid)).unwrap_or(false) }
}

/// The cgroup of the container that `id` is in, or `id` itself outside of containers.
fn container_of(id: CgroupId, node: &Node) -> CgroupId {
    let root = node.tree.get(id).and_then(|cgroup| Owner::of(cgroup.path()).container_root);
    root.and_then(|root| node.tree.find(&root)).map_or(id, Cgroup::id)
}

fn is_running(process: ProcessId, node: &Node, problems: &mut Problems) -> bool {
    let stat = problems.keep(process_stat(&node.roots, process.pid)).flatten();
    stat.is_some_and(|stat| stat.id == process && !stat.ended)
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

/// Tells a kill with the limit that led to it: by the kernel's report or, without it, of the level that is nearest to its
/// limit now. Out of memory as a whole, the machine had no limit hit.
pub(crate) fn report(kill: Kill, node: &Node) -> KillReport {
    let owner = kill.cgroup.as_ref().map(Owner::of).unwrap_or_default();
    let told = kill.victim.as_ref();
    let (limited_cgroup, limit, usage, usage_after) = match told.map(|victim| (&victim.report, victim.scope)) {
        Some((report, _)) if report.usage.is_some() => (report.oom_memcg.clone(), report.limit, report.usage, None),
        Some((_, Some(OomScope::Global))) => (None, None, None, None),
        _ => match nearest_to_its_limit(&kill, node) {
            Some(cgroup) => (Some(cgroup.path().clone()), cgroup.memory().max, None, cgroup.memory().usage),
            None => (None, None, None, None),
        },
    };
    KillReport { kill, owner, limited_cgroup, limit, usage, usage_after }
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
