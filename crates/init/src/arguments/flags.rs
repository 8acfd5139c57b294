//! The options: each one's names, help and meaning stand together in one table.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use crate::log::LogFormat;
use crate::options::{
    Options, PressureSocketPlace, TerminationLogPlace, VictimChoice, parse_address, parse_catchable_signal, parse_code,
    parse_on_oom_kill, parse_rung, parse_signal, parse_time,
};

/// An option.
pub(super) struct Flag {
    pub(super) short: Option<u8>,
    pub(super) long: &'static str,
    /// What the value is called in the help; empty where there is none.
    pub(super) value: &'static str,
    pub(super) help: &'static str,
    /// Takes the value; of a flag without one what stands in the environment, or `1`.
    pub(super) apply: fn(&mut Options, &[u8]) -> Result<(), String>,
}

impl Flag {
    /// The variable that stands for it.
    pub(super) fn variable(&self) -> String {
        format!("REPRIEVE_INIT_{}", self.long.to_ascii_uppercase().replace('-', "_"))
    }

    /// What can be repeated holds several values in the environment, separated by spaces.
    pub(super) fn values<'a>(&self, value: &'a [u8]) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let is_list = matches!(self.long, "warn" | "expect-exit");
        let words = value.split(move |&byte| is_list && byte == b' ');
        words.filter(move |word| !word.is_empty() || !is_list)
    }

    /// Whether what the environment says of another one counts no more once this one is given.
    pub(super) fn overrules(&self, other: &Flag) -> bool {
        let chooses_victim = |flag: &Flag| matches!(flag.long, "protect-main" | "sacrifice-main");
        self.long == other.long || (chooses_victim(self) && chooses_victim(other))
    }
}

const fn flag(
    short: u8,
    long: &'static str,
    value: &'static str,
    help: &'static str,
    apply: fn(&mut Options, &[u8]) -> Result<(), String>,
) -> Flag {
    Flag { short: if short == 0 { None } else { Some(short) }, long, value, help, apply }
}

/// Sets a switch: on, unless the environment says 0 or nothing.
fn switch(place: &mut bool, value: &[u8]) -> Result<(), String> {
    *place = !matches!(value, b"" | b"0" | b"false");
    Ok(())
}

fn set<T>(place: &mut T, value: Result<T, String>) -> Result<(), String> {
    value.map(|value| *place = value)
}

fn path(value: &[u8]) -> OsString {
    OsString::from_vec(value.to_vec())
}

