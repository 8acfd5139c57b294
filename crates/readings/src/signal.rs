//! Signals: their names and numbers, what they do to a program that does not handle them, and which of them a process
//! handles.
//!
//! Numbers are those of x86 and arm (signal(7)); mips, alpha and sparc number some otherwise and are not built for.

use std::fmt;

use crate::parse::{self, ParseError};

/// A signal that exists: 1 to 64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Signal(u8);

/// What the kernel does for a program that neither handles nor ignores a signal (signal(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DefaultAction {
    /// It ends the program.
    End,
    /// It stops the program until SIGCONT.
    Stop,
    /// Nothing, or it continues a stopped program.
    Nothing,
}

const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM",
    "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO",
    "PWR", "SYS",
];

/// The first and the last real-time signal that glibc leaves to programs.
const REAL_TIME: (u8, u8) = (34, 64);

impl Signal {
    /// The terminal is gone; to many programs: read your configuration again.
    pub const HUP: Signal = Signal(1);
    /// The terminal's key that asks to end.
    pub const INT: Signal = Signal(2);
    /// The terminal's key that asks to end with a core dump; to some servers: end gracefully.
    pub const QUIT: Signal = Signal(3);
    /// Can't be handled.
    pub const KILL: Signal = Signal(9);
    /// The first of two without a meaning of its own.
    pub const USR1: Signal = Signal(10);
    /// Asks to end.
    pub const TERM: Signal = Signal(15);
    /// A child has ended or stopped.
    pub const CHLD: Signal = Signal(17);
    /// Go on.
    pub const CONT: Signal = Signal(18);
    /// Can't be handled.
    pub const STOP: Signal = Signal(19);
    /// The terminal's stop key.
    pub const TSTP: Signal = Signal(20);
    /// The terminal is read from the background.
    pub const TTIN: Signal = Signal(21);
    /// The terminal is written to from the background.
    pub const TTOU: Signal = Signal(22);

    /// A signal by its number. `None` where there is no such signal.
    pub fn new(number: i32) -> Option<Signal> {
        u8::try_from(number).ok().filter(|number| (1..=REAL_TIME.1).contains(number)).map(Signal)
    }

    /// Its number.
    pub fn number(self) -> i32 {
        self.0.into()
    }

    /// Reads a name with or without `SIG`, in any case, a number, or `RTMIN+N` and `RTMAX-N`.
    pub fn parse(text: &[u8]) -> Result<Self, ParseError> {
        Self::find(text).ok_or_else(|| ParseError::new("a signal such as SIGTERM, usr1 or 15", text))
    }

    fn find(text: &[u8]) -> Option<Signal> {
        if let Some(number) = parse::decimal(text) {
            return Signal::new(i32::try_from(number).ok()?);
        }
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix(b"SIG").unwrap_or(&upper);
        if let Some(at) = NAMES.iter().position(|known| known.as_bytes() == name) {
            return Signal::new(i32::try_from(at).ok()? + 1);
        }
        let real_time = match (name.strip_prefix(b"RTMIN"), name.strip_prefix(b"RTMAX")) {
            (Some([]), _) => REAL_TIME.0.into(),
            (_, Some([])) => REAL_TIME.1.into(),
            (Some([b'+', rest @ ..]), _) => u64::from(REAL_TIME.0).checked_add(parse::decimal(rest)?)?,
            (_, Some([b'-', rest @ ..])) => u64::from(REAL_TIME.1).checked_sub(parse::decimal(rest)?)?,
            _ => match name {
                b"IOT" => 6,
                b"CLD" => 17,
                b"POLL" => 29,
                _ => return None,
            },
        };
        let is_one_of_them = !name.starts_with(b"RT") || real_time >= REAL_TIME.0.into();
        Signal::new(i32::try_from(real_time).ok()?).filter(|_| is_one_of_them)
    }

    /// What happens to a program that does nothing about it.
    pub fn default_action(self) -> DefaultAction {
        match self.0 {
            17 | 18 | 23 | 28 => DefaultAction::Nothing,
            19..=22 => DefaultAction::Stop,
            _ => DefaultAction::End,
        }
    }
}

/// As `SIGTERM`; a real-time signal as `SIGRTMIN+1`; those that glibc keeps for itself by number.
impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.get(usize::from(self.0) - 1) {
            Some(name) => write!(f, "SIG{name}"),
            None if self.0 == REAL_TIME.0 => f.write_str("SIGRTMIN"),
            None if self.0 > REAL_TIME.0 => write!(f, "SIGRTMIN+{}", self.0 - REAL_TIME.0),
            None => write!(f, "signal {}", self.0),
        }
    }
}

/// What a thread does about each signal: `SigBlk`, `SigIgn` and `SigCgt` of `/proc/PID/status`, and the signals that wait
/// for its process (`ShdPnd`).
///
/// Source: proc_pid_status(5); `task_sig` in fs/proc/array.c, Linux 6.18.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SignalSets {
    blocked: u64,
    ignored: u64,
    caught: u64,
    pending: u64,
}

