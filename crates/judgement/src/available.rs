//! How much memory may a cgroup still use before one of its processes is killed, or slowed down?
//!
//! Each level from the cgroup up to the root may have limits, and the machine has an end. At a level with a limit, what
//! is free is the limit less the usage, and what can be reclaimed comes on top. The tightest level decides. The answer
//! is a range, because nobody can know beforehand how much of the cache the kernel will give back; how the three
//! numbers of a level come about, and by which experiments, stands in [`headroom`].

mod headroom;
mod hidden;
mod swap;
#[cfg(test)]
mod tests;

use reprieve_readings::{Bytes, CgroupMemory, Limit, NodeMemory};

use headroom::Whose;

pub use headroom::Estimate;
pub(crate) use headroom::reclaimable_kernel_memory;
pub use hidden::{HiddenLimit, judge_hidden};

/// How much is left, and what sets the bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Available {
    /// Memory that can still be had before the kernel kills.
    pub until_kill: Headroom,
    /// Memory that can still be had before the kernel slows the processes down (`memory.high`, v2). `None` where no
    /// level has such a limit.
    pub until_throttle: Option<Headroom>,
    /// Swap that can be had on top of it. `None` where nothing tells.
    pub swap: Option<Bytes>,
    /// What may bound it beyond all that can be seen.
    pub hidden: HiddenLimit,
}

/// How much is left until something happens, and what decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Headroom {
    /// How much.
    pub estimate: Estimate,
    /// What ends it.
    pub binding: Binding,
}

/// What bounds the memory of a cgroup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binding {
    /// The machine has no more (`MemAvailable`).
    Node,
    /// The limit of a cgroup: 0 for the innermost level, 1 for the one that holds it, and so on.
    Level(usize),
    /// The limit of a cgroup above all that can be seen. What others use of it can't be told, so nothing is sure.
    Hidden,
}

/// Judges a cgroup by its `levels`, from itself up to the topmost that can be seen, and by what is `hidden` above them.
/// `None` where neither a level nor the machine tells.
pub fn judge_available(levels: &[CgroupMemory], hidden: HiddenLimit, node: &NodeMemory) -> Option<Available> {
    let kill = |memory: &CgroupMemory, whose| headroom::of_level(memory, memory.max?, whose, node);
    let throttle = |memory: &CgroupMemory, whose| headroom::of_level(memory, memory.high?, whose, node);
    let beyond = hidden.limit().and_then(|limit| headroom::of_hidden(levels.last()?, limit, node));
    let bounds = headroom::of_node(&node.meminfo)
        .map(|estimate| Headroom { estimate, binding: Binding::Node })
        .into_iter()
        .chain(by_level(levels, kill))
        .chain(beyond.map(|estimate| Headroom { estimate, binding: Binding::Hidden }));
    Some(Available {
        until_kill: bounds.reduce(Headroom::tighter)?,
        until_throttle: by_level(levels, throttle).reduce(Headroom::tighter),
        swap: swap::judge_swap(levels, &node.meminfo),
        hidden,
    })
}

/// Judges a cgroup by its own level and by what is available to the cgroup that holds it; the best guess only.
/// For whoever walks a whole tree from the top down; the topmost is held by the machine and its `MemAvailable`.
pub fn judge_within(outer: Option<Bytes>, memory: &CgroupMemory, node: &NodeMemory) -> Option<Bytes> {
    match (outer, memory.max.and_then(|max| headroom::of_level(memory, max, Whose::Own, node))) {
        (Some(outer), Some(level)) => Some(outer.min(level.best)),
        (outer, level) => outer.or(level.map(|level| level.best)),
    }
}

/// The smallest limit of all levels, of what is hidden above them, and the machine's memory: all that can ever be had.
pub fn judge_limit(levels: &[CgroupMemory], hidden: HiddenLimit, node: &NodeMemory) -> Option<Bytes> {
    let visible = levels.iter().filter_map(|level| level.max.and_then(Limit::bytes));
    visible.chain(hidden.limit()).chain(node.meminfo.total).min()
}

fn by_level(
    levels: &[CgroupMemory],
    judge: impl Fn(&CgroupMemory, Whose) -> Option<Estimate>,
) -> impl Iterator<Item = Headroom> {
    let own = levels.first().map_or(Bytes::ZERO, headroom::easily_reclaimed);
    levels.iter().enumerate().filter_map(move |(level, memory)| {
        let whose = if level == 0 { Whose::Own } else { Whose::Shared { own } };
        Some(Headroom { estimate: judge(memory, whose)?, binding: Binding::Level(level) })
    })
}

impl Headroom {
    /// Both bounds at once: each number is the smaller one, and the smaller best guess decides. Of equals the first does,
    /// which is the innermost.
    fn tighter(self, other: Headroom) -> Headroom {
        let binding = if other.estimate.best < self.estimate.best { other.binding } else { self.binding };
        Headroom { estimate: self.estimate.min(other.estimate), binding }
    }
}
