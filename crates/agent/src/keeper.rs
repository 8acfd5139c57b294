//! Evictions as the agent sees them: after each scan it judges what the kubelet would do, and the cache keeper decides.
//!
//! Between scans, unless it is far from any margin, the keeper looks four times a second, or up to twenty times where it
//! falls fast, at what the kubelet sees of the node, which takes three small files: where that crosses a margin the next
//! scan comes at once, so that the first bytes are freed within a second. Acts are carried out by a thread of their own
//! (`keeper_acts`), since one can block for as long as a disk takes to write. It looks on meanwhile, and calls off what is
//! too slow or too late by now.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use reprieve_judgement::{
    CacheKeeper, CgroupFacts, EvictionRules, EvictionThreshold, Evictions, KeeperDecision, KeeperNeed, KeeperOrder,
    KeeperSettings, KubeletView, LookPace, Margin, NodeUsage, ThresholdState, judge_allocatable, judge_evictions,
    judge_node, thresholds_of,
};
use reprieve_linux::{CgroupId, ForceEmptyWriter, NodeReading, Problems, read_small_file};
use reprieve_readings::{Bytes, CgroupVersion, EvictionConfiguration, Meminfo, PodList, parse_pod_list};
use reprieve_report::{CgroupFigures, EvictionFigures};

use crate::keeper_acts::{ActThread, Acts, KnownMeans, open_actor};
use crate::keeper_forecasts::Forecasts;
use crate::keeper_log;
use crate::kubelet_settings::{AskConfiguration, Asking};
use crate::log::LogFormat;
use crate::node::Node;
use crate::problems::NamedProblems;

/// What the cache keeper may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeepCache {
    /// Nothing, and say nothing.
    Off,
    /// Say what it would do.
    DryRun,
    /// Do it.
    On,
}

impl KeepCache {
    /// The name on the command line and in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            KeepCache::Off => "off",
            KeepCache::DryRun => "dry-run",
            KeepCache::On => "on",
        }
    }
}

/// What the agent is to know of the kubelet, and what the keeper may do.
#[derive(Debug, Clone)]
pub struct EvictionOptions {
    /// The kubelet's settings.
    pub configuration: EvictionConfiguration,
    /// How to ask for others, which then hold in their place.
    pub ask: Option<AskConfiguration>,
    /// How it takes the usage of a v2 node.
    pub node_usage: NodeUsage,
    /// A list of pods, read again now and then.
    pub pods: Option<PathBuf>,
    /// What the keeper may do.
    pub keep_cache: KeepCache,
    /// How near a threshold it begins.
    pub margin: Margin,
    /// Whether it may have anonymous memory swapped out.
    pub with_anonymous: bool,
    /// What writes to v1's `memory.force_empty` until it is cut short.
    pub writer: ForceEmptyWriter,
}

/// The watch over evictions.
pub(crate) struct Keeper {
    options: EvictionOptions,
    thresholds: Vec<EvictionThreshold>,
    asking: Option<Asking>,
    keeper: CacheKeeper,
    started: Instant,
    pods: PodList,
    pods_read: Option<Instant>,
    meminfo: Meminfo,
    kubepods: Option<CgroupId>,
    thread: Option<ActThread>,
    means: KnownMeans,
    acts: Acts,
    evictions: Evictions,
    forecasts: Forecasts,
    log: keeper_log::KeeperLog,
    spared: usize,
    near: bool,
    may_come_near: bool,
    has_ordered: bool,
    looked: Option<Instant>,
    pace: LookPace,
    patience: Duration,
}

impl Keeper {
    /// How old a list of pods may be.
    const PODS_AGE: Duration = Duration::from_secs(30);
    /// How soon to look again for an act that was called off.
    const UNTIL_CALLED_OFF: Duration = Duration::from_millis(20);

    /// Begins, with a thread for the acts unless none are wanted.
    pub(crate) fn open(options: &EvictionOptions, interval: Duration, format: LogFormat, node: &mut Node) -> Self {
        for note in &options.configuration.notes {
            node.problems.take_one(format!("the kubelet's configuration: {note}"));
        }
        let page_size = Bytes::new(rustix::param::page_size() as u64);
        let thread = (options.keep_cache == KeepCache::On).then(|| {
            let thread = ActThread::start(open_actor(node, options), options.with_anonymous);
            thread.map_err(|error| node.problems.take_one(format!("the cache keeper can't act: no thread: {error}")))
        });
        let asking = options.ask.clone().map(|ask| {
            let no_thread = |error| node.problems.take_one(format!("the kubelet can't be asked: no thread: {error}"));
            Asking::start(ask).map_err(no_thread)
        });
        Keeper {
            asking: asking.and_then(Result::ok),
            thresholds: thresholds_of(&options.configuration),
            keeper: CacheKeeper::new(KeeperSettings { margin: options.margin, page_size }),
            options: options.clone(),
            started: Instant::now(),
            pods: PodList::default(),
            pods_read: None,
            meminfo: Meminfo::default(),
            kubepods: None,
            thread: thread.and_then(Result::ok),
            means: KnownMeans::new(open_actor(node, options)),
            acts: Acts::default(),
            evictions: Evictions::default(),
            forecasts: Forecasts::new(interval),
            log: keeper_log::KeeperLog::new(format),
            spared: 0,
            near: false,
            may_come_near: false,
            has_ordered: false,
            looked: None,
            pace: LookPace::default(),
            patience: LookPace::LONGEST,
        }
    }

