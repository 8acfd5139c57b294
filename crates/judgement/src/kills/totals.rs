//! How many kills there were: by place, kind and visibility, for counters that outlive the cgroups.
//!
//! A place is a container, or a cgroup outside of containers. The number of places is bounded; what comes beyond is
//! counted together. What is shown of a total never falls as long as its key lives: where a record is replaced by one
//! that belongs elsewhere, the true number falls, and what is shown waits until that has caught up.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use reprieve_readings::CgroupPath;

use super::{KillId, KillRecord, Visibility};
use crate::OomKind;

/// Where kills happened.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KillPlace {
    /// The cgroup of a container, whichever cgroup inside of it the victim was in; else the victim's own.
    Cgroup(CgroupPath),
    /// Nothing tells.
    Unknown,
    /// Places beyond those that there is room for.
    Other,
}

/// What kills are counted by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KillKey {
    /// Where they happened.
    pub place: KillPlace,
    /// Whose memory had run out.
    pub kind: OomKind,
    /// Whether Kubernetes can see them.
    pub visibility: Visibility,
}

/// The kills of one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KillTotal {
    counted: u64,
    shown: u64,
    last: Duration,
    // Tells a key from an earlier one that was the same and is forgotten.
    serial: u64,
}

impl KillTotal {
    /// Processes that were killed. Never falls.
    pub fn kills(&self) -> u64 {
        self.shown
    }

    /// When the last record of them was told, since 1970.
    pub fn last_killed_at(&self) -> Duration {
        self.last
    }
}

/// The kills of all keys.
#[derive(Debug)]
pub struct KillTotals {
    keep: Duration,
    totals: HashMap<Arc<KillKey>, KillTotal>,
    // When by the caller's clock the key was last counted.
    seen: HashMap<Arc<KillKey>, Duration>,
    // The newest records: each may still be replaced.
    counted: BTreeMap<KillId, Counted>,
    serials: u64,
}

#[derive(Debug)]
struct Counted {
    key: Arc<KillKey>,
    serial: u64,
    kills: u64,
}

impl Default for KillTotals {
    /// Keeps totals of places that are gone for a day.
    fn default() -> Self {
        KillTotals::new(Duration::from_secs(24 * 3600))
    }
}

impl KillTotals {
    /// Keys of places; those of [`KillPlace::Other`] and [`KillPlace::Unknown`] come on top, 27 each at most.
    pub const MOST_KEYS: usize = 2000;

    /// Records of which it is remembered how they were counted. An older one that is told again counts as before.
    const REMEMBERED: usize = 4096;

    /// No kills yet. A key whose cgroup is gone is forgotten when its last kill is older than `keep`.
    pub fn new(keep: Duration) -> Self {
        KillTotals { keep, totals: HashMap::new(), seen: HashMap::new(), counted: BTreeMap::new(), serials: 0 }
    }

    /// Counts a record; one with a number that was counted before replaces that. `now` is of a clock that does not jump.
    /// History is not counted.
    pub fn count(&mut self, record: &KillRecord, now: Duration) {
        match self.counted.remove(&record.id) {
            Some(before) => self.take_out(&before),
            None if self.is_too_old(record.id) => return,
            None => {}
        }
        if record.history {
            return;
        }
        let key = self.room_for(KillKey { place: place(record), kind: record.kind, visibility: record.visibility() });
        let serials = &mut self.serials;
        let total = self.totals.entry(Arc::clone(&key)).or_insert_with(|| {
            *serials += 1;
            KillTotal { counted: 0, shown: 0, last: Duration::ZERO, serial: *serials }
        });
        total.counted = total.counted.saturating_add(record.count);
        total.shown = total.shown.max(total.counted);
        total.last = total.last.max(record.killed_at);
        self.counted.insert(record.id, Counted { key: Arc::clone(&key), serial: total.serial, kills: record.count });
        self.seen.insert(key, now);
        if self.counted.len() > Self::REMEMBERED {
            self.counted.pop_first();
        }
    }

