//! `reprieve evictions`.

use std::io::{self, Write};
use std::thread;
use std::time::Duration;

use anyhow::Result;
use reprieve_judgement::{CacheKeeper, Evictions, KeeperSettings, Margin};
use reprieve_linux::CacheActor;
use reprieve_readings::{Bytes, CacheMeans};
use reprieve_report::{EvictionsReport, evictions_json, evictions_screen};

use crate::arguments::EvictionsArguments;
use crate::commands::force_empty_writer;
use crate::commands::node_samples::NodeSamples;

/// Time between two readings while the window lasts.
const STEP: Duration = Duration::from_millis(500);

pub(crate) fn run(arguments: &EvictionsArguments) -> Result<()> {
    let mut samples = NodeSamples::open(&arguments.roots, &arguments.kubelet)?;
    let mut evictions = samples.read();
    while samples.now() < arguments.window {
        thread::sleep(STEP.min(arguments.window.saturating_sub(samples.now())));
        evictions = samples.read();
    }
    let forecasts = samples.forecasts(&evictions);
    let margin = arguments.keep_cache_margin.map_or(Margin::Default, Margin::At);
    let page_size = Bytes::new(rustix::param::page_size() as u64);
    let mut keeper = CacheKeeper::new(KeeperSettings { margin, page_size });
    let means = means(&samples, &evictions);
    let decision = keeper.decide(samples.now(), &evictions, &forecasts, &means);
    let report =
        EvictionsReport { evictions: &evictions, forecasts: &forecasts, keeper: &decision, notes: samples.notes() };
    let mut output = io::stdout().lock();
    if arguments.json {
        writeln!(output, "{}", evictions_json(&report))?;
    } else {
        output.write_all(evictions_screen(&report).as_bytes())?;
    }
    output.flush()?;
    Ok(())
}

/// The means that the kernel has for the largest holder. Asking changes nothing.
fn means(samples: &NodeSamples, evictions: &Evictions) -> Vec<CacheMeans> {
    let largest = evictions.holders.first().and_then(|holder| samples.tree().find(&holder.path));
    let target = largest.and_then(|cgroup| cgroup.cache_target().ok());
    let mut actor =
        CacheActor::new(samples.roots(), samples.tree().version(), false).with_writer(force_empty_writer::writer());
    target.map(|target| actor.means(&target)).unwrap_or_default()
}
