//! `reprieve free --json`: one object, amounts in bytes, `null` for what is not known.

use reprieve_judgement::{Binding, Headroom, HiddenLimit};
use reprieve_readings::{Bytes, CgroupVersion, Escaped, Meminfo};
use serde::Serialize;

use super::FreeReport;

/// The report as one line of JSON. The keys are stable: later versions add some and change none.
pub fn free_json(report: &FreeReport) -> String {
    // Numbers and strings always serialise.
    serde_json::to_string(&Json::of(report)).unwrap_or_default()
}

#[derive(Serialize)]
struct Json {
    cgroup: Option<String>,
    cgroup_assumed: bool,
    cgroup_version: Option<u8>,
    limit_bytes: Option<u64>,
    usage_bytes: Option<u64>,
    reclaimable_bytes: Option<u64>,
    available_bytes: Option<u64>,
    available_low_bytes: Option<u64>,
    available_high_bytes: Option<u64>,
    bound_by: Option<&'static str>,
    bound_levels_up: Option<usize>,
    bound_limit_bytes: Option<u64>,
    bound_file: Option<String>,
    throttle_available_bytes: Option<u64>,
    throttle_available_low_bytes: Option<u64>,
    throttle_available_high_bytes: Option<u64>,
    throttle_limit_bytes: Option<u64>,
    throttle_file: Option<String>,
    swap_available_bytes: Option<u64>,
    hidden_limit: &'static str,
    hidden_limit_bytes: Option<u64>,
    dirty_bytes: Option<u64>,
    writeback_bytes: Option<u64>,
    unevictable_bytes: Option<u64>,
    hugetlb_bytes: Option<u64>,
    container: Machine,
    node: Machine,
}

/// `/proc/meminfo`, told of the container or of the machine.
#[derive(Serialize)]
struct Machine {
    total_bytes: Option<u64>,
    free_bytes: Option<u64>,
    available_bytes: Option<u64>,
    buffers_bytes: Option<u64>,
    cached_bytes: Option<u64>,
    shmem_bytes: Option<u64>,
    slab_reclaimable_bytes: Option<u64>,
    swap_total_bytes: Option<u64>,
    swap_free_bytes: Option<u64>,
}

impl Json {
    fn of(report: &FreeReport) -> Self {
        let cgroup = report.cgroup.as_ref();
        let memory = cgroup.map(|cgroup| cgroup.memory).unwrap_or_default();
        let stat = memory.stat.unwrap_or_default();
        let kill = report.available.map(|available| available.until_kill);
        let throttle = report.available.and_then(|available| available.until_throttle);
        let hidden = report.available.map_or(HiddenLimit::None, |available| available.hidden);
        Json {
            cgroup: cgroup.map(|cgroup| cgroup.path.to_string()),
            cgroup_assumed: cgroup.is_some_and(|cgroup| cgroup.assumed),
            cgroup_version: cgroup.map(|cgroup| match cgroup.version {
                CgroupVersion::V1 => 1,
                CgroupVersion::V2 => 2,
            }),
            limit_bytes: number(report.limit),
            usage_bytes: number(memory.usage),
            reclaimable_bytes: number(stat.reclaimable()),
            available_bytes: kill.map(|kill| kill.estimate.best.get()),
            available_low_bytes: kill.map(|kill| kill.estimate.low.get()),
            available_high_bytes: kill.map(|kill| kill.estimate.high.get()),
            bound_by: kill.map(bound_by),
            bound_levels_up: kill.and_then(levels_up),
            bound_limit_bytes: number(report.kill_bound.limit),
            bound_file: report.kill_bound.file.as_deref().map(shown),
            throttle_available_bytes: throttle.map(|throttle| throttle.estimate.best.get()),
            throttle_available_low_bytes: throttle.map(|throttle| throttle.estimate.low.get()),
            throttle_available_high_bytes: throttle.map(|throttle| throttle.estimate.high.get()),
            throttle_limit_bytes: number(report.throttle_bound.limit),
            throttle_file: report.throttle_bound.file.as_deref().map(shown),
            swap_available_bytes: number(report.available.and_then(|available| available.swap)),
            hidden_limit: match hidden {
                HiddenLimit::None => "none",
                HiddenLimit::Possible => "possible",
                HiddenLimit::Proven(_) => "proven",
                HiddenLimit::Told(_) => "told",
            },
            hidden_limit_bytes: number(hidden.limit()),
            dirty_bytes: number(stat.file_dirty),
            writeback_bytes: number(stat.file_writeback),
            unevictable_bytes: number(stat.unevictable),
            hugetlb_bytes: number(stat.hugetlb),
            container: Machine::of(&report.container),
            node: Machine::of(&report.node),
        }
    }
}

impl Machine {
    fn of(meminfo: &Meminfo) -> Self {
        Machine {
            total_bytes: number(meminfo.total),
            free_bytes: number(meminfo.free),
            available_bytes: number(meminfo.available),
            buffers_bytes: number(meminfo.buffers),
            cached_bytes: number(meminfo.cached),
            shmem_bytes: number(meminfo.shmem),
            slab_reclaimable_bytes: number(meminfo.slab_reclaimable),
            swap_total_bytes: number(meminfo.swap_total),
            swap_free_bytes: number(meminfo.swap_free),
        }
    }
}

fn number(bytes: Option<Bytes>) -> Option<u64> {
    bytes.map(Bytes::get)
}

fn bound_by(headroom: Headroom) -> &'static str {
    match headroom.binding {
        Binding::Node => "node",
        Binding::Level(_) => "cgroup",
        Binding::Hidden => "hidden_cgroup",
    }
}

fn levels_up(headroom: Headroom) -> Option<usize> {
    match headroom.binding {
        Binding::Node | Binding::Hidden => None,
        Binding::Level(up) => Some(up),
    }
}

fn shown(path: &std::path::Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    Escaped(path.as_os_str().as_bytes()).to_string()
}