    /// Forgets keys of cgroups that do not exist, and in which nothing was killed for long. `now` is of the same clock.
    pub fn forget(&mut self, now: Duration, exists: impl Fn(&CgroupPath) -> bool) {
        let (seen, keep) = (&self.seen, self.keep);
        self.totals.retain(|key, _| match &key.place {
            KillPlace::Cgroup(cgroup) => {
                let last = seen.get(key).copied().unwrap_or_default();
                now.saturating_sub(last) <= keep || exists(cgroup)
            }
            KillPlace::Unknown | KillPlace::Other => true,
        });
        let totals = &self.totals;
        self.seen.retain(|key, _| totals.contains_key(key));
    }

    /// All keys and their totals, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&KillKey, &KillTotal)> {
        self.totals.iter().map(|(key, total)| (&**key, total))
    }

    /// Whether a record is older than any of which it is remembered how it was counted.
    fn is_too_old(&self, id: KillId) -> bool {
        let oldest = self.counted.first_key_value().map(|(oldest, _)| *oldest);
        self.counted.len() >= Self::REMEMBERED && oldest.is_some_and(|oldest| id < oldest)
    }

    fn take_out(&mut self, before: &Counted) {
        if let Some(total) = self.totals.get_mut(&before.key)
            && total.serial == before.serial
        {
            total.counted = total.counted.saturating_sub(before.kills);
        }
    }

    /// The key itself, if it is there or there is room; else that of others.
    fn room_for(&self, key: KillKey) -> Arc<KillKey> {
        if let Some((known, _)) = self.totals.get_key_value(&key) {
            return Arc::clone(known);
        }
        let of_cgroup = |key: &Arc<KillKey>| matches!(key.place, KillPlace::Cgroup(_));
        let full = matches!(key.place, KillPlace::Cgroup(_))
            && self.totals.keys().filter(|key| of_cgroup(key)).count() >= Self::MOST_KEYS;
        let key = if full { KillKey { place: KillPlace::Other, ..key } } else { key };
        self.totals.get_key_value(&key).map_or_else(|| Arc::new(key), |(known, _)| Arc::clone(known))
    }
}

