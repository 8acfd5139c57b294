//! The command line: reading arguments and environment, and the help text, by the table in `flags`. A parser of its own,
//! because clap alone is larger than the rest.

mod flags;

use std::ffi::OsString;
use std::fmt::Write;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use reprieve_readings::Escaped;

use crate::options::Options;
use flags::{FLAGS, Flag};

/// What the arguments ask for.
#[derive(Debug)]
pub(crate) enum Request {
    /// To run a program.
    Run(Box<Options>),
    /// To print something.
    Print(String),
}

/// An option that the command line gives.
struct Given {
    flag: &'static Flag,
    /// As it was written, for messages.
    name: String,
    value: Vec<u8>,
}

/// Reads the arguments, without the program's own name, and the environment, of which they overrule what they give too.
///
/// # Errors
/// One line that says what is wrong.
pub(crate) fn read(
    arguments: impl IntoIterator<Item = OsString>,
    environment: impl Fn(&str) -> Option<OsString>,
) -> Result<Request, String> {
    let mut given = Vec::new();
    let mut arguments = arguments.into_iter().peekable();
    while let Some(argument) = arguments.next_if(|argument| is_option(argument.as_bytes())) {
        let argument = argument.as_bytes();
        if argument == b"--" {
            break;
        }
        let printed = match argument.strip_prefix(b"--") {
            Some(long) => read_long(long, &mut arguments, &mut given)?,
            None => read_short(argument.get(1..).unwrap_or_default(), &mut arguments, &mut given)?,
        };
        if let Some(text) = printed {
            return Ok(Request::Print(text));
        }
    }
    let mut options = Options::default();
    for flag in FLAGS.iter().filter(|flag| !given.iter().any(|given| given.flag.overrules(flag))) {
        let name = flag.variable();
        if let Some(value) = environment(&name) {
            let applied = flag.values(value.as_bytes()).try_for_each(|value| (flag.apply)(&mut options, value));
            applied.map_err(|error| format!("{name}={}: {error}", Escaped(value.as_bytes())))?;
        }
    }
    for Given { flag, name, value } in given {
        let written = if flag.value.is_empty() { String::new() } else { format!("{name} {}: ", Escaped(&value)) };
        (flag.apply)(&mut options, &value).map_err(|error| format!("{written}{error}"))?;
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
    given: &mut Vec<Given>,
) -> Result<Option<String>, String> {
    let mut halves = argument.splitn(2, |&byte| byte == b'=');
    let name = halves.next().unwrap_or_default();
    let joined = halves.next();
    match name {
        b"help" => return Ok(Some(help())),
        b"version" => return Ok(Some(VERSION.to_owned())),
        b"license" => return Ok(Some(LICENSE.to_owned())),
        _ => {}
    }
    let flag = FLAGS.iter().find(|flag| flag.long.as_bytes() == name);
    let flag = flag.ok_or_else(|| format!("there is no option --{}; see --help", Escaped(name)))?;
    if flag.value.is_empty() && joined.is_some() {
        return Err(format!("--{} takes no value", flag.long));
    }
    let name = format!("--{}", flag.long);
    given.push(Given { flag, value: value_of(flag, &name, joined, rest)?, name });
    Ok(None)
}

/// Reads letters that stand together, such as `-gv` and `-e143`.
fn read_short(
    letters: &[u8],
    rest: &mut impl Iterator<Item = OsString>,
    given: &mut Vec<Given>,
) -> Result<Option<String>, String> {
    for (at, &letter) in letters.iter().enumerate() {
        match letter {
            b'h' => return Ok(Some(help())),
            b'l' => return Ok(Some(LICENSE.to_owned())),
            _ => {}
        }
        let flag = FLAGS.iter().find(|flag| flag.short == Some(letter));
        let flag = flag.ok_or_else(|| format!("there is no option -{}; see --help", Escaped(&[letter])))?;
        let joined = letters.get(at + 1..).filter(|value| !value.is_empty() && !flag.value.is_empty());
        let name = format!("-{}", char::from(letter));
        given.push(Given { flag, value: value_of(flag, &name, joined, rest)?, name });
        if !flag.value.is_empty() {
            break;
        }
    }
    Ok(None)
}

/// The value that stands with an option or follows it; of a switch, that it is on.
fn value_of(
    flag: &Flag,
    name: &str,
    joined: Option<&[u8]>,
    rest: &mut impl Iterator<Item = OsString>,
) -> Result<Vec<u8>, String> {
    match (flag.value, joined) {
        ("", _) => Ok(b"1".to_vec()),
        (_, Some(value)) => Ok(value.to_vec()),
        (wanted, None) => {
            let following = rest.next().ok_or_else(|| format!("{name} takes a value: {name} {wanted}"))?;
            Ok(following.into_vec())
        }
    }
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