    /// How long the loop may wait before the keeper looks again.
    pub(crate) fn patience(&self) -> Duration {
        if self.may_come_near { self.patience } else { Duration::MAX }
    }

    /// Judges what a scan has read, and has the keeper act on it.
    pub(crate) fn take_scan(&mut self, node: &mut Node, reading: &NodeReading) {
        self.meminfo = reading.meminfo.unwrap_or_default();
        self.read_pods(&mut node.problems);
        self.take_configuration(&mut node.problems);
        self.evictions = self.judge(node);
        self.kubepods =
            self.evictions.kubepods.as_ref().and_then(|path| node.tree.find(path)).map(|cgroup| cgroup.id());
        let now = self.started.elapsed();
        self.forecasts.take(now, &self.evictions.thresholds);
        self.take_outcomes(node);
        if self.options.keep_cache == KeepCache::Off {
            return;
        }
        // A quarter of all memory is more than a disk fills with cache before the next scan.
        self.may_come_near = self.evictions.thresholds.iter().any(|state| {
            let within = self.keeper.margin(state).saturating_add(Bytes::new(state.observation.capacity.get() / 4));
            !state.is_unreachable() && state.observation.available < within
        });
        self.log.unreachable(&self.evictions.thresholds);
        let need = self.keeper.need(&self.evictions.thresholds, self.forecasts.thresholds());
        self.review(need.as_ref());
        if !self.is_busy() {
            self.decide(now, node);
        }
    }

    /// Looks at what the kubelet sees now. Whether a margin was crossed, so that a scan should come at once.
    pub(crate) fn wants_scan(&mut self, node: &mut Node) -> bool {
        if !self.may_come_near || self.keeper.has_stopped() {
            return false;
        }
        self.take_outcomes(node);
        if self.looked.is_some_and(|looked| looked.elapsed() < self.patience) {
            return false;
        }
        self.looked = Some(Instant::now());
        let view = self.look(node);
        let mut states = view.judge(&self.thresholds);
        states.retain(|state| !state.is_unreachable());
        if self.thread.is_some()
            && let Some(nearest) = states.iter().map(ThresholdState::distance).min()
        {
            self.patience = self.pace.look(self.started.elapsed(), nearest);
        }
        let need = self.keeper.need(&states, &[]);
        self.review(need.as_ref());
        if self.is_busy() {
            return false;
        }
        let near = states.iter().any(|state| state.observation.available < self.keeper.margin(state));
        // A dry run changes nothing, so only the crossing is news; and so it is where nothing could be done about it.
        near && (!self.near || self.thread.is_some() && self.has_ordered)
    }

    /// Calls off what was ordered before, where that is not what is needed now.
    fn review(&mut self, need: Option<&KeeperNeed>) {
        let Some(thread) = &mut self.thread else { return };
        if let Some(in_hurry) = thread.in_hurry()
            && (self.keeper.has_stopped() || need.is_none_or(|need| need.calls_off(in_hurry)))
        {
            thread.call_off();
        }
        // What was called off ends soon, and then it is decided anew.
        if thread.is_busy() && thread.in_hurry().is_none() {
            self.patience = Self::UNTIL_CALLED_OFF;
        }
    }

    /// What the scan has found, for `/metrics`.
    pub(crate) fn figures(&mut self, tree: &[CgroupFigures], node: &Node) -> EvictionFigures {
        let limits = self.forecasts.limits(self.started.elapsed(), tree, node);
        EvictionFigures {
            evictions: Evictions {
                view: self.evictions.view,
                thresholds: self.evictions.thresholds.clone(),
                node_truth: self.evictions.node_truth,
                pods_truth: self.evictions.pods_truth,
                ..Evictions::default()
            },
            forecasts: self.forecasts.thresholds().to_vec(),
            limits,
            keeper: reprieve_report::KeeperFigures {
                mode: self.options.keep_cache.as_str(),
                stopped: self.keeper.has_stopped(),
                near: self.near,
                spared: self.spared,
                acts: self.acts.by_means(),
                refaulted: self.keeper.refaulted(),
                refused: self.acts.refused(),
                dry: self.log.dry_orders(),
            },
        }
    }

