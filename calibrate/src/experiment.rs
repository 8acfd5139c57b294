//! One run: prepare, read, judge, fill until the kernel kills, and tell.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use reprieve_judgement::{Estimate, judge_available, judge_hidden, judge_limit};
use reprieve_lab::Lab;
use reprieve_readings::{Bytes, Limit};

use crate::peers::{PEERS, version_name};
use crate::reading::Reading;
use crate::row::{End, LevelRow, NodeRow, Row};
use crate::scenarios::Scenario;
use crate::stage::Stage;
use crate::worker::Filler;

/// This program, which is also what runs inside the cgroups.
#[derive(Debug, Clone)]
pub struct Program(pub PathBuf);

/// A process that gets nothing more for so long gets nothing more at all.
const STALL: Duration = Duration::from_secs(20);
/// However it goes on.
const DEADLINE: Duration = Duration::from_secs(300);

/// Does one run of a scenario with a limit of so many bytes, with files on disk below `files`.
/// Returns a row, and a second one where there is a bound before the last.
pub fn run(lab: &Lab, program: &Program, files: &Path, scenario: &Scenario, limit: u64) -> Result<Vec<Row>> {
    let mut stage = Stage::new(lab, program, files, limit)?;
    (scenario.prepare)(&mut stage).with_context(|| format!("{} could not be prepared", scenario.name))?;
    let mut filler = Filler::start(program, &stage.cgroup)?;
    let reading = Reading::take(lab, &stage.cgroup)?;
    let started = Instant::now();
    filler.go()?;
    let mut rows = Vec::new();
    if stage.until_high {
        let (obtained, end) = until_slowed(&mut filler, &stage)?;
        let name = format!("{}: until slowed", scenario.name);
        rows.push(judge(&reading, &name, true, false, Outcome { obtained, end, started })?);
        stage.set("memory.high", "max")?;
    }
    let (obtained, end) = until_killed(&mut filler)?;
    let outcome = Outcome { obtained, end, started };
    rows.push(judge(&reading, scenario.name, false, stage.with_swap, outcome)?);
    Ok(rows)
}

struct Outcome {
    obtained: u64,
    end: End,
    started: Instant,
}

fn until_killed(filler: &mut Filler) -> Result<(u64, End)> {
    let started = Instant::now();
    let mut last = (0, Instant::now());
    loop {
        if filler.killed()? {
            return Ok((filler.obtained()?, End::Killed));
        }
        let obtained = filler.obtained()?;
        if obtained != last.0 {
            last = (obtained, Instant::now());
        }
        if last.1.elapsed() > STALL || started.elapsed() > DEADLINE {
            return Ok((obtained, End::Stalled));
        }
        thread::sleep(Duration::from_millis(2));
    }
}

/// Waits until usage stays above `memory.high`: the kernel could not reclaim it back below, and slows the process down,
/// the more the further it is above. What it had when it was not above yet is what counts.
///
/// The event `high` is no sign of that: it is counted also where cache is reclaimed and nobody waits.
fn until_slowed(filler: &mut Filler, stage: &Stage) -> Result<(u64, End)> {
    let read = |name| anyhow::Ok(std::fs::read_to_string(stage.cgroup.join(name))?.trim().parse::<u64>()?);
    let high = read("memory.high")?;
    let mut above = 0;
    loop {
        let usage = read("memory.current")?;
        let obtained = filler.obtained()?;
        above = if usage > high + high / 100 { above + 1 } else { 0 };
        if above == 10 {
            return Ok((obtained.saturating_sub(usage - high), End::Slowed));
        }
        if filler.killed()? {
            return Ok((filler.obtained()?, End::Killed));
        }
        thread::sleep(Duration::from_millis(20));
    }
}

fn judge(reading: &Reading, scenario: &str, throttle: bool, with_swap: bool, outcome: Outcome) -> Result<Row> {
    let hidden = judge_hidden(reading.version, &reading.levels, None);
    let available = judge_available(&reading.levels, hidden, &reading.node).context("nothing could be judged")?;
    let swap = if with_swap { available.swap.map_or(0, Bytes::get) } else { 0 };
    let bound =
        if throttle { available.until_throttle.context("there is no memory.high")? } else { available.until_kill };
    let Estimate { low, best, high } = bound.estimate;
    let limit = judge_limit(&reading.levels, hidden, &reading.node).context("there is no limit")?;
    let soft = reading.levels.iter().filter_map(|level| level.high.and_then(Limit::bytes)).min();
    let limit = if throttle { soft.unwrap_or(limit) } else { limit };
    let with_swap = |bytes: u64| bytes.saturating_add(swap);
    let asked = PEERS.iter().filter(|peer| peer.knows_high || !throttle);
    let answers = asked.map(|peer| (peer.name.to_owned(), (peer.answer)(reading).map(with_swap)));
    Ok(Row {
        scenario: scenario.to_owned(),
        version: version_name(reading.version).to_owned(),
        kernel: std::fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned(),
        limit: limit.get().saturating_add(swap),
        levels: reading.levels.iter().map(LevelRow::from).collect(),
        node: NodeRow { on_processors: reading.on_processors, ..NodeRow::from(&reading.node) },
        // Without swap: where the disk is slow the kernel kills before all of it is full.
        low: low.get(),
        best: with_swap(best.get()),
        high: with_swap(high.get()),
        swap,
        peers: answers.collect(),
        obtained: outcome.obtained,
        end: outcome.end,
        seconds: outcome.started.elapsed().as_secs_f64(),
    })
}
