//! What the cache keeper says: all that it does, and once in a while what it would do or can't.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use reprieve_judgement::{EvictionSignal, EvictionThreshold, Evictions, KeeperDecision, KeeperOrder, ThresholdState};
use reprieve_linux::CacheOutcome;
use reprieve_readings::{Bytes, CacheMeans, CgroupPath, EvictionAmount};

use crate::log::LogFormat;

/// Remembers what was said, so that nothing is said each second.
#[derive(Debug)]
pub(crate) struct KeeperLog {
    format: LogFormat,
    said: HashMap<(CgroupPath, Word), Instant>,
    said_stopped: bool,
    /// By signal, and whether it is a hard one.
    said_unreachable: HashSet<(EvictionSignal, bool)>,
    dry_orders: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Word {
    Would,
    Spares,
}

/// The same is not said of the same cgroup again for so long.
const SILENCE: Duration = Duration::from_secs(60);
/// More cgroups than this are not remembered.
const REMEMBERED: usize = 10_000;

impl KeeperLog {
    pub(crate) fn new(format: LogFormat) -> Self {
        KeeperLog { format, said: HashMap::new(), said_stopped: false, said_unreachable: HashSet::new(), dry_orders: 0 }
    }

    /// Orders that were only said.
    pub(crate) fn dry_orders(&self) -> u64 {
        self.dry_orders
    }

    /// Says that the kubelet has told of other thresholds than those held until now.
    pub(crate) fn new_thresholds(&mut self, thresholds: &[EvictionThreshold]) {
        self.said_unreachable.clear();
        let text = |threshold: &EvictionThreshold| match threshold.amount {
            EvictionAmount::Quantity(bytes) => format!("{}<{bytes}", threshold.signal),
            EvictionAmount::Share(share) => format!("{}<{:.1} %", threshold.signal, share * 100.0),
        };
        let text: Vec<String> = thresholds.iter().map(text).collect();
        let text = if text.is_empty() { "none for memory".to_owned() } else { text.join(", ") };
        tracing::info!("the kubelet's thresholds: {text}");
    }

    /// Says what was decided, unless it will be said when it is done.
    pub(crate) fn decision(&mut self, decision: &KeeperDecision, acts: bool) {
        match decision {
            // Told of each threshold by itself.
            KeeperDecision::Unreachable(_) | KeeperDecision::NoThreshold | KeeperDecision::Far => {}
            KeeperDecision::Stopped => {
                if !std::mem::replace(&mut self.said_stopped, true) {
                    tracing::error!(
                        "the cache keeper has stopped itself: most of what it freed within a minute came back at once, so \
                         this cache is in use and the node needs more memory or fewer pods; restart the agent to have it \
                         try again"
                    );
                }
            }
            KeeperDecision::Near { state, margin, orders, spared } => {
                if !acts {
                    self.would(state, *margin, orders);
                }
                for spared in spared {
                    if self.is_news(&spared.path, Word::Spares) {
                        tracing::info!("the cache keeper leaves {} alone: {}", spared.path, spared.reason);
                    }
                }
            }
        }
    }

    /// Says of each threshold that nobody can keep from being crossed.
    pub(crate) fn unreachable(&mut self, states: &[ThresholdState]) {
        for state in states.iter().filter(|state| state.is_unreachable()) {
            let is_hard = state.threshold.grace.is_none();
            if self.said_unreachable.insert((state.threshold.signal, is_hard)) {
                let setting = if is_hard { "evictionHard" } else { "evictionSoft" };
                tracing::error!(
                    "the kubelet's threshold {} for {} is not below all memory ({}): it would evict without end, and the \
                     cache keeper can't help; lower {setting}",
                    state.at,
                    state.threshold.signal,
                    state.observation.capacity
                );
            }
        }
    }

    fn would(&mut self, state: &ThresholdState, margin: Bytes, orders: &[KeeperOrder]) {
        self.dry_orders += orders.len() as u64;
        for (path, means, amount) in by_cgroup(orders.iter().map(|order| (order, order.amount))) {
            if self.is_news(&path, Word::Would) {
                tracing::info!(
                    "dry run: would take {amount} of page cache of {path} out of its working set by {means}: available to \
                     the kubelet {}, margin {margin}, threshold {}; --keep-cache on does it",
                    state.observation.available,
                    state.at
                );
            }
        }
    }

    /// Says what was done, a line for each cgroup and means.
    pub(crate) fn done(&self, done: &[(KeeperOrder, CacheOutcome)], evictions: &Evictions) {
        let asked = by_cgroup(done.iter().map(|(order, outcome)| (order, outcome.asked)));
        for (path, means, asked) in asked {
            let of_it = || done.iter().filter(|(order, _)| order.path == path && order.means == means);
            let freed: Bytes = of_it().map(|(_, outcome)| outcome.freed).sum();
            let removed: Bytes = of_it().map(|(_, outcome)| outcome.working_set_removed).sum();
            let took: Duration = of_it().map(|(_, outcome)| outcome.took).sum();
            let fell_short = of_it().any(|(_, outcome)| outcome.fell_short);
            let available = evictions.nearest().map(|state| state.observation.available);
            let called_off = of_it().any(|(_, outcome)| outcome.called_off);
            let short = match (called_off, fell_short) {
                (true, _) => "; called off, as less or more was needed by then",
                (false, true) => "; the kernel fell short of it",
                (false, false) => "",
            };
            let sentence = format!(
                "kept cache of {path} from counting as used, by {means}: working set {removed} smaller, {freed} freed, {asked} \
                 asked, in {} ms{short}",
                took.as_millis()
            );
            match self.format {
                LogFormat::Text => tracing::info!("{sentence}"),
                LogFormat::Json => tracing::info!(
                    event = "keep_cache",
                    cgroup = path.to_string(),
                    means = means.as_str(),
                    asked_bytes = asked.get(),
                    freed_bytes = freed.get(),
                    working_set_removed_bytes = removed.get(),
                    took_seconds = took.as_secs_f64(),
                    fell_short,
                    called_off,
                    kubelet_available_bytes = available.map(Bytes::get),
                    "{sentence}"
                ),
            }
        }
    }

    fn is_news(&mut self, path: &CgroupPath, word: Word) -> bool {
        if self.said.len() >= REMEMBERED {
            self.said.retain(|_, said| said.elapsed() < SILENCE);
        }
        let key = (path.clone(), word);
        let news = self.said.get(&key).is_none_or(|said| said.elapsed() >= SILENCE) && self.said.len() < REMEMBERED;
        if news {
            self.said.insert(key, Instant::now());
        }
        news
    }
}

/// Sums amounts by cgroup and means, in the order in which they came.
fn by_cgroup<'a>(orders: impl Iterator<Item = (&'a KeeperOrder, Bytes)>) -> Vec<(CgroupPath, CacheMeans, Bytes)> {
    let mut sums: Vec<(CgroupPath, CacheMeans, Bytes)> = Vec::new();
    for (order, amount) in orders {
        match sums.iter_mut().find(|(path, means, _)| *path == order.path && *means == order.means) {
            Some((_, _, sum)) => *sum = sum.saturating_add(amount),
            None => sums.push((order.path.clone(), order.means, amount)),
        }
    }
    sums
}
