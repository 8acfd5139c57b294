//! What the bench ran on, and how much others used it meanwhile.

use anyhow::{Context, Result};
use std::{fs, thread, time::Duration};

/// The machine in two lines: processor, cores, memory, kernel; and whether it was loaded when the bench began.
pub(crate) fn describe(load: &str) -> Result<String> {
    let cores = thread::available_parallelism().context("the cores could not be counted")?;
    let kernel = read("/proc/sys/kernel/osrelease")?;
    let memory: f64 = field(&read("/proc/meminfo")?, "MemTotal")
        .and_then(|value| value.trim_end_matches(" kB").parse().ok())
        .context("/proc/meminfo tells no MemTotal")?;
    let model = field(&read("/proc/cpuinfo")?, "model name").unwrap_or("unknown processor").to_owned();
    let memory = memory / f64::from(1 << 20);
    Ok(format!("Machine: {model}, {cores} cores, {memory:.1} GiB, Linux {}\nWhen it began: {load}", kernel.trim()))
}

/// The load averages, before this program adds its own.
pub(crate) fn load() -> Result<String> {
    let averages: Vec<String> = read("/proc/loadavg")?.split(' ').take(3).map(str::to_owned).collect();
    let percent = others_percent()?;
    Ok(format!("load {}; {percent:.0} % of its CPU time in use", averages.join(" ")))
}

/// How much of all processors' time is in use while this program does nothing for two seconds.
pub(crate) fn others_percent() -> Result<f64> {
    let before = CpuTimes::read()?;
    thread::sleep(Duration::from_secs(2));
    let after = CpuTimes::read()?;
    let total = after.total - before.total;
    Ok((1.0 - (after.idle - before.idle) / total.max(1.0)) * 100.0)
}

/// The first line of /proc/stat, in ticks.
#[derive(Debug, PartialEq)]
struct CpuTimes {
    total: f64,
    idle: f64,
}

impl CpuTimes {
    fn read() -> Result<Self> {
        Self::parse(&read("/proc/stat")?).context("/proc/stat does not begin with the times of all processors")
    }

    fn parse(text: &str) -> Option<Self> {
        // user, nice, system, idle, iowait, irq, softirq, steal; the times of guests after them are part of user.
        let line = text.lines().next()?.strip_prefix("cpu ")?;
        let times: Vec<f64> = line.split_whitespace().take(8).filter_map(|time| time.parse().ok()).collect();
        Some(CpuTimes { total: times.iter().sum(), idle: times.get(3)? + times.get(4)? })
    }
}

fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, value) = text.lines().filter_map(|line| line.split_once(':')).find(|(key, _)| key.trim() == name)?;
    Some(value.trim())
}

fn read(path: &str) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("{path} could not be read"))
}

#[cfg(test)]
mod tests {
    use super::{CpuTimes, field};

    #[test]
    fn waiting_for_a_disk_is_idle_and_a_stolen_tick_is_not() {
        let times = CpuTimes::parse("cpu  1 2 3 40 50 6 7 8 100 100\ncpu0 1 2 3\n").unwrap();
        assert_eq!(times, CpuTimes { total: 117.0, idle: 90.0 });
        assert_eq!(CpuTimes::parse("cpu0 1 2 3\n"), None);
    }

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let text = "MemTotalX: 1 kB\nMemTotal:       24683 kB\nmodel name\t: AMD EPYC\n";
        assert_eq!(field(text, "MemTotal"), Some("24683 kB"));
        assert_eq!(field(text, "model name"), Some("AMD EPYC"));
    }
}
