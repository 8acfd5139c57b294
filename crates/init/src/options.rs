//! What the command line and the environment can ask for, as values.

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use reprieve_judgement::Threshold;
use reprieve_readings::{Escaped, Signal, parse_quantity};

use crate::log::LogFormat;

/// Everything that can be asked for.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) command: Vec<OsString>,
    pub(crate) subreaper: bool,
    pub(crate) parent_death_signal: Option<Signal>,
    pub(crate) verbosity: u8,
    pub(crate) warn_on_reap: bool,
    pub(crate) kill_group: bool,
    /// Exit codes of the main program that are a success.
    pub(crate) expected_codes: Vec<u8>,
    pub(crate) log_format: LogFormat,
    pub(crate) on_oom_kill: OnOomKill,
    pub(crate) termination_log: TerminationLogPlace,
    pub(crate) stop_signal: Signal,
    pub(crate) grace: Duration,
    pub(crate) rungs: Vec<RungOptions>,
    pub(crate) warn_signal: Signal,
    pub(crate) hook: Option<OsString>,
    pub(crate) hook_timeout: Duration,
    pub(crate) ready_file: Option<PathBuf>,
    pub(crate) ready_address: Option<SocketAddr>,
    pub(crate) stop_code: Option<u8>,
    pub(crate) pressure_socket: PressureSocketPlace,
    pub(crate) victim: Option<VictimChoice>,
    pub(crate) size_runtime: bool,
}

/// What to do when the kernel has killed a process of the container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnOomKill {
    /// Tell of it.
    Report,
    /// Also end the main program, and exit with 137.
    Exit,
    /// Also start the main program again.
    Restart,
    /// Also send the main program a signal.
    Signal(Signal),
}

/// The file whose end Kubernetes shows when the container has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TerminationLogPlace {
    /// `/dev/termination-log`, if it is there: Kubernetes mounts it.
    Usual,
    /// This one, made if it is not there.
    At(PathBuf),
    /// None.
    Off,
}

/// Where the socket of systemd's memory pressure protocol is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PressureSocketPlace {
    /// In the first directory that can be written to, if any rung asks for it.
    Usual,
    /// In this directory.
    In(PathBuf),
    /// Nowhere.
    Off,
}

/// Whom the kernel is to take first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum VictimChoice {
    /// Any other process before the main one.
    ProtectMain,
    /// The main process before any other.
    SacrificeMain,
}

/// A rung of the ladder, as asked for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RungOptions {
    pub(crate) thresholds: Vec<Threshold>,
    /// `None`: all that are set up, but not to stop.
    pub(crate) steps: Option<Steps>,
}

/// What to do when a rung is reached.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Steps {
    /// Send the main program a signal.
    pub(crate) signal: bool,
    /// Run a command.
    pub(crate) hook: bool,
    /// Take the container out of service.
    pub(crate) unready: bool,
    /// Tell the programs that use systemd's memory pressure protocol.
    pub(crate) notify: bool,
    /// End the main program.
    pub(crate) stop: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            command: Vec::new(),
            subreaper: false,
            parent_death_signal: None,
            verbosity: 1,
            warn_on_reap: false,
            kill_group: false,
            expected_codes: Vec::new(),
            log_format: LogFormat::Text,
            on_oom_kill: OnOomKill::Report,
            termination_log: TerminationLogPlace::Usual,
            stop_signal: Signal::TERM,
            grace: Duration::from_secs(10),
            rungs: Vec::new(),
            warn_signal: Signal::USR1,
            hook: None,
            hook_timeout: Duration::from_secs(10),
            ready_file: None,
            ready_address: None,
            stop_code: None,
            pressure_socket: PressureSocketPlace::Usual,
            victim: None,
            size_runtime: false,
        }
    }
}

