//! The keeper's test: a workload whose page cache pushes what the kubelet sees below its threshold while memory is
//! plentiful, without the keeper and with it, beside a stand-in for the kubelet's loop.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::node::{Folder, Node, forget};
use crate::worker::Worker;

/// Arguments of `keep`.
#[derive(Args)]
pub(crate) struct Options {
    /// The program `reprieve`
    #[arg(long)]
    reprieve: PathBuf,
    /// The node's memory on v1, in MiB; on v2 it is the machine's
    #[arg(long, default_value_t = 2048)]
    node_mib: u64,
    /// How long the keeper has to hold out, in seconds
    #[arg(long, default_value_t = 600)]
    seconds: u64,
    /// Rounds of a short run without and one with it, to compare the throughput
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// How long each of these, in seconds
    #[arg(long, default_value_t = 40)]
    round_seconds: u64,
    /// Files that the workload reads, each twice, one after the other
    #[arg(long, default_value_t = 160)]
    files: u64,
    /// The size of each, in MiB
    #[arg(long, default_value_t = 64)]
    file_mib: u64,
    /// Whether the workload maps its files instead of reading them
    #[arg(long)]
    mmap: bool,
    /// MiB a second that the workload reads at most; 0 for as fast as it can
    #[arg(long, default_value_t = 0)]
    rate: u64,
    /// The threshold, in percent of the node's memory
    #[arg(long, default_value_t = 40)]
    threshold: u64,
    /// The margin, in percent of the node's memory
    #[arg(long, default_value_t = 50)]
    margin: u64,
}

/// The kubelet looks so often (`monitoringInterval`, pkg/kubelet/eviction/eviction_manager.go: 10 s).
const KUBELET: Duration = Duration::from_secs(10);
const SAMPLE: Duration = Duration::from_millis(20);
/// The begin of a run, while the cache fills, does not count for the throughput.
const WARM_UP: Duration = Duration::from_secs(12);

pub(crate) fn run(options: &Options) -> Result<()> {
    let folder = Folder::new()?;
    let files = (0..options.files)
        .map(|number| folder.cold_file(&format!("file{number}"), options.file_mib << 20))
        .collect::<Result<Vec<_>>>()?;
    let files = Files { stream: files, hot: folder.cold_file("hot", 48 << 20)? };
    let far = run_one(options, &files, Mode::Far, Duration::from_secs(30))?;
    ensure!(far.acts == 0, "the keeper acted {} times far from the threshold", far.acts);
    // In turns, so that what else goes on on the machine hits both alike.
    let round = Duration::from_secs(options.round_seconds);
    let (mut with_rate, mut without_rate) = (Vec::new(), Vec::new());
    for _ in 0..options.rounds {
        let without = run_one(options, &files, Mode::Without, round)?;
        ensure!(without.crossed > 0, "without the keeper the threshold was not crossed");
        without_rate.push(without.rate);
        with_rate.push(run_one(options, &files, Mode::With, round)?.rate);
    }
    let with = run_one(options, &files, Mode::With, Duration::from_secs(options.seconds))?;
    if options.rounds > 0 {
        let kept = median(&mut with_rate) / median(&mut without_rate) * 100.0;
        crate::print(&format!("throughput with the keeper: {kept:.0} % of without, medians of {}", options.rounds))?;
        ensure!(kept >= 90.0, "the throughput fell to {kept:.0} %");
    }
    ensure!(with.crossed == 0, "with the keeper the kubelet saw the threshold crossed {} times", with.crossed);
    let reaction = with.reaction.context("the keeper never acted")?;
    ensure!(reaction < Duration::from_secs(1), "the first bytes were freed after {reaction:?}");
    Ok(())
}

fn median(rates: &mut [f64]) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates.get(rates.len() / 2).copied().unwrap_or_default()
}

/// What the workload reads.
struct Files {
    stream: Vec<PathBuf>,
    hot: PathBuf,
}

#[derive(Clone, Copy, PartialEq)]
enum Mode {
    /// The keeper is on, and the threshold far away.
    Far,
    Without,
    With,
}

