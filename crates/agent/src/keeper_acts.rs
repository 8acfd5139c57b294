//! The thread that carries out the cache keeper's orders, and the count of what came of them.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::time::{Duration, Instant};

use reprieve_judgement::{KeeperActEnd, KeeperOrder, KeeperOutcome};
use reprieve_linux::{CacheActor, CacheAmount, CacheError, CacheOutcome, CacheTarget, Cgroup, Problems, read_node};
use reprieve_readings::{Bytes, CacheMeans, Meminfo};
use reprieve_report::KeeperActs;
use rustix::io::Errno;

use crate::keeper::EvictionOptions;
use crate::node::Node;
use crate::problems::NamedProblems;

type Done = (KeeperOrder, Result<CacheOutcome, CacheError>);

/// The orders of one decision. None is begun any more once they are called off, and the one that goes on ends early.
struct Round {
    orders: Vec<(CacheTarget, KeeperOrder)>,
    called_off: Arc<AtomicBool>,
    has_swap: bool,
}

enum Report {
    Done(KeeperOrder, Result<CacheOutcome, CacheError>),
    RoundEnded,
}

/// The round that goes on.
struct Going {
    called_off: Arc<AtomicBool>,
    in_hurry: bool,
}

/// The thread, seen from the loop. It ends when this is dropped, and is waited for: it may have set up DAMON.
pub(crate) struct ActThread {
    rounds: Option<Sender<Round>>,
    reports: Receiver<Report>,
    going: Option<Going>,
    has_died: bool,
}

impl ActThread {
    /// What is waited for at the end: all acts look often whether they are called off, but one can be stuck in the kernel.
    const LAST_ACT: Duration = Duration::from_secs(1);

    /// Starts it.
    pub(crate) fn start(actor: CacheActor, with_anonymous: bool) -> io::Result<Self> {
        let (rounds, incoming) = channel();
        let (outgoing, reports) = channel();
        let run = move || carry_out(actor, with_anonymous, &incoming, &outgoing);
        std::thread::Builder::new().name("cache-keeper".into()).spawn(run)?;
        Ok(ActThread { rounds: Some(rounds), reports, going: None, has_died: false })
    }

    /// Whether orders are still to be carried out.
    pub(crate) fn is_busy(&self) -> bool {
        self.going.is_some()
    }

    /// Whether what goes on leaves out pauses. `None` where nothing goes on that was not called off.
    pub(crate) fn in_hurry(&self) -> Option<bool> {
        let going = self.going.as_ref().filter(|going| !going.called_off.load(Ordering::Relaxed));
        going.map(|going| going.in_hurry)
    }

    /// Whether it has ended, which nothing should make it do.
    pub(crate) fn has_died(&self) -> bool {
        self.has_died
    }

    /// Hands over the orders of one decision, once those of the last are done. A cgroup that is gone gets none. Returns
    /// whether there is anything to do.
    pub(crate) fn send(&mut self, orders: Vec<KeeperOrder>, meminfo: &Meminfo, node: &mut Node) -> bool {
        let in_hurry = orders.iter().any(|order| order.in_hurry);
        let mut targets = Vec::with_capacity(orders.len());
        for order in orders {
            let Some(cgroup) = node.tree.find(&order.path) else { continue };
            match cgroup.cache_target() {
                Ok(target) => targets.push((target, order)),
                Err(errno) => node.problems.take_one(format!("the cache keeper can't open cgroups: {errno}")),
            }
        }
        if targets.is_empty() {
            return false;
        }
        let called_off = Arc::default();
        let round = Round { orders: targets, called_off: Arc::clone(&called_off), has_swap: has_swap(meminfo) };
        let sent = self.rounds.as_ref().is_some_and(|rounds| rounds.send(round).is_ok());
        self.going = sent.then_some(Going { called_off, in_hurry });
        sent
    }

    /// Has what goes on end as soon as it can.
    pub(crate) fn call_off(&mut self) {
        if let Some(going) = &self.going {
            going.called_off.store(true, Ordering::Relaxed);
        }
    }

    /// What was carried out since it was last asked.
    pub(crate) fn take(&mut self) -> Vec<Done> {
        let mut done = Vec::new();
        loop {
            match self.reports.try_recv() {
                Ok(Report::Done(order, result)) => done.push((order, result)),
                Ok(Report::RoundEnded) => self.going = None,
                Err(TryRecvError::Empty) => return done,
                Err(TryRecvError::Disconnected) => {
                    (self.going, self.has_died) = (None, true);
                    return done;
                }
            }
        }
    }
}

impl Drop for ActThread {
    fn drop(&mut self) {
        self.call_off();
        self.rounds = None;
        let deadline = Instant::now() + Self::LAST_ACT;
        // The other side is dropped when the thread ends.
        while self.reports.recv_timeout(deadline.saturating_duration_since(Instant::now())).is_ok() {}
    }
}