impl SignalSets {
    /// Parses `/proc/PID/status`, or a thread's.
    pub fn parse(status: &[u8]) -> Result<Self, ParseError> {
        let mut sets = SignalSets::default();
        let mut found = 0;
        for line in status.split(|&byte| byte == b'\n') {
            let Some((name, value)) = line.split_at_checked(7) else { continue };
            let set = match name {
                b"ShdPnd:" => &mut sets.pending,
                b"SigBlk:" => &mut sets.blocked,
                b"SigIgn:" => &mut sets.ignored,
                b"SigCgt:" => &mut sets.caught,
                _ => continue,
            };
            *set = parse_set(value).ok_or_else(|| ParseError::new("a set of signals in hexadecimal digits", line))?;
            found += 1;
        }
        if found == 4 { Ok(sets) } else { Err(ParseError::new("lines ShdPnd, SigBlk, SigIgn and SigCgt", status)) }
    }

    /// Whether the program has a handler for it.
    pub fn catches(&self, signal: Signal) -> bool {
        has(self.caught, signal)
    }

    /// Whether the thread lets it wait, as one does that reads signals from a signalfd, and any for a moment.
    pub fn blocks(&self, signal: Signal) -> bool {
        has(self.blocked, signal)
    }

    /// Whether the program ignores it.
    pub fn ignores(&self, signal: Signal) -> bool {
        has(self.ignored, signal)
    }

    /// Whether one is on its way to the process.
    pub fn is_pending(&self, signal: Signal) -> bool {
        has(self.pending, signal)
    }
}

/// Whether a descriptor is a signalfd that a signal can be read from, by its `/proc/PID/fdinfo` (`sigmask`,
/// `fs/signalfd.c`).
pub fn is_signalfd_for(fdinfo: &[u8], signal: Signal) -> bool {
    let masks = fdinfo.split(|&byte| byte == b'\n').filter_map(|line| line.strip_prefix(b"sigmask:"));
    masks.filter_map(parse_set).any(|set| has(set, signal))
}

fn parse_set(digits: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(digits.trim_ascii()).ok()?;
    Some(digits).filter(|digits| !digits.starts_with('+')).and_then(|hex| u64::from_str_radix(hex, 16).ok())
}

fn has(set: u64, signal: Signal) -> bool {
    set >> (signal.0 - 1) & 1 == 1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_and_numbers_are_read() {
        for (text, number) in [
            ("SIGTERM", 15),
            ("term", 15),
            ("SigUsr1", 10),
            ("9", 9),
            ("64", 64),
            ("RTMIN", 34),
            ("SIGRTMIN+3", 37),
            ("rtmax-14", 50),
            ("SIGRTMAX", 64),
            ("IOT", 6),
            ("SIGSYS", 31),
        ] {
            assert_eq!(Signal::parse(text.as_bytes()).map(Signal::number), Ok(number), "{text}");
        }
        for text in ["", "SIG", "0", "65", "-1", "TERM ", "RTMIN+31", "RTMAX-31", "RTMIN+", "RTMIN-1", "SIGSIGTERM"] {
            assert!(Signal::parse(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn what_ends_a_program_unasked_is_known() {
        let action = |text: &str| Signal::parse(text.as_bytes()).unwrap().default_action();
        assert_eq!(action("USR1"), DefaultAction::End);
        assert_eq!(action("RTMIN"), DefaultAction::End);
        assert_eq!(action("TSTP"), DefaultAction::Stop);
        assert_eq!(action("WINCH"), DefaultAction::Nothing);
    }

    #[test]
    fn the_sets_of_a_process_are_read() {
        let status = b"Name:\tSigCgt:\nShdPnd:\t0000000000000100\nSigBlk:\t0000000000004000\n\
            SigIgn:\t0000000000001000\nSigCgt:\t8000000000000200\n";
        let sets = SignalSets::parse(status).unwrap();
        assert!(sets.catches(Signal::USR1) && sets.catches(Signal(64)) && !sets.catches(Signal::TERM));
        assert!(sets.blocks(Signal::TERM) && sets.ignores(Signal(13)) && sets.is_pending(Signal::KILL));
        for bad in [&b""[..], b"SigBlk:\t0\n", b"ShdPnd:\tx\nSigBlk:\t0\nSigIgn:\t0\nSigCgt:\t0\n"] {
            assert!(SignalSets::parse(bad).is_err());
        }
    }

    #[test]
    fn a_signalfd_is_known() {
        let fdinfo = b"pos:\t0\nflags:\t02004002\nmnt_id:\t15\nino:\t1057\nsigmask:\t0000000000000200\n";
        assert!(is_signalfd_for(fdinfo, Signal::USR1) && !is_signalfd_for(fdinfo, Signal::TERM));
        assert!(!is_signalfd_for(b"pos:\t0\nsigmask:\t+200\neventfd-count: 200\n", Signal::USR1));
    }

    proptest! {
        #[test]
        fn a_shown_signal_is_read_back(number in 1..=64i32) {
            let signal = Signal::new(number).unwrap();
            let shown = signal.to_string();
            let read = Signal::parse(shown.strip_prefix("signal ").unwrap_or(&shown).as_bytes());
            prop_assert_eq!(read, Ok(signal));
        }

        #[test]
        fn never_panics(text: Vec<u8>) {
            let _ = (Signal::parse(&text), SignalSets::parse(&text), is_signalfd_for(&text, Signal::USR1));
        }
    }
}