struct Outcome {
    looks: usize,
    crossed: usize,
    lowest: u64,
    lowest_seen: u64,
    really: u64,
    rate: f64,
    hot_rate: f64,
    acts: usize,
    /// From the margin's crossing to the first effect.
    reaction: Option<Duration>,
    /// From the margin's crossing to the first act's end.
    logged: Option<Duration>,
}

fn run_one(options: &Options, files: &Files, mode: Mode, length: Duration) -> Result<Outcome> {
    let node = Node::new(options.node_mib)?;
    let percent = |share: u64| node.capacity() / 100 * share;
    let (threshold, margin) = match mode {
        Mode::Far => (percent(5), percent(10)),
        Mode::Without | Mode::With => (percent(options.threshold), percent(options.margin)),
    };
    let uid = "5bdc3be0-7759-43c7-9f22-d581fc6b5750";
    let reader = node.lab.cgroup(&format!("kubepods/besteffort/pod{uid}/{}", "a1".repeat(32)))?;
    let hot = node.lab.cgroup(&format!("kubepods/burstable/pod{}/{}", uid.replace('5', "6"), "b2".repeat(32)))?;
    let count = if mode == Mode::Far { 4 } else { files.stream.len() };
    let stream: Vec<&PathBuf> = files.stream.iter().take(count).collect();
    stream.iter().copied().chain([&files.hot]).try_for_each(|path| forget(path))?;
    let agent = match mode {
        Mode::Without => None,
        Mode::Far | Mode::With => Some(Agent::start(options, &node, threshold, margin)?),
    };
    thread::sleep(Duration::from_secs(2));
    let _anon = Worker::start(&hot, &["hold".to_owned(), "48".to_owned()])?;
    let hot = Worker::start(&hot, &["hot".to_owned(), files.hot.display().to_string()])?;
    let mut arguments =
        vec!["read-twice".to_owned(), "--new".to_owned(), "--rate".to_owned(), options.rate.to_string()];
    arguments.extend(options.mmap.then(|| "--mmap".to_owned()));
    arguments.extend(stream.iter().map(|path| path.display().to_string()));
    let mut reader = Worker::start(&reader, &arguments)?;
    let outcome = watch(&node, threshold, margin, length, &mut reader, &hot, agent.as_ref())?;
    report(mode, &node, threshold, margin, &outcome, agent.as_ref())?;
    Ok(outcome)
}

fn watch(
    node: &Node,
    threshold: u64,
    margin: u64,
    length: Duration,
    reader: &mut Worker,
    hot: &Worker,
    agent: Option<&Agent>,
) -> Result<Outcome> {
    let started = Instant::now();
    let mut next_look = KUBELET;
    let mut outcome = Outcome {
        looks: 0,
        crossed: 0,
        lowest: u64::MAX,
        lowest_seen: u64::MAX,
        really: u64::MAX,
        rate: 0.0,
        hot_rate: 0.0,
        acts: 0,
        reaction: None,
        logged: None,
    };
    let mut crossed_margin: Option<SystemTime> = None;
    let mut least = u64::MAX;
    let mut warm: Option<(Instant, f64, f64)> = None;
    let mut refreshed = Instant::now();
    while started.elapsed() < length {
        thread::sleep(SAMPLE);
        ensure!(!reader.has_ended(), "the workload has ended");
        let available = node.available()?;
        if refreshed.elapsed() >= Duration::from_millis(200) {
            refreshed = Instant::now();
            node.refresh()?;
            outcome.really = outcome.really.min(node.really_available()?);
        }
        outcome.lowest = outcome.lowest.min(available);
        if available < margin && crossed_margin.is_none() {
            crossed_margin = Some(SystemTime::now());
        }
        // By itself this workload only adds to what counts as used.
        least = if crossed_margin.is_some() { least.min(available) } else { u64::MAX };
        if outcome.reaction.is_none() && least < u64::MAX && available >= least + (1 << 20) {
            outcome.reaction = crossed_margin.and_then(|crossed| crossed.elapsed().ok());
        }
        if started.elapsed() >= next_look {
            next_look += KUBELET;
            outcome.looks += 1;
            outcome.crossed += usize::from(available < threshold);
            outcome.lowest_seen = outcome.lowest_seen.min(available);
        }
        if warm.is_none() && started.elapsed() >= WARM_UP {
            warm = Some((Instant::now(), reader.count(), hot.count()));
        }
    }
    if let Some((since, read, hot_read)) = warm {
        let seconds = since.elapsed().as_secs_f64();
        outcome.rate = (reader.count() - read) / seconds;
        outcome.hot_rate = (hot.count() - hot_read) / seconds;
    }
    if let Some(agent) = agent {
        let acts = agent.acts();
        outcome.acts = acts.len();
        outcome.logged = crossed_margin
            .and_then(|crossed| acts.first().map(|first| first.duration_since(crossed).unwrap_or_default()));
    }
    Ok(outcome)
}