/// What the thread does.
fn carry_out(mut actor: CacheActor, with_anonymous: bool, incoming: &Receiver<Round>, outgoing: &Sender<Report>) {
    if actor.clean_up() {
        tracing::warn!("the cache keeper has switched off DAMON, which an agent that was killed had left running");
    }
    for round in incoming {
        actor.know_swap(round.has_swap);
        actor.heed(Arc::clone(&round.called_off));
        for (target, order) in round.orders {
            if round.called_off.load(Ordering::Relaxed) {
                break;
            }
            let result = actor.act(&target, order.means, amount_of(&order), with_anonymous);
            if outgoing.send(Report::Done(order, result)).is_err() {
                return;
            }
        }
        if outgoing.send(Report::RoundEnded).is_err() {
            return;
        }
    }
}

fn amount_of(order: &KeeperOrder) -> CacheAmount {
    CacheAmount { working_set: order.amount, free_at_most: order.free_at_most, in_hurry: order.in_hurry }
}

/// Who acts on the cgroups of this node.
pub(crate) fn open_actor(node: &Node, options: &EvictionOptions) -> CacheActor {
    let meminfo = read_node(&node.roots, &mut Problems::default()).meminfo.unwrap_or_default();
    CacheActor::new(&node.roots, node.tree.version(), has_swap(&meminfo)).with_writer(options.writer.clone())
}

/// Whether there is swap, or may be.
fn has_swap(meminfo: &Meminfo) -> bool {
    meminfo.swap_total.is_none_or(|swap| swap > Bytes::ZERO)
}

/// The means that the kernel has, asked again now and then: DAMON may be set up by others, and generations switched on.
/// Asking changes nothing, so a dry run can ask too.
pub(crate) struct KnownMeans {
    actor: CacheActor,
    means: Vec<CacheMeans>,
    asked: Option<Instant>,
}

impl KnownMeans {
    const AGE: Duration = Duration::from_secs(30);

    pub(crate) fn new(actor: CacheActor) -> Self {
        KnownMeans { actor, means: Vec::new(), asked: None }
    }

    /// The means for cgroups like this one, the gentlest first.
    pub(crate) fn ask(&mut self, cgroup: Option<&Cgroup>) -> &[CacheMeans] {
        let old = self.asked.is_none_or(|asked| asked.elapsed() >= Self::AGE);
        if let Some(target) = cgroup.filter(|_| old).and_then(|cgroup| cgroup.cache_target().ok()) {
            self.means = self.actor.means(&target);
            self.asked = Some(Instant::now());
        }
        &self.means
    }
}

/// What was done so far.
#[derive(Debug, Default)]
pub(crate) struct Acts {
    by_means: BTreeMap<CacheMeans, KeeperActs>,
    refused: u64,
}

impl Acts {
    /// Counts a result, and says what the keeper has to know of it. A refusal is a problem; a cgroup that is gone is none.
    pub(crate) fn count(
        &mut self,
        order: &KeeperOrder,
        result: &Result<CacheOutcome, CacheError>,
        problems: &mut NamedProblems,
    ) -> KeeperOutcome {
        let outcome = match result {
            Ok(outcome) => outcome,
            Err(error) => {
                if *error != CacheError::Gone {
                    self.refused += 1;
                    problems.take_one(complaint(order.means, error));
                }
                // Privileges can differ from cgroup to cgroup, the mount is the same for all.
                let everywhere = error.write_is_forbidden() == Some(Errno::ROFS);
                let end = if everywhere { KeeperActEnd::RefusedEverywhere } else { KeeperActEnd::Refused };
                return KeeperOutcome { freed: Bytes::ZERO, working_set_removed: Bytes::ZERO, end };
            }
        };
        let none = KeeperActs {
            means: order.means,
            count: 0,
            asked: Bytes::ZERO,
            freed: Bytes::ZERO,
            working_set_removed: Bytes::ZERO,
        };
        let acts = self.by_means.entry(order.means).or_insert(none);
        acts.count += 1;
        acts.asked = acts.asked.saturating_add(outcome.asked);
        acts.freed = acts.freed.saturating_add(outcome.freed);
        acts.working_set_removed = acts.working_set_removed.saturating_add(outcome.working_set_removed);
        let end = if outcome.called_off { KeeperActEnd::CalledOff } else { KeeperActEnd::Done };
        KeeperOutcome { freed: outcome.freed, working_set_removed: outcome.working_set_removed, end }
    }

    /// What was done by each means.
    pub(crate) fn by_means(&self) -> Vec<KeeperActs> {
        self.by_means.values().copied().collect()
    }

