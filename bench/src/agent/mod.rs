//! What a running agent costs: memory, CPU time between scrapes, and the answers to a scraper.
//!
//! Beside it runs prometheus-node-exporter, the nearest thing that Debian packages: it knows nothing of cgroups and does
//! nothing between scrapes. cAdvisor is the true peer and can't be had as a package, so its figures are quoted.

mod figures;
mod scrape;
mod usage;

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args;
use reprieve_readings::CgroupVersion;

use crate::agent::figures::{Figures, table};
use crate::agent::scrape::{Request, scrape};
use crate::agent::usage::{Memory, cpu_time, kernel_memory};
use crate::place::{Place, command_in};
use crate::population::populate;
use crate::program::{Server, get, start_agent};
use crate::statistics::Sample;
use crate::{print_section, progress};

/// Until the agent knows all cgroups, and the exporter is done with its start.
const SETTLING: Duration = Duration::from_secs(5);

/// What a scraper accepts: the older text format, and OpenMetrics.
const TEXT: &str = "text/plain";
const OPEN_METRICS: &str = "application/openmetrics-text;version=1.0.0";

/// Arguments of `agent`.
#[derive(Args)]
pub(crate) struct Options {
    /// The program `reprieve`
    program: PathBuf,
    /// The program prometheus-node-exporter
    #[arg(long)]
    node_exporter: Option<PathBuf>,
    /// Numbers of cgroups
    #[arg(long, value_delimiter = ',', default_value = "100,500")]
    cgroups: Vec<usize>,
    /// Seconds over which the idle CPU time is taken
    #[arg(long, default_value_t = 30)]
    idle: u64,
    /// Requests of each format
    #[arg(long, default_value_t = 50)]
    scrapes: usize,
}

/// A server that is measured.
struct Subject {
    heading: String,
    server: Server,
    cgroup: PathBuf,
    formats: &'static [&'static str],
}

/// Measures and prints the section.
pub(crate) fn run(options: &Options) -> Result<()> {
    let mut columns = Vec::new();
    for &cgroups in &options.cgroups {
        let place = Place::open()?;
        progress(&format!("making {cgroups} cgroups"));
        populate(&place, "others", cgroups)?;
        let mut subjects = vec![start_ours(&place, options, cgroups)?];
        // It costs the same beside any number of cgroups: once is enough.
        if Some(&cgroups) == options.cgroups.last() {
            subjects.extend(start_exporter(&place, options)?);
        }
        progress(&format!("{cgroups} cgroups: idle for {} s, then scrapes", options.idle));
        columns.extend(measure(&subjects, place.version(), options)?);
    }
    let notes = [
        format!(
            "Idle: {} s without a request, at the default interval of 1 s, median of every 3 s. Answers: {} requests of each kind in turn; \
             latency from connecting to the last byte; CPU time of all the server's threads.",
            options.idle, options.scrapes
        ),
        "cAdvisor: its library 0.56.2 at 500 cgroups, measured earlier on this kind of machine, not in this run. \
         node_exporter: Debian's, in this run; it tells nothing of cgroups."
            .to_owned(),
    ];
    print_section("The agent: memory, idle CPU time, answers to a scraper", &table(&columns), &notes)
}

fn start_ours(place: &Place, options: &Options, cgroups: usize) -> Result<Subject> {
    let cgroup = place.cgroup("agent")?;
    let mut server = start_agent(&options.program, &cgroup, None)?;
    server.drain_log()?;
    Ok(Subject { heading: format!("at {cgroups}"), server, cgroup, formats: &[TEXT, OPEN_METRICS] })
}

fn start_exporter(place: &Place, options: &Options) -> Result<Option<Subject>> {
    let Some(program) = &options.node_exporter else { return Ok(None) };
    let cgroup = place.cgroup("exporter")?;
    let mut server = Server::start(command_in(&cgroup, program).arg("--web.listen-address=127.0.0.1:0"))
        .with_context(|| program.display().to_string())?;
    server.drain_log()?;
    Ok(Some(Subject { heading: "node_exporter".to_owned(), server, cgroup, formats: &[TEXT] }))
}

fn measure(subjects: &[Subject], version: CgroupVersion, options: &Options) -> Result<Vec<Figures>> {
    thread::sleep(SETTLING);
    let idle = idle_percents(subjects, Duration::from_secs(options.idle))?;
    let before = memories(subjects)?;
    let kernel: Vec<Option<u64>> = subjects.iter().map(|subject| kernel_memory(&subject.cgroup, version)).collect();
    let requests: Vec<Request<'_>> = subjects
        .iter()
        .flat_map(|subject| subject.formats.iter().map(|accept| Request { server: &subject.server, accept }))
        .collect();
    let seen: Vec<Option<u64>> = subjects.iter().map(|subject| cgroups_seen(&subject.server)).collect::<Result<_>>()?;
    let mut answers = scrape(&requests, options.scrapes)?.into_iter();
    let after = memories(subjects)?;
    let measured = subjects.iter().zip(idle).zip(before).zip(kernel).zip(after).zip(seen);
    Ok(measured
        .map(|(((((subject, idle_percent), before), kernel), after), seen)| Figures {
            heading: subject.heading.clone(),
            seen,
            idle_percent,
            before,
            kernel,
            after,
            answers: answers.by_ref().take(subject.formats.len()).collect(),
        })
        .collect())
}

/// How many cgroups an agent reads: those of the place, of this machine, and of whoever else makes some meanwhile.
fn cgroups_seen(server: &Server) -> Result<Option<u64>> {
    let answer = get(server.address, "/metrics", TEXT)?;
    let text = String::from_utf8_lossy(&answer.text);
    Ok(text.lines().find_map(|line| line.strip_prefix("reprieve_scan_cgroups ")?.parse().ok()))
}

fn memories(subjects: &[Subject]) -> Result<Vec<Memory>> {
    subjects.iter().map(|subject| Memory::of(subject.server.pid())).collect()
}

/// The CPU time of each in percent of one core: the median of stretches of three seconds, so that a disturbed one does
/// not count.
fn idle_percents(subjects: &[Subject], time: Duration) -> Result<Vec<f64>> {
    const STRETCH: Duration = Duration::from_secs(3);
    let times = || subjects.iter().map(|subject| cpu_time(subject.server.pid())).collect::<Result<Vec<Duration>>>();
    let mut percents = vec![Vec::new(); subjects.len()];
    let end = Instant::now() + time;
    while Instant::now() < end {
        let started = Instant::now();
        let before = times()?;
        thread::sleep(STRETCH);
        let after = times()?;
        let elapsed = started.elapsed().as_secs_f64();
        for ((percents, before), after) in percents.iter_mut().zip(before).zip(after) {
            percents.push(after.saturating_sub(before).as_secs_f64() / elapsed * 100.0);
        }
    }
    percents.into_iter().map(|percents| Ok(Sample::new(percents)?.median())).collect()
}
