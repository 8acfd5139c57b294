//! Writing markers into the kernel's log and reading them back, to learn what its clock shows.

use std::fs::OpenOptions;
use std::io::Write;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::kills::clock::Mark;
use crate::kills::listen::{MARKER, Record, monotonic};

/// Fewer than the kernel takes from one open file within five seconds (10, `devkmsg_open` in kernel/printk/printk.c).
const BATCH: u64 = 8;

/// All markers of a run.
#[derive(Default)]
pub(crate) struct Markers {
    written: u64,
    /// Those written at one moment together, in order.
    pub(crate) batches: Vec<Vec<Mark>>,
}

impl Markers {
    /// Writes some markers and waits until the log has shown them. No kill may be under way.
    pub(crate) fn write(&mut self, records: &Receiver<Record>) -> Result<()> {
        // Opened anew each time: the kernel's rate limit is that of an open file.
        let log = OpenOptions::new().write(true).open("/dev/kmsg");
        let mut log = log.context("/dev/kmsg could not be opened for writing")?;
        let first = self.written;
        let mut readings = Vec::new();
        for number in first..first + BATCH {
            // Level 6: too low for any console that shows problems only.
            let line = format!("<6>{MARKER}{number}");
            let before = monotonic();
            log.write_all(line.as_bytes()).context("a marker could not be written to /dev/kmsg")?;
            readings.push((number, before, monotonic()));
        }
        self.written += BATCH;
        let logged = read_back(records, first)?;
        let marks = logged.into_iter().filter_map(|(number, logged)| {
            let &(_, before, after) = readings.iter().find(|reading| reading.0 == number)?;
            Some(Mark { logged, before, after })
        });
        self.batches.push(marks.collect());
        Ok(())
    }
}

fn read_back(records: &Receiver<Record>, first: u64) -> Result<Vec<(u64, f64)>> {
    let end = Instant::now() + Duration::from_secs(2);
    let mut found = Vec::new();
    while found.len() < BATCH as usize
        && let Ok(record) = records.recv_timeout(end.saturating_duration_since(Instant::now()))
    {
        if let Record::Mark { number, logged } = record
            && number >= first
        {
            found.push((number, logged));
        }
    }
    ensure!(
        !found.is_empty(),
        "no marker came back from /dev/kmsg; the sysctl kernel.printk_devkmsg must be `ratelimit` or `on`"
    );
    Ok(found)
}
