//! What answers to a scraper cost.
//!
//! Servers and formats take turns, one request each. The CPU time is that of all threads of the server from before the
//! request until a little after it. A scan of the agent that falls into this window is counted along, which happens to a
//! few requests of a hundred and so doesn't reach the median.

use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::agent::usage::cpu_time;
use crate::program::{Server, get};
use crate::statistics::Sample;

/// What a server may still do after its last byte: close the connection, free the answer.
const AFTERWARDS: Duration = Duration::from_millis(5);

/// A server and what to ask it for.
pub(crate) struct Request<'a> {
    /// Whom to ask.
    pub(crate) server: &'a Server,
    /// The header `Accept`.
    pub(crate) accept: &'static str,
}

/// What its answers cost.
pub(crate) struct Cost {
    /// Bytes of the last body.
    pub(crate) size: usize,
    /// Milliseconds from connecting to the last byte.
    pub(crate) latency: Sample,
    /// Milliseconds of CPU time.
    pub(crate) cpu: Sample,
}

/// Sends all requests `rounds` times in turn.
pub(crate) fn scrape(requests: &[Request<'_>], rounds: usize) -> Result<Vec<Cost>> {
    let mut answers = vec![(0, Vec::new(), Vec::new()); requests.len()];
    for _ in 0..rounds {
        for (request, (size, latencies, times)) in requests.iter().zip(&mut answers) {
            let pid = request.server.pid();
            let before = cpu_time(pid)?;
            let answer = get(request.server.address, "/metrics", request.accept)?;
            thread::sleep(AFTERWARDS);
            let used = cpu_time(pid)?.saturating_sub(before);
            ensure!(answer.status() == Some("200"), "{} did not answer with 200", request.server.address);
            *size = answer.body_length();
            latencies.push(milliseconds(answer.latency));
            times.push(milliseconds(used));
        }
    }
    let costs = answers
        .into_iter()
        .map(|(size, latencies, times)| Ok(Cost { size, latency: Sample::new(latencies)?, cpu: Sample::new(times)? }));
    costs.collect()
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
