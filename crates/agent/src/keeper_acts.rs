//! The thread that carries out the cache keeper's orders, and the count of what came of them.

use std::collections::BTreeMap;
use std::io;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::time::{Duration, Instant};

use reprieve_judgement::{KeeperActEnd, KeeperOrder, KeeperOutcome};
use reprieve_linux::{CacheActor, CacheAmount, CacheError, CacheOutcome, CacheTarget, Cgroup, Problems, read_node};
use reprieve_readings::{Bytes, CacheMeans};
use reprieve_report::KeeperActs;

use crate::keeper::EvictionOptions;
use crate::node::Node;
use crate::problems::NamedProblems;

type Done = (KeeperOrder, Result<CacheOutcome, CacheError>);

/// The thread, seen from the loop. It ends when this is dropped.
pub(crate) struct ActThread {
    orders: Sender<(CacheTarget, KeeperOrder)>,
    done: Receiver<Done>,
    outstanding: usize,
    ready: Vec<Done>,
}

impl ActThread {
    /// Starts it.
    pub(crate) fn start(mut actor: CacheActor, with_anonymous: bool) -> io::Result<Self> {
        let (orders, incoming) = channel::<(CacheTarget, KeeperOrder)>();
        let (outgoing, done) = channel();
        let run = move || {
            for (target, order) in incoming {
                let result = actor.act(&target, order.means, amount_of(&order), with_anonymous);
                if outgoing.send((order, result)).is_err() {
                    return;
                }
            }
        };
        std::thread::Builder::new().name("cache-keeper".into()).spawn(run)?;
        Ok(ActThread { orders, done, outstanding: 0, ready: Vec::new() })
    }

    /// Whether orders are still to be carried out.
    pub(crate) fn is_busy(&self) -> bool {
        self.outstanding > 0
    }

    /// Hands over orders. A cgroup that is gone gets none.
    pub(crate) fn send(&mut self, orders: Vec<KeeperOrder>, node: &Node) {
        for order in orders {
            let Some(cgroup) = node.tree.find(&order.path) else { continue };
            let Ok(target) = cgroup.cache_target() else { continue };
            if self.orders.send((target, order)).is_ok() {
                self.outstanding += 1;
            }
        }
    }

    /// What was carried out since it was last asked.
    pub(crate) fn take(&mut self) -> Vec<Done> {
        loop {
            match self.done.try_recv() {
                Ok(done) => {
                    self.outstanding = self.outstanding.saturating_sub(1);
                    self.ready.push(done);
                }
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => {
                    self.outstanding = 0;
                    break;
                }
            }
        }
        std::mem::take(&mut self.ready)
    }
}

fn amount_of(order: &KeeperOrder) -> CacheAmount {
    CacheAmount { working_set: order.amount, free_at_most: order.free_at_most, in_hurry: order.in_hurry }
}

/// Who acts on the cgroups of this node.
pub(crate) fn open_actor(node: &Node, options: &EvictionOptions) -> CacheActor {
    let swap = read_node(&node.roots, &mut Problems::default()).meminfo.and_then(|meminfo| meminfo.swap_total);
    CacheActor::new(&node.roots, node.tree.version(), swap.is_none_or(|swap| swap > Bytes::ZERO))
        .with_writer(options.writer.clone())
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
                    problems.take_one(format!("the cache keeper: {error}"));
                }
                return KeeperOutcome {
                    freed: Bytes::ZERO,
                    working_set_removed: Bytes::ZERO,
                    end: KeeperActEnd::Refused,
                };
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
        KeeperOutcome {
            freed: outcome.freed,
            working_set_removed: outcome.working_set_removed,
            end: KeeperActEnd::Done,
        }
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