impl Options {
    /// The steps of a rung.
    pub(crate) fn steps_of(&self, rung: usize) -> Steps {
        let usual = Steps {
            signal: true,
            hook: self.hook.is_some(),
            unready: self.has_readiness(),
            notify: self.pressure_socket != PressureSocketPlace::Off,
            stop: false,
        };
        self.rungs.get(rung).and_then(|rung| rung.steps).unwrap_or(usual)
    }

    /// Whether any rung takes this step.
    pub(crate) fn any_step(&self, takes: impl Fn(Steps) -> bool) -> bool {
        (0..self.rungs.len()).any(|rung| takes(self.steps_of(rung)))
    }

    pub(crate) fn has_readiness(&self) -> bool {
        self.ready_file.is_some() || self.ready_address.is_some()
    }
}

pub(crate) fn parse_signal(text: &[u8]) -> Result<Signal, String> {
    Signal::parse(text).map_err(|_| "give a signal such as SIGUSR1, usr1 or 10".to_owned())
}

/// A signal that a program can do something about.
pub(crate) fn parse_catchable_signal(text: &[u8]) -> Result<Signal, String> {
    match parse_signal(text)? {
        Signal::KILL | Signal::STOP => Err("no program can handle that signal; give another one".to_owned()),
        signal => Ok(signal),
    }
}

pub(crate) fn parse_code(text: &[u8]) -> Result<u8, String> {
    let code = std::str::from_utf8(text).ok().filter(|text| !text.starts_with('+')).and_then(|text| text.parse().ok());
    code.ok_or_else(|| "give an exit code from 0 to 255".to_owned())
}

/// Reads `10s`, `1.5s`, `500ms` or `2m`.
pub(crate) fn parse_time(text: &[u8]) -> Result<Duration, String> {
    const LONGEST: f64 = 86_400.0;
    let error = || "give a time up to a day, such as 10s, 500ms or 2m".to_owned();
    let text = std::str::from_utf8(text).map_err(|_| error())?;
    let (number, unit) = if let Some(number) = text.strip_suffix("ms") {
        (number, 0.001)
    } else if let Some(number) = text.strip_suffix('s') {
        (number, 1.0)
    } else {
        (text.strip_suffix('m').ok_or_else(error)?, 60.0)
    };
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return Err(error());
    }
    let seconds = number.parse::<f64>().map_err(|_| error())? * unit;
    if seconds <= LONGEST { Duration::try_from_secs_f64(seconds).map_err(|_| error()) } else { Err(error()) }
}

pub(crate) fn parse_on_oom_kill(text: &[u8]) -> Result<OnOomKill, String> {
    match text {
        b"report" => Ok(OnOomKill::Report),
        b"exit" => Ok(OnOomKill::Exit),
        b"restart" => Ok(OnOomKill::Restart),
        _ => match text.strip_prefix(b"signal=") {
            Some(signal) => parse_catchable_signal(signal).map(OnOomKill::Signal),
            None => Err("give report, exit, restart or signal=SIGNAL".to_owned()),
        },
    }
}

/// Reads a port, which is served on all addresses since a probe comes from outside, or an address with one.
pub(crate) fn parse_address(text: &[u8]) -> Result<SocketAddr, String> {
    let text = std::str::from_utf8(text).unwrap_or_default();
    let port = text.parse().ok().map(|port| SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port));
    port.or_else(|| text.parse().ok()).ok_or_else(|| "give a port such as 8081, or ADDRESS:PORT".to_owned())
}

/// Reads `WHEN[,WHEN…][:STEP[,STEP…]]`.
pub(crate) fn parse_rung(text: &[u8]) -> Result<RungOptions, String> {
    let mut halves = text.splitn(2, |&byte| byte == b':');
    let thresholds = halves.next().unwrap_or_default().split(|&byte| byte == b',').map(parse_threshold);
    let thresholds = thresholds.collect::<Result<_, _>>()?;
    let mut steps = None;
    for word in halves.next().into_iter().flat_map(|steps| steps.split(|&byte| byte == b',')) {
        let steps = steps.get_or_insert_with(Steps::default);
        match word {
            b"signal" => steps.signal = true,
            b"hook" => steps.hook = true,
            b"unready" => steps.unready = true,
            b"notify" => steps.notify = true,
            b"stop" => steps.stop = true,
            _ => return Err(format!("{} is no step; give signal, hook, unready, notify or stop", Escaped(word))),
        }
    }
    Ok(RungOptions { thresholds, steps })
}

