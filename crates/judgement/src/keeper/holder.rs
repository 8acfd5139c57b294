//! What the keeper knows of one holder of cache: whether it is used, what was tried on it, and until when it is left
//! alone.

use std::fmt;
use std::time::Duration;

use reprieve_readings::{Bytes, CacheMeans};

use super::{KeeperActEnd, KeeperOrder, KeeperOutcome, place};
use crate::eviction::CacheHolder;

/// Why a holder's cache is left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SparedReason {
    /// What was freed of it came back soon: it is in use.
    Refaults {
        /// For how much longer.
        left: Duration,
    },
    /// Its processes lose time waiting for memory already.
    Pressure,
    /// Nothing can be taken without going below `memory.low` or `memory.min`.
    Protected,
    /// It may be in use, and the only means would drop all of it.
    MayBeUsed,
    /// No means that the kernel has worked on it lately.
    NoMeans,
}

impl fmt::Display for SparedReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SparedReason::Refaults { left } => {
                write!(f, "its cache is in use: what was freed came back; left alone for {} s more", left.as_secs())
            }
            SparedReason::Pressure => f.write_str("its processes wait for memory already"),
            SparedReason::Protected => f.write_str("it is protected by memory.low or memory.min"),
            SparedReason::MayBeUsed => f.write_str("its cache may be in use, and only all of it could be dropped"),
            SparedReason::NoMeans => f.write_str("no means that this kernel has works on it"),
        }
    }
}

#[derive(Debug, Clone)]
pub(super) struct HolderState {
    /// Its page cache when it was last seen to grow, and since when it has not.
    lists: Bytes,
    still_since: Duration,
    refaults: Option<u64>,
    used: bool,
    /// What was freed and what of that came back, since it was last judged; and what that was good for: the working set
    /// can get much smaller than what was freed.
    freed: Bytes,
    came_back: Bytes,
    gained: Bytes,
    last_act: Option<Duration>,
    back_off: Duration,
    spared_until: Duration,
    /// Until when each means is not tried again, by its place in `CacheMeans::ALL`: as it did little, which in need is
    /// better than nothing, or as the kernel refused it.
    weak_until: [Duration; CacheMeans::ALL.len()],
    refused_until: [Duration; CacheMeans::ALL.len()],
}

/// A cache that nobody added to for so long counts as cold.
const COLD: Duration = Duration::from_secs(30);
/// What comes back later than this was not missed.
const SOON: Duration = Duration::from_secs(60);
const SHORTEST_BACK_OFF: Duration = Duration::from_secs(10);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(600);
/// How long a means that did not work is not tried again.
const WEAK: Duration = Duration::from_secs(30);
/// A cache is not judged by less than this or an eighth of it: the first few pages may just have been those in use.
const TELLING: Bytes = Bytes::from_mib(64);
/// Growth that is none.
const JITTER: Bytes = Bytes::from_mib(1);
/// Stalls above this share of ten seconds, in percent, are pressure.
const PRESSURE: f32 = 10.0;

impl HolderState {
    pub(super) fn new(now: Duration, holder: &CacheHolder) -> Self {
        HolderState {
            lists: lists(holder),
            still_since: now,
            refaults: refaults(holder),
            used: false,
            freed: Bytes::ZERO,
            came_back: Bytes::ZERO,
            gained: Bytes::ZERO,
            last_act: None,
            back_off: Duration::ZERO,
            spared_until: Duration::ZERO,
            weak_until: [Duration::ZERO; CacheMeans::ALL.len()],
            refused_until: [Duration::ZERO; CacheMeans::ALL.len()],
        }
    }