fn place(record: &KillRecord) -> KillPlace {
    match &record.cgroup {
        None => KillPlace::Unknown,
        Some(cgroup) => KillPlace::Cgroup(record.owner().container_root.unwrap_or_else(|| cgroup.clone())),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use reprieve_readings::BootId;

    use super::*;
    use crate::{FirstProcess, Identity};

    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn kill(id: u64, cgroup: &str, count: u64) -> KillRecord {
        KillRecord {
            id: KillId(id),
            boot: BootId(1),
            since_boot: Duration::ZERO,
            killed_at: Duration::from_secs(id),
            sequence: None,
            history: false,
            count,
            repeats: 0,
            victim: None,
            identity: Identity::Unknown,
            cgroup: (!cgroup.is_empty()).then(|| CgroupPath::new(cgroup.as_bytes())),
            cgroup_certain: true,
            kind: OomKind::CgroupLimit,
            whole_cgroup: None,
            limited_cgroup: None,
            limit: None,
            usage: None,
            usage_after: None,
            trigger: None,
            first_process: FirstProcess::Survived,
        }
    }

    fn shown(totals: &KillTotals) -> BTreeMap<String, u64> {
        totals
            .iter()
            .map(|(key, total)| {
                let place = match &key.place {
                    KillPlace::Cgroup(path) => path.to_string(),
                    KillPlace::Unknown => "?".into(),
                    KillPlace::Other => "others".into(),
                };
                (place, total.kills())
            })
            .collect()
    }

    fn expect<const N: usize>(totals: &KillTotals, expected: [(&str, u64); N]) {
        assert_eq!(shown(totals), expected.map(|(place, kills)| (place.to_string(), kills)).into());
    }

    #[test]
    fn kills_count_to_their_container() {
        let mut totals = KillTotals::default();
        let container = format!("/docker/{}", "a".repeat(64));
        totals.count(&kill(1, &container, 1), Duration::ZERO);
        totals.count(&kill(2, &format!("{container}/inside"), 2), Duration::ZERO);
        totals.count(&kill(3, "/a.slice", 1), Duration::ZERO);
        totals.count(&kill(4, "", 5), Duration::ZERO);
        totals.count(&KillRecord { history: true, ..kill(5, "/b", 1) }, Duration::ZERO);
        expect(&totals, [(&container, 3), ("/a.slice", 1), ("?", 5)]);
        let last = totals.iter().map(|(_, total)| total.last_killed_at()).max();
        assert_eq!(last, Some(Duration::from_secs(4)));
    }

    #[test]
    fn a_record_told_again_counts_once_and_nothing_shown_falls() {
        let mut totals = KillTotals::default();
        totals.count(&kill(1, "/a", 3), Duration::ZERO);
        totals.count(&kill(2, "/a", 1), Duration::ZERO);
        totals.count(&kill(1, "/a", 3), Duration::ZERO);
        expect(&totals, [("/a", 4)]);
        totals.count(&kill(1, "/b", 3), Duration::ZERO);
        expect(&totals, [("/a", 4), ("/b", 3)]);
        totals.count(&kill(3, "/a", 2), Duration::ZERO);
        expect(&totals, [("/a", 4), ("/b", 3)]);
        totals.count(&kill(4, "/a", 2), Duration::ZERO);
        expect(&totals, [("/a", 5), ("/b", 3)]);
    }

    #[test]
    fn what_is_gone_for_long_is_forgotten() {
        let mut totals = KillTotals::new(DAY);
        totals.count(&kill(1, "/gone", 1), Duration::ZERO);
        totals.count(&kill(2, "/there", 1), Duration::ZERO);
        totals.count(&kill(3, "", 1), Duration::ZERO);
        totals.forget(DAY, |_| false);
        assert_eq!(shown(&totals).len(), 3, "not yet");
        totals.forget(2 * DAY, |path| path.as_bytes() == b"/there");
        expect(&totals, [("/there", 1), ("?", 1)]);
        totals.count(&kill(4, "/gone", 1), 2 * DAY);
        totals.count(&kill(1, "/there", 1), 2 * DAY);
        expect(&totals, [("/there", 2), ("?", 1), ("/gone", 1)]);
    }

    #[test]
    fn places_beyond_the_room_are_counted_together() {
        let mut totals = KillTotals::new(DAY);
        let most = KillTotals::MOST_KEYS as u64;
        totals.count(&kill(1, "", 1), Duration::ZERO);
        for id in 2..most + 12 {
            totals.count(&kill(id, &format!("/{id}"), 1), Duration::ZERO);
        }
        totals.count(&kill(9000, "/2", 1), Duration::ZERO);
        let shown = shown(&totals);
        assert_eq!(shown.len() as u64, most + 2);
        assert_eq!((shown["others"], shown["/2"]), (10, 2));
        totals.forget(2 * DAY, |_| false);
        totals.count(&kill(9001, "/new", 1), 2 * DAY);
        expect(&totals, [("?", 1), ("others", 10), ("/new", 1)]);
    }

    #[test]
    fn an_old_record_told_again_is_not_counted_twice() {
        let mut totals = KillTotals::default();
        let ids = 1..=KillTotals::REMEMBERED as u64 + 5;
        ids.clone().for_each(|id| totals.count(&kill(id, "/a", 1), Duration::ZERO));
        totals.count(&kill(2, "/b", 1), Duration::ZERO);
        expect(&totals, [("/a", *ids.end())]);
    }

    proptest! {
        /// Whatever is replaced by what: totals never fall, and are never below the truth.
        #[test]
        fn totals_rise_only(steps in prop::collection::vec((1..9_u64, 0..3_usize, 0..4_u64), 0..40)) {
            let mut totals = KillTotals::default();
            let mut truth: BTreeMap<u64, (&str, u64)> = BTreeMap::new();
            let mut before = BTreeMap::new();
            for (id, place, count) in steps {
                let place = ["/a", "/b", "/c"][place];
                totals.count(&kill(id, place, count), Duration::ZERO);
                truth.insert(id, (place, count));
                let now = shown(&totals);
                for (place, kills) in &before {
                    prop_assert!(now[place] >= *kills);
                }
                for name in ["/a", "/b", "/c"] {
                    let sum: u64 = truth.values().filter(|(place, _)| *place == name).map(|(_, count)| count).sum();
                    prop_assert!(now.get(name).copied().unwrap_or(0) >= sum);
                }
                before = now;
            }
        }
    }
}