fn parse_threshold(text: &[u8]) -> Result<Threshold, String> {
    let error = || {
        let text = Escaped(text);
        format!("{text} is no threshold; give 10% or 64Mi (available), 2s (until nothing is) or pressure=20%")
    };
    let percent = |text: &[u8]| {
        let number = std::str::from_utf8(text.strip_suffix(b"%")?).ok()?;
        let is_plain = number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        number.parse::<f32>().ok().filter(|percent| is_plain && (0.0..=100.0).contains(percent))
    };
    if let Some(pressure) = text.strip_prefix(b"pressure=") {
        return percent(pressure).map(Threshold::Pressure).ok_or_else(error);
    }
    if text.ends_with(b"%") {
        return percent(text).map(Threshold::Share).ok_or_else(error);
    }
    match (parse_quantity(text), parse_time(text)) {
        // `m` is a thousandth of a byte to Kubernetes; nobody means that.
        (_, Ok(time)) => Ok(Threshold::TimeLeft(time)),
        (Ok(bytes), Err(_)) => Ok(Threshold::Available(bytes)),
        (Err(_), Err(_)) => Err(error()),
    }
}

#[cfg(test)]
mod tests {
    use reprieve_readings::Bytes;

    use super::*;

    #[test]
    fn rungs_have_thresholds_and_steps() {
        let rung = parse_rung(b"10%,64Mi,2s,500ms,pressure=20%:signal,stop").unwrap();
        assert_eq!(
            rung.thresholds,
            [
                Threshold::Share(10.0),
                Threshold::Available(Bytes::from_mib(64)),
                Threshold::TimeLeft(Duration::from_secs(2)),
                Threshold::TimeLeft(Duration::from_millis(500)),
                Threshold::Pressure(20.0),
            ]
        );
        assert_eq!(rung.steps, Some(Steps { signal: true, stop: true, ..Steps::default() }));
        assert_eq!(parse_rung(b"1Gi").unwrap().steps, None);
        for text in ["", "10%:", "10%:jump", "101%", "-1%", "+1%", "1e1%", "10%,", "pressure=1", "soon", "1d", "inf%"] {
            assert!(parse_rung(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn times_have_units_and_a_bound() {
        assert_eq!(parse_time(b"1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(parse_time(b"2m"), Ok(Duration::from_secs(120)));
        assert_eq!(parse_time(b"0s"), Ok(Duration::ZERO));
        for text in ["", "s", "1", "-1s", "1h", "1e3s", "2000m", "..s", "NaNs"] {
            assert!(parse_time(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn what_no_program_can_handle_is_refused() {
        assert_eq!(parse_on_oom_kill(b"signal=HUP"), Ok(OnOomKill::Signal(Signal::parse(b"HUP").unwrap())));
        assert!(parse_on_oom_kill(b"signal=KILL").is_err());
        assert!(parse_on_oom_kill(b"panic").is_err());
    }

    #[test]
    fn a_port_alone_is_served_on_all_addresses() {
        assert_eq!(parse_address(b"8081").unwrap().to_string(), "0.0.0.0:8081");
        assert_eq!(parse_address(b"127.0.0.1:80").unwrap().to_string(), "127.0.0.1:80");
        assert_eq!(parse_address(b"[::1]:80").unwrap().to_string(), "[::1]:80");
        assert!(parse_address(b"70000").is_err());
    }

    #[test]
    fn codes_are_those_of_processes() {
        assert_eq!(parse_code(b"143"), Ok(143));
        assert!(parse_code(b"256").is_err() && parse_code(b"-1").is_err() && parse_code(b"+1").is_err());
    }
}