fn report(
    mode: Mode,
    node: &Node,
    threshold: u64,
    margin: u64,
    outcome: &Outcome,
    agent: Option<&Agent>,
) -> Result<()> {
    let mib = |bytes: u64| bytes >> 20;
    let name = match mode {
        Mode::Far => "keeper on, far from the threshold",
        Mode::Without => "without the keeper",
        Mode::With => "with the keeper",
    };
    crate::print(&format!(
        "{name}: node {} MiB, threshold {} MiB, margin {} MiB; the kubelet looked {} times and saw the threshold crossed {} \
         times; lowest available that it saw {} MiB, at any time {} MiB; really available at least {} MiB; read {:.0} MiB/s, \
         hot file {:.0} MiB/s; {} acts, the first effect {:?} and the first act's end {:?} after the margin was crossed",
        mib(node.capacity()),
        mib(threshold),
        mib(margin),
        outcome.looks,
        outcome.crossed,
        mib(outcome.lowest_seen),
        mib(outcome.lowest),
        mib(outcome.really),
        outcome.rate / f64::from(1 << 20),
        outcome.hot_rate / f64::from(1 << 20),
        outcome.acts,
        outcome.reaction,
        outcome.logged
    ))?;
    if let Some(agent) = agent {
        crate::print(&format!("the agent took {:.1} % of a processor", agent.processor_share()?))?;
        let others = |line: &&String| !line.contains("kept cache") && !line.contains("OOM kill");
        agent.lines().iter().filter(others).for_each(|line| crate::progress(line));
        agent.lines().iter().filter(|line| line.contains("kept cache")).take(5).for_each(|line| crate::progress(line));
    }
    Ok(())
}

/// The agent under test, and its log.
struct Agent {
    child: Child,
    started: Instant,
    lines: Arc<Mutex<Vec<(SystemTime, String)>>>,
}

impl Agent {
    fn start(options: &Options, node: &Node, threshold: u64, margin: u64) -> Result<Self> {
        let mut command = Command::new(&options.reprieve);
        command.args(["agent", "--keep-cache", "on", "--listen", "127.0.0.1:0"]);
        command.args(["--eviction-hard", &format!("memory.available<{threshold}")]);
        command.args(["--keep-cache-margin", &margin.to_string()]).args(node.agent_roots());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().context("the agent did not start")?;
        let stderr = child.stderr.take().context("the agent has no stderr")?;
        let lines = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&lines);
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                sink.lock().unwrap_or_else(PoisonError::into_inner).push((SystemTime::now(), line));
            }
        });
        Ok(Agent { child, started: Instant::now(), lines })
    }

    /// Percent of one processor's time, that of children included, since it was started.
    fn processor_share(&self) -> Result<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let fields = stat.rsplit(')').next().context("no such line")?.split_whitespace();
        // utime, stime, cutime and cstime, in ticks.
        let ticks: u64 = fields.skip(11).take(4).map(|field| field.parse().unwrap_or(0)).sum();
        let seconds = ticks as f64 / rustix::param::clock_ticks_per_second() as f64;
        Ok(seconds / self.started.elapsed().as_secs_f64() * 100.0)
    }

    fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).iter().map(|(_, line)| line.clone()).collect()
    }

    /// When the acts that did something were logged: a little after they were done.
    fn acts(&self) -> Vec<SystemTime> {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let acts = lines.iter().filter(|(_, line)| line.contains("kept cache of"));
        acts.map(|(time, _)| *time).filter(|time| time.duration_since(UNIX_EPOCH).is_ok()).collect()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