/// All options, in the order of the help text.
pub(super) const FLAGS: &[Flag] = &[
    flag(b's', "subreaper", "", "Reap orphans also when not running as PID 1", |o, v| switch(&mut o.subreaper, v)),
    flag(b'p', "parent-death-signal", "SIGNAL", "Get SIGNAL when the parent dies", |o, v| {
        set(&mut o.parent_death_signal, parse_signal(v).map(Some))
    }),
    flag(b'g', "kill-process-group", "", "Send signals to the program's whole process group", |o, v| {
        switch(&mut o.kill_group, v)
    }),
    flag(b'e', "expect-exit", "CODE", "Exit with 0 where the program exits with CODE; repeatable", |o, v| {
        parse_code(v).map(|code| o.expected_codes.push(code))
    }),
    flag(b'w', "warn-on-reap", "", "Tell of every orphan that is reaped", |o, v| switch(&mut o.warn_on_reap, v)),
    flag(b'v', "verbose", "", "Say more; repeatable", |o, v| {
        let more = std::str::from_utf8(v).ok().and_then(|number| number.parse::<u8>().ok());
        o.verbosity = o.verbosity.saturating_add(more.ok_or("give a number")?);
        Ok(())
    }),
    flag(0, "log-format", "FORMAT", "text (default), or json", |o, v| {
        o.log_format = match v {
            b"text" => LogFormat::Text,
            b"json" => LogFormat::Json,
            _ => return Err("give text or json".to_owned()),
        };
        Ok(())
    }),
    flag(
        0,
        "on-oom-kill",
        "POLICY",
        "When the kernel killed a process for memory: report (default), exit (with 137), \
          restart, or signal=SIGNAL",
        |o, v| set(&mut o.on_oom_kill, parse_on_oom_kill(v)),
    ),
    flag(
        0,
        "termination-log",
        "FILE",
        "Tell of kills there too, up to 4 KiB; empty: nowhere (default: \
          /dev/termination-log if it exists)",
        |o, v| {
            o.termination_log =
                if v.is_empty() { TerminationLogPlace::Off } else { TerminationLogPlace::At(path(v).into()) };
            Ok(())
        },
    ),
    flag(
        0,
        "warn",
        "WHEN[:STEPS]",
        "Take steps once less is available than WHEN: 10%, 64Mi, 2s (until nothing is), \
          pressure=20%, or several by commas. STEPS: signal, hook, unready, notify, stop; by default all that are set \
          up but stop; repeatable",
        |o, v| parse_rung(v).map(|rung| o.rungs.push(rung)),
    ),
    flag(
        0,
        "warn-signal",
        "SIGNAL",
        "The signal of the step signal (SIGUSR1); sent only to a program that handles it",
        |o, v| set(&mut o.warn_signal, parse_catchable_signal(v)),
    ),
    flag(
        0,
        "hook",
        "COMMAND",
        "The command of the step hook, for /bin/sh unless it is one word; docs/init.md has its \
          variables",
        |o, v| {
            o.hook = Some(path(v)).filter(|hook| !hook.is_empty());
            Ok(())
        },
    ),
    flag(0, "hook-timeout", "TIME", "End the hook after this time (10s)", |o, v| {
        set(&mut o.hook_timeout, parse_time(v))
    }),
    flag(0, "ready-file", "FILE", "A file that is there while the container is ready", |o, v| {
        o.ready_file = Some(path(v).into()).filter(|_| !v.is_empty());
        Ok(())
    }),
    flag(0, "ready-port", "PORT", "Answer HTTP: 200 while ready, else 503; a port or ADDRESS:PORT", |o, v| {
        set(&mut o.ready_address, parse_address(v).map(Some))
    }),
    flag(
        0,
        "pressure-socket",
        "DIR",
        "Where to put the socket of MEMORY_PRESSURE_WATCH; empty: don't (default: the \
          first of $XDG_RUNTIME_DIR, /run, /dev/shm, /tmp that can be written to)",
        |o, v| {
            o.pressure_socket =
                if v.is_empty() { PressureSocketPlace::Off } else { PressureSocketPlace::In(path(v).into()) };
            Ok(())
        },
    ),
    flag(0, "stop-signal", "SIGNAL", "The signal that ends the program gracefully (SIGTERM)", |o, v| {
        set(&mut o.stop_signal, parse_signal(v))
    }),
    flag(0, "grace", "TIME", "How long it may take until SIGKILL (10s)", |o, v| set(&mut o.grace, parse_time(v))),
    flag(0, "stop-exit-code", "CODE", "Exit with CODE after the step stop, whatever the program's code", |o, v| {
        set(&mut o.stop_code, parse_code(v).map(Some))
    }),
    flag(0, "protect-main", "", "Have the kernel kill any other process before the program", |o, v| {
        choose_victim(o, v, VictimChoice::ProtectMain)
    }),
    flag(0, "sacrifice-main", "", "Have the kernel kill the program before any other process", |o, v| {
        choose_victim(o, v, VictimChoice::SacrificeMain)
    }),
    flag(0, "size-runtime", "", "Size the program's runtime first, as `reprieve exec` does", |o, v| {
        switch(&mut o.size_runtime, v)
    }),
];

fn choose_victim(options: &mut Options, value: &[u8], choice: VictimChoice) -> Result<(), String> {
    let mut on = false;
    switch(&mut on, value)?;
    match (on, options.victim) {
        (true, Some(other)) if other != choice => {
            Err("--protect-main and --sacrifice-main exclude each other; leave one of them out".to_owned())
        }
        (true, _) => {
            options.victim = Some(choice);
            Ok(())
        }
        (false, _) => Ok(()),
    }
}