    fn is_busy(&self) -> bool {
        self.thread.as_ref().is_some_and(ActThread::is_busy)
    }

    fn judge(&self, node: &Node) -> Evictions {
        let facts = node.tree.iter().filter_map(|cgroup| {
            let known = node.known.get(cgroup.id())?;
            Some(CgroupFacts {
                path: cgroup.path(),
                owner: &known.owner,
                memory: cgroup.memory(),
                is_leaf: cgroup.children().is_empty(),
            })
        });
        let rules = EvictionRules {
            version: node.tree.version(),
            node_usage: self.options.node_usage,
            thresholds: &self.thresholds,
            pods: &self.pods,
        };
        judge_evictions(facts, &self.meminfo, &rules)
    }

    /// The kubelet's view, from as few files as it takes.
    fn look(&mut self, node: &mut Node) -> KubeletView {
        let top = node.tree.top();
        node.refresh(top);
        let version = node.tree.version();
        if (version, self.options.node_usage) == (CgroupVersion::V2, NodeUsage::TotalMinusFree) {
            let mut problems = Problems::default();
            self.meminfo = reprieve_linux::read_node(&node.roots, &mut problems).meminfo.unwrap_or(self.meminfo);
        }
        let root = node.tree.get(top).map(|top| *top.memory()).unwrap_or_default();
        let pods =
            self.kubepods.filter(|id| node.refresh(*id)).and_then(|id| node.tree.get(id)).map(|pods| *pods.memory());
        KubeletView {
            node: judge_node(&root, version, &self.meminfo, self.options.node_usage),
            allocatable: pods.as_ref().and_then(judge_allocatable),
        }
    }

    fn decide(&mut self, now: Duration, node: &mut Node) {
        let largest = self.evictions.holders.first().and_then(|holder| node.tree.find(&holder.path));
        let means = self.means.ask(largest);
        let decision = self.keeper.decide(now, &self.evictions, self.forecasts.thresholds(), means);
        self.near = matches!(decision, KeeperDecision::Near { .. });
        self.log.decision(&decision, self.thread.is_some());
        (self.has_ordered, self.spared) = match decision {
            KeeperDecision::Near { orders, spared, .. } => {
                let sent = self.thread.as_mut().is_some_and(|thread| thread.send(orders, &self.meminfo, node));
                (sent, spared.len())
            }
            _ => (false, 0),
        };
    }

    fn take_outcomes(&mut self, node: &mut Node) {
        let Some(thread) = &mut self.thread else { return };
        let now = self.started.elapsed();
        let mut done: Vec<(KeeperOrder, reprieve_linux::CacheOutcome)> = Vec::new();
        for (order, result) in thread.take() {
            self.keeper.record(now, &order, self.acts.count(&order, &result, &mut node.problems));
            if let Ok(outcome) = result {
                done.push((order, outcome));
            }
        }
        if thread.has_died() {
            node.problems.take_one("the cache keeper can't act any more: its thread has ended".to_owned());
            (self.thread, self.has_ordered) = (None, false);
        }
        self.log.done(&done, &self.evictions);
    }

    fn take_configuration(&mut self, problems: &mut NamedProblems) {
        match self.asking.as_ref().and_then(Asking::take) {
            None => {}
            Some(Ok(configuration)) => {
                configuration
                    .notes
                    .iter()
                    .for_each(|note| problems.take_one(format!("the kubelet's configuration: {note}")));
                let thresholds = thresholds_of(&configuration);
                if thresholds != self.thresholds {
                    self.log.new_thresholds(&thresholds);
                    // What was foretold was of others.
                    self.forecasts.forget_thresholds();
                    self.thresholds = thresholds;
                }
            }
            Some(Err(error)) => problems.take_one(format!("the kubelet's configuration: {error}")),
        }
    }

    fn read_pods(&mut self, problems: &mut NamedProblems) {
        let Some(path) = &self.options.pods else { return };
        if self.pods_read.is_some_and(|read| read.elapsed() < Self::PODS_AGE) {
            return;
        }
        self.pods_read = Some(Instant::now());
        let read = read_small_file(path).map_err(|error| error.to_string());
        match read.and_then(|text| parse_pod_list(&text).map_err(|error| format!("{}: {error}", path.display()))) {
            Ok(pods) => {
                pods.notes.iter().for_each(|note| problems.take_one(format!("the list of pods: {note}")));
                self.pods = pods;
            }
            // The last list that made sense stays.
            Err(error) => problems.take_one(format!("the list of pods: {error}")),
        }
    }
}
