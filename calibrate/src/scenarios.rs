//! What may be in memory before the filling begins: one row a scenario.

use anyhow::Result;

use crate::stage::Stage;

/// A state of memory to begin from.
#[derive(Clone, Copy)]
pub struct Scenario {
    /// What the tables call it.
    pub name: &'static str,
    /// Where it can be had.
    pub place: Place,
    /// Whether the quick runs of the tests have it too.
    pub quick: bool,
    /// Brings the cgroup into the state.
    pub(crate) prepare: fn(&mut Stage) -> Result<()>,
}

/// Where a scenario can be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Everywhere.
    Any,
    /// Only with cgroup v2.
    V2,
    /// Only with cgroup v2 and a swap file.
    Swap,
    /// Only on a small machine of its own: all of its memory is filled.
    Machine,
}

impl Scenario {
    /// All of them, in the order of the tables.
    pub const ALL: &[Scenario] = &[
        quick("nothing else", |stage| stage.limit_own(stage.limit)),
        quick("clean cache, read once", |stage| cache(stage, 1)),
        any("clean cache, in use", |stage| cache(stage, 3)),
        quick("dirty cache", |stage| {
            stage.limit_own(stage.limit)?;
            let file = stage.path("dirty");
            stage.keep(&words("write", [file, share(stage, 4)]))
        }),
        any("mlocked file", |stage| {
            stage.limit_own(stage.limit)?;
            let file = stage.cold_file("locked", stage.limit / 4)?;
            stage.keep(&words("lock", [file]))?;
            cached(stage, stage.limit / 4, 1)
        }),
        quick("shared memory", |stage| {
            stage.limit_own(stage.limit)?;
            stage.keep(&words("share", [share(stage, 4)]))?;
            cached(stage, stage.limit / 4, 1)
        }),
        any("tmpfs", |stage| {
            stage.limit_own(stage.limit)?;
            let file = format!("{}/reprieve-calibrate-{}", stage.tmpfs()?, std::process::id());
            let written = stage.keep(&words("write", [file.clone(), share(stage, 4)]));
            stage.remove_later(file);
            written
        }),
        any("mapped file in use", |stage| {
            stage.limit_own(stage.limit)?;
            let file = stage.cold_file("mapped", stage.limit / 4)?;
            stage.keep(&words("touch", [file]))
        }),
        any("many dentries", |stage| {
            stage.limit_own(stage.limit)?;
            let directory = stage.path("");
            // About 300 bytes each.
            stage.keep(&words("look-up", [directory, (stage.limit / 4 / 300).to_string()]))
        }),
        any("pipes and threads", |stage| {
            stage.limit_own(stage.limit)?;
            // The kernel bounds what one user may have in pipes: 64 MiB.
            stage.keep(&words("pipes", [(stage.limit / 8).min(32 << 20).to_string()]))?;
            stage.keep(&words("threads", [(stage.limit / 16 / (20 << 10)).min(1000).to_string()]))
        }),
        quick("pod's limit, busy sibling", |stage| {
            // The pod's limit is the smaller one, and the sibling uses some of it.
            stage.limit_outer(stage.limit)?;
            stage.limit_own(stage.limit + stage.limit / 4)?;
            let file = stage.cold_file("sibling", stage.limit / 4)?;
            stage.keep_beside(&words("busy", [share(stage, 4), file]))
        }),
        any("limit lowered", |stage| {
            stage.limit_own(stage.limit * 2)?;
            cached(stage, stage.limit, 1)?;
            stage.keep(&words("hold", [share(stage, 4)]))?;
            stage.limit_own(stage.limit)
        }),
        v2("dirty cache, slow disk", |stage| {
            stage.limit_own(stage.limit)?;
            stage.slow_disk(4_000_000)?;
            let file = stage.path("dirty");
            stage.keep(&words("write", [file, share(stage, 8)]))
        }),
        v2("pod's limit, protected sibling", |stage| {
            stage.limit_outer(stage.limit)?;
            let file = stage.cold_file("sibling", stage.limit / 4)?;
            stage.keep_beside(&words("read", [file, "1".to_owned()]))?;
            stage.set_beside("memory.min", share(stage, 2))
        }),
        v2("memory.high below max", |stage| {
            stage.until_high = true;
            stage.limit_own(stage.limit)?;
            stage.set("memory.high", stage.limit / 2)
        }),
        v2("memory.high, clean cache", |stage| {
            stage.until_high = true;
            stage.limit_own(stage.limit)?;
            stage.set("memory.high", stage.limit / 2)?;
            cached(stage, stage.limit / 4, 1)
        }),
        swap("swap", |stage| swapping(stage, "max".to_owned(), "hold")),
        swap("swap, limited", |stage| swapping(stage, share(stage, 4), "hold")),
        swap("swap, limited, huge pages", |stage| swapping(stage, share(stage, 4), "hold-huge")),
        machine("the machine's end, no limit", cached_unlimited),
        machine("the machine's end, larger limit", |stage| {
            stage.limit_own(stage.limit * 2)?;
            cached_unlimited(stage)
        }),
    ];
}

const fn any(name: &'static str, prepare: fn(&mut Stage) -> Result<()>) -> Scenario {
    Scenario { name, place: Place::Any, quick: false, prepare }
}

const fn quick(name: &'static str, prepare: fn(&mut Stage) -> Result<()>) -> Scenario {
    Scenario { name, place: Place::Any, quick: true, prepare }
}

const fn v2(name: &'static str, prepare: fn(&mut Stage) -> Result<()>) -> Scenario {
    Scenario { name, place: Place::V2, quick: false, prepare }
}

const fn swap(name: &'static str, prepare: fn(&mut Stage) -> Result<()>) -> Scenario {
    Scenario { name, place: Place::Swap, quick: false, prepare }
}

const fn machine(name: &'static str, prepare: fn(&mut Stage) -> Result<()>) -> Scenario {
    Scenario { name, place: Place::Machine, quick: false, prepare }
}

fn words<const N: usize>(work: &str, arguments: [String; N]) -> Vec<String> {
    std::iter::once(work.to_owned()).chain(arguments).collect()
}

/// A part of the limit, in bytes.
fn share(stage: &Stage, divisor: u64) -> String {
    (stage.limit / divisor).to_string()
}

fn cache(stage: &mut Stage, times: u32) -> Result<()> {
    stage.limit_own(stage.limit)?;
    cached(stage, stage.limit / 2, times)
}

/// Reads a file so many times, so that it is in the page cache and charged to the cgroup.
fn cached(stage: &Stage, bytes: u64, times: u32) -> Result<()> {
    let file = stage.cold_file("cached", bytes)?;
    stage.finish(&words("read", [file, times.to_string()]))
}

fn swapping(stage: &mut Stage, swap_max: String, hold: &str) -> Result<()> {
    stage.with_swap = true;
    stage.limit_own(stage.limit)?;
    stage.set("memory.swap.max", swap_max)?;
    cached(stage, stage.limit / 4, 1)?;
    stage.keep(&words(hold, [share(stage, 8)]))
}

/// Some cache, and some anonymous memory beside it.
fn cached_unlimited(stage: &mut Stage) -> Result<()> {
    cached(stage, stage.limit / 4, 2)?;
    stage.keep_beside(&words("hold", [share(stage, 8)]))
}