    /// Acts that the kernel refused.
    pub(crate) fn refused(&self) -> u64 {
        self.refused
    }
}

/// What is the same for every cgroup reads the same, so that it is named once.
fn complaint(means: CacheMeans, error: &CacheError) -> String {
    match error.write_is_forbidden() {
        Some(errno) => format!(
            "the cache keeper can't write {means}: {errno}: mount the cgroups writable and run as root, or use --keep-cache \
             dry-run"
        ),
        None => format!("the cache keeper: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use reprieve_lab::Captured;
    use reprieve_linux::{CgroupTree, DescriptorBudget, MemoryController, Roots};
    use reprieve_readings::{CgroupPath, CgroupVersion};

    use super::*;
    use crate::containers::KnownCgroups;

    /// A machine with two cgroups and DAMON, with the act thread.
    fn machine() -> (Captured, PathBuf, Node, ActThread) {
        let captured = Captured::new().unwrap();
        captured.sound_cgroup(b"a").unwrap();
        captured.sound_cgroup(b"b").unwrap();
        let kdamonds = captured.damon().unwrap();
        let roots = Roots::new(captured.proc(), captured.sys());
        let controller = MemoryController::find(&roots, &mut Problems::default()).unwrap();
        let mut tree = CgroupTree::open(&controller, DescriptorBudget::new(64)).unwrap();
        tree.scan();
        let thread = ActThread::start(CacheActor::new(&roots, CgroupVersion::V2, false), false).unwrap();
        let node = Node { roots, tree, known: KnownCgroups::default(), problems: NamedProblems::default() };
        (captured, kdamonds, node, thread)
    }

    fn order(path: &str) -> KeeperOrder {
        KeeperOrder {
            path: CgroupPath::new(path.as_bytes()),
            means: CacheMeans::Deprioritise,
            amount: Bytes::from_mib(1),
            free_at_most: Bytes::from_mib(1),
            in_hurry: false,
        }
    }

    fn state(kdamonds: &Path) -> String {
        std::fs::read_to_string(kdamonds.join("0/state")).unwrap_or_default()
    }

    fn wait_until(what: impl FnMut() -> bool) {
        let mut what = what;
        reprieve_lab::wait_for(Duration::from_secs(20), || what().then_some(())).expect("it comes");
    }

    #[test]
    fn what_is_called_off_ends_early_and_the_rest_is_not_begun() {
        let (_captured, kdamonds, mut node, mut thread) = machine();
        assert!(thread.send(vec![order("/a"), order("/b"), order("/gone")], &Meminfo::default(), &mut node));
        assert_eq!((thread.is_busy(), thread.in_hurry()), (true, Some(false)));
        wait_until(|| state(&kdamonds) == "on");
        thread.call_off();
        assert_eq!((thread.is_busy(), thread.in_hurry()), (true, None));
        let mut done = Vec::new();
        wait_until(|| {
            done.extend(thread.take());
            !thread.is_busy()
        });
        assert_eq!(done.len(), 1, "{done:?}");
        assert!(
            done.iter().all(|(order, result)| order.path.to_string() == "/a" && result.clone().unwrap().called_off)
        );
        assert!(!thread.has_died());
        assert!(!thread.send(vec![order("/gone")], &Meminfo::default(), &mut node), "nothing to do");
    }

    #[test]
    fn nothing_is_left_running_at_the_end() {
        let (_captured, kdamonds, mut node, mut thread) = machine();
        thread.send(vec![order("/a")], &Meminfo::default(), &mut node);
        wait_until(|| state(&kdamonds) == "on");
        drop(thread);
        assert_eq!(state(&kdamonds), "off");
    }

    #[test]
    fn a_read_only_mount_is_named_once_for_all_cgroups() {
        let refused = |path: &str, errno| CacheError::Refused { path: path.to_owned(), errno };
        let errno = Errno::ROFS;
        let complaint = |path| complaint(CacheMeans::Reclaim, &refused(path, errno));
        assert_eq!(complaint("/a/memory.reclaim"), complaint("/b/memory.reclaim"));
        let expected = "the cache keeper can't write memory.reclaim: Read-only file system (os error 30): mount the \
                        cgroups writable and run as root, or use --keep-cache dry-run";
        assert_eq!(complaint("/a/memory.reclaim"), expected);
        let end = |errno| {
            let refused = Err(refused("/a/memory.reclaim", errno));
            Acts::default().count(&order("/a"), &refused, &mut NamedProblems::default()).end
        };
        assert_eq!(end(errno), KeeperActEnd::RefusedEverywhere);
        assert_eq!(end(Errno::ACCESS), KeeperActEnd::Refused, "it may be this cgroup only");
    }
}