    /// Takes a reading. Returns how much of what was freed has come back since the last.
    pub(super) fn observe(&mut self, now: Duration, holder: &CacheHolder, page_size: Bytes) -> Bytes {
        let now_refaults = refaults(holder);
        let pages = now_refaults.zip(self.refaults).map_or(0, |(now, before)| now.saturating_sub(before));
        self.refaults = now_refaults;
        self.used = pages > 0;
        let lists = lists(holder);
        if lists > self.lists.saturating_add(JITTER) || self.used {
            self.still_since = now;
            self.lists = lists;
        } else {
            self.lists = self.lists.min(lists);
        }
        let recent = self.last_act.is_some_and(|act| now.saturating_sub(act) <= SOON);
        if !recent {
            (self.freed, self.came_back, self.gained) = (Bytes::ZERO, Bytes::ZERO, Bytes::ZERO);
            return Bytes::ZERO;
        }
        // More than was freed did not come of it.
        let bytes = Bytes::new(pages.saturating_mul(page_size.get()));
        let came_back = bytes.min(self.freed.saturating_sub(self.came_back));
        self.came_back = self.came_back.saturating_add(came_back);
        let telling = TELLING.min(Bytes::new(self.lists.get() / 8));
        if self.gained >= telling && self.came_back >= JITTER && self.came_back.get() >= self.gained.get() / 4 {
            // Long ago it was another workload's.
            if now.saturating_sub(self.spared_until) >= LONGEST_BACK_OFF {
                self.back_off = Duration::ZERO;
            }
            self.back_off = (self.back_off * 2).clamp(SHORTEST_BACK_OFF, LONGEST_BACK_OFF);
            self.spared_until = now + self.back_off;
            (self.freed, self.came_back, self.gained) = (Bytes::ZERO, Bytes::ZERO, Bytes::ZERO);
        }
        came_back
    }

    pub(super) fn record(&mut self, now: Duration, order: &KeeperOrder, outcome: KeeperOutcome) {
        self.last_act = Some(now);
        self.freed = self.freed.saturating_add(outcome.freed);
        self.gained = self.gained.saturating_add(outcome.gained());
        // Before steps come to what counts, they may have to free what doesn't.
        let on_the_way = if order.means.is_stepwise() { outcome.freed } else { Bytes::ZERO };
        let done = outcome.working_set_removed.saturating_add(on_the_way);
        let worked = done >= Bytes::new(order.amount.get() / 8).max(Bytes::new(1));
        let until = match outcome.end {
            KeeperActEnd::Done if !worked => self.weak_until.get_mut(place(order.means)),
            KeeperActEnd::Done | KeeperActEnd::CalledOff => None,
            KeeperActEnd::Refused | KeeperActEnd::RefusedEverywhere => self.refused_until.get_mut(place(order.means)),
        };
        if let Some(until) = until {
            *until = now + WEAK;
        }
    }

    /// Whether refaults were seen in the last reading.
    pub(super) fn is_used(&self) -> bool {
        self.used
    }

    /// The gentlest means that may work where so much may be freed, or why there is none.
    pub(super) fn choose(
        &self,
        now: Duration,
        holder: &CacheHolder,
        allowance: Bytes,
        means: &[CacheMeans],
        urgent: bool,
    ) -> Result<CacheMeans, SparedReason> {
        if now < self.spared_until {
            return Err(SparedReason::Refaults { left: self.spared_until.saturating_sub(now) });
        }
        if holder.memory.pressure.is_some_and(|pressure| pressure.some.average_10s > PRESSURE) {
            return Err(SparedReason::Pressure);
        }
        if allowance == Bytes::ZERO {
            return Err(SparedReason::Protected);
        }
        let is_over =
            |untils: &[Duration], means: CacheMeans| untils.get(place(means)).is_none_or(|until| now >= *until);
        let possible = || means.iter().filter(|means| is_over(&self.refused_until, **means));
        let works = |means: &&CacheMeans| is_over(&self.weak_until, **means);
        // DAMON has to watch for a while before it knows what is cold.
        let in_time = |means: &&CacheMeans| !(urgent && **means == CacheMeans::Deprioritise);
        let gentlest = possible().filter(works).find(in_time);
        // In need, a slow means is better than none, and one that did little lately too.
        let in_need = || possible().find(works).or_else(|| possible().next_back()).filter(|_| urgent);
        match gentlest.or_else(in_need) {
            // All of it goes, below any protection: v1 has none.
            Some(CacheMeans::ForceEmpty) if !urgent && now.saturating_sub(self.still_since) < COLD => {
                Err(SparedReason::MayBeUsed)
            }
            Some(means) => Ok(*means),
            None => Err(SparedReason::NoMeans),
        }
    }
}

fn lists(holder: &CacheHolder) -> Bytes {
    holder.memory.stat.and_then(|stat| stat.file_lists()).unwrap_or_default()
}

fn refaults(holder: &CacheHolder) -> Option<u64> {
    holder.memory.stat.and_then(|stat| stat.file_refaults)
}
