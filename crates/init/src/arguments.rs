//! The command line: each option's names, help and meaning stand together in one table, from which the help text and the
//! reading of arguments and environment are made. A parser of its own, because clap alone is larger than the rest.

use std::ffi::OsString;
use std::fmt::Write;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use reprieve_readings::Escaped;

use crate::log::LogFormat;
use crate::options::{
    Options, PressureSocketPlace, TerminationLogPlace, VictimChoice, parse_address, parse_catchable_signal, parse_code,
    parse_on_oom_kill, parse_rung, parse_signal, parse_time,
};

/// What the arguments ask for.
#[derive(Debug)]
pub(crate) enum Request {
    /// To run a program.
    Run(Box<Options>),
    /// To print something.
    Print(String),
}

struct Flag {
    short: Option<u8>,
    long: &'static str,
    /// What the value is called in the help; empty where there is none.
    value: &'static str,
    help: &'static str,
    /// Takes the value; of a flag without one what stands in the environment, or `1`.
    apply: fn(&mut Options, &[u8]) -> Result<(), String>,
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

const FLAGS: &[Flag] = &[
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

/// Reads the arguments, without the program's own name, and the environment, which they overrule.
///
/// # Errors
/// One line that says what is wrong.
pub(crate) fn read(
    arguments: impl IntoIterator<Item = OsString>,
    environment: impl Fn(&str) -> Option<OsString>,
) -> Result<Request, String> {
    let mut options = Options::default();
    for flag in FLAGS {
        let name = variable_of(flag);
        if let Some(value) = environment(&name) {
            let applied = values_of(flag, value.as_bytes()).try_for_each(|value| (flag.apply)(&mut options, value));
            applied.map_err(|error| format!("{name}={}: {error}", Escaped(value.as_bytes())))?;
        }
    }
    let mut arguments = arguments.into_iter().peekable();
    while let Some(argument) = arguments.next_if(|argument| is_option(argument.as_bytes())) {
        let argument = argument.as_bytes();
        if argument == b"--" {
            break;
        }
        let printed = match argument.strip_prefix(b"--") {
            Some(long) => read_long(long, &mut arguments, &mut options)?,
            None => read_short(argument.get(1..).unwrap_or_default(), &mut arguments, &mut options)?,
        };
        if let Some(text) = printed {
            return Ok(Request::Print(text));
        }
    }
    options.command = arguments.collect();
    check(&options)?;
    Ok(Request::Run(Box::new(options)))
}

/// A lone `-` is a program's name.
fn is_option(argument: &[u8]) -> bool {
    argument.len() > 1 && argument.starts_with(b"-")
}

fn read_long(
    argument: &[u8],
    rest: &mut impl Iterator<Item = OsString>,
    options: &mut Options,
) -> Result<Option<String>, String> {
    let mut halves = argument.splitn(2, |&byte| byte == b'=');
    let name = halves.next().unwrap_or_default();
    let given = halves.next();
    match name {
        b"help" => return Ok(Some(help())),
        b"version" => return Ok(Some(VERSION.to_owned())),
        b"license" => return Ok(Some(LICENSE.to_owned())),
        _ => {}
    }
    let flag = FLAGS.iter().find(|flag| flag.long.as_bytes() == name);
    let flag = flag.ok_or_else(|| format!("there is no option --{}; see --help", Escaped(name)))?;
    if flag.value.is_empty() {
        return match given {
            Some(_) => Err(format!("--{} takes no value", flag.long)),
            None => (flag.apply)(options, b"1").map(|()| None),
        };
    }
    let following = if given.is_none() { rest.next() } else { None };
    let value = given.or(following.as_ref().map(|value| value.as_bytes()));
    apply(flag, &format!("--{}", flag.long), value, options)
}

/// Reads letters that stand together, such as `-gv` and `-e143`.
fn read_short(
    letters: &[u8],
    rest: &mut impl Iterator<Item = OsString>,
    options: &mut Options,
) -> Result<Option<String>, String> {
    for (at, &letter) in letters.iter().enumerate() {
        match letter {
            b'h' => return Ok(Some(help())),
            b'l' => return Ok(Some(LICENSE.to_owned())),
            _ => {}
        }
        let flag = FLAGS.iter().find(|flag| flag.short == Some(letter));
        let flag = flag.ok_or_else(|| format!("there is no option -{}; see --help", Escaped(&[letter])))?;
        if flag.value.is_empty() {
            (flag.apply)(options, b"1")?;
            continue;
        }
        let joined = letters.get(at + 1..).filter(|value| !value.is_empty());
        let following = if joined.is_none() { rest.next() } else { None };
        let value = joined.or(following.as_ref().map(|value| value.as_bytes()));
        return apply(flag, &format!("-{}", char::from(letter)), value, options);
    }
    Ok(None)
}

fn apply(flag: &Flag, name: &str, value: Option<&[u8]>, options: &mut Options) -> Result<Option<String>, String> {
    let value = value.ok_or_else(|| format!("{name} takes a value: {name} {}", flag.value))?;
    (flag.apply)(options, value).map_err(|error| format!("{name} {}: {error}", Escaped(value)))?;
    Ok(None)
}

fn check(options: &Options) -> Result<(), String> {
    if options.any_step(|steps| steps.hook) && options.hook.is_none() {
        return Err("--warn names the step hook, and there is no --hook COMMAND to run".to_owned());
    }
    if options.any_step(|steps| steps.unready) && !options.has_readiness() {
        return Err("--warn names the step unready, and there is neither --ready-file nor --ready-port".to_owned());
    }
    if options.rungs.is_empty() && options.hook.is_some() {
        return Err("--hook is never run without --warn WHEN".to_owned());
    }
    if options.command.is_empty() {
        return Err("name the program to run, as in: reprieve-init -- PROGRAM; see --help".to_owned());
    }
    Ok(())
}

/// The variable that stands for an option.
fn variable_of(flag: &Flag) -> String {
    format!("REPRIEVE_INIT_{}", flag.long.to_ascii_uppercase().replace('-', "_"))
}

/// What can be repeated holds several values in the environment, separated by spaces.
fn values_of<'a>(flag: &Flag, value: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    let is_list = matches!(flag.long, "warn" | "expect-exit");
    let words = value.split(move |&byte| is_list && byte == b' ');
    words.filter(move |word| !word.is_empty() || !is_list)
}

const VERSION: &str = concat!("reprieve-init ", env!("CARGO_PKG_VERSION"), "\n");

const LICENSE: &str = include_str!("../../../LICENSE-MIT");

const EXAMPLES: &str = "
Each option can be set in the environment: --kill-process-group by
REPRIEVE_INIT_KILL_PROCESS_GROUP=1, --warn by REPRIEVE_INIT_WARN='10% 2s:stop'.

Examples:
  reprieve-init -- server --port 80
  reprieve-init --on-oom-kill exit -- gunicorn app:app
  reprieve-init --warn 20%:signal --warn 2s,5%:stop --grace 5s -- server
  reprieve-init --warn 10% --hook 'jcmd 2 GC.heap_dump /d' -- java -jar x.jar
  ENTRYPOINT [\"/reprieve-init\", \"--\"]

Exit codes: the program's own; 128+N where signal N ended it; 137 after a kill,
with --on-oom-kill exit; 127 there is no such program; 126 it may not, or can't,
be executed; 2 wrong arguments, or the system did not allow it (one line on
stderr each).
";

/// The help text, at most 80 columns wide.
fn help() -> String {
    let mut help = String::from(
        "Run a program as a container's first process: pass signals on, reap orphans,\n\
         tell of kills for memory, and warn the program before they come\n\n\
         Usage: reprieve-init [OPTIONS] [--] PROGRAM [ARGUMENT...]\n\nOptions:\n",
    );
    let rows = FLAGS.iter().map(|flag| (flag.short, flag.long, flag.value, flag.help));
    let others = [
        (Some(b'h'), "help", "", "Print this"),
        (Some(b'l'), "license", "", "Print the license"),
        (None, "version", "", "Print the version"),
    ];
    for (short, long, value, text) in rows.chain(others) {
        let short = short.map_or("    ".to_owned(), |short| format!("-{}, ", char::from(short)));
        let space = if value.is_empty() { "" } else { " " };
        // Writing to a String never fails.
        let _ = writeln!(help, "  {short}--{long}{space}{value}");
        for line in wrapped(text, 70) {
            let _ = writeln!(help, "          {line}");
        }
    }
    help + EXAMPLES
}

fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut().filter(|line| line.len() + 1 + word.len() <= width) {
            Some(line) => {
                line.push(' ');
                line.push_str(word);
            }
            None => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests;
