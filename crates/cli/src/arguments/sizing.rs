//! Flags of the commands that size runtimes: `env` and `exec`.

use std::ffi::OsString;

use anyhow::{Result, bail};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueEnum};
use reprieve_judgement::{Choice, Runtime};
use reprieve_readings::{Bytes, parse_quantity};

use super::RootArguments;

pub(super) const ENV_EXAMPLES: &str = "\
Examples:
  eval \"$(reprieve env -- node server.js)\"
  reprieve env --runtime jvm,glibc --format dotenv >memory.env
  reprieve env --format github >>\"$GITHUB_ENV\"

With a command, sets what its runtime heeds. Without a command and --runtime,
sets the variables that harm no program that does not heed them: those of jvm,
go, node, erlang, jemalloc, tcmalloc and glibc. What is set already is left
alone. If only the machine's memory binds, nothing is set.
Exit codes: 0 done; 2 wrong arguments, or there is no memory controller to read
(one line on stderr).";

pub(super) const EXEC_EXAMPLES: &str = "\
Examples:
  reprieve exec -- node server.js
  reprieve exec -v --worker-peak 200Mi -- gunicorn app:app
  reprieve exec --runtime jvm -- ./start.sh

Sets the variables (of postgres: arguments) that keep the command's runtime
below the memory limit, then becomes the command: same process, same signals.
What is set already is left alone. If only the machine's memory binds, or the
limit can't be read, the command is run as it is. docs/sizing.md has the values.
Exit codes: the command's own; 126 it may not, or can't, be executed; 127 there
is no such command; 2 wrong arguments (one line on stderr each).";

const NONE: &str = "none";

/// Flags of `reprieve env`.
#[derive(Debug, Args)]
pub(crate) struct EnvArguments {
    /// As lines for eval, for a file of variables or for $GITHUB_ENV, or as JSON
    #[arg(long, value_name = "FORMAT", default_value = "shell")]
    pub(crate) format: EnvFormat,
    #[command(flatten)]
    pub(crate) sizing: SizingArguments,
    /// The command whose runtime to size; it is not run
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) command: Vec<OsString>,
}

/// Flags of `reprieve exec`.
#[derive(Debug, Args)]
pub(crate) struct ExecArguments {
    #[command(flatten)]
    pub(crate) sizing: SizingArguments,
    /// The command to size and run
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    pub(crate) command: Vec<OsString>,
}

/// What both have.
#[derive(Debug, Args)]
pub(crate) struct SizingArguments {
    /// Say on stderr what is set and why, and what is left alone
    #[arg(long, short)]
    pub(crate) verbose: bool,
    /// Runtimes to size, instead of those recognised; several by commas
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = runtime_parser())]
    runtime: Vec<RuntimeName>,
    /// Memory to size for, instead of the cgroup's limit, such as 512Mi
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub(crate) limit: Option<Bytes>,
    /// The most memory that one worker uses; sizes servers of workers
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub(crate) worker_peak: Option<Bytes>,
    #[command(flatten)]
    pub(crate) roots: RootArguments,
}

/// How variables are written.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum EnvFormat {
    Shell,
    Dotenv,
    Json,
    Github,
}

/// A value of `--runtime`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RuntimeName {
    None,
    One(Runtime),
}

impl SizingArguments {
    /// Which runtimes to size.
    ///
    /// # Errors
    /// `none` stands beside another name.
    pub(crate) fn choice(&self) -> Result<Choice> {
        let named = self.runtime.iter().filter_map(|name| match name {
            RuntimeName::None => None,
            RuntimeName::One(runtime) => Some(*runtime),
        });
        let named: Vec<Runtime> = named.collect();
        match (self.runtime.is_empty(), named.len() == self.runtime.len()) {
            (true, _) => Ok(Choice::Recognised),
            (false, false) if !named.is_empty() => {
                bail!("--runtime {NONE} sizes nothing, and another --runtime is given; leave one of them out")
            }
            _ => Ok(Choice::Named(named)),
        }
    }
}

fn runtime_parser() -> impl TypedValueParser<Value = RuntimeName> {
    let names = Runtime::ALL.iter().map(|runtime| runtime.name()).chain([NONE]);
    PossibleValuesParser::new(names).map(|name| {
        let one = Runtime::ALL.into_iter().find(|runtime| runtime.name() == name);
        one.map_or(RuntimeName::None, RuntimeName::One)
    })
}

fn parse_size(text: &str) -> Result<Bytes, String> {
    match parse_quantity(text.as_bytes()) {
        Ok(size) if size > Bytes::ZERO => Ok(size),
        _ => Err("give an amount above 0, such as 512Mi, 1.5G or 134217728".into()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Both {
        #[command(flatten)]
        exec: ExecArguments,
    }

    fn parse(arguments: &[&str]) -> Result<ExecArguments, clap::Error> {
        Both::try_parse_from([&["exec"], arguments].concat()).map(|both| both.exec)
    }

    #[test]
    fn runtimes_are_a_list() {
        let choice = |arguments: &[&str]| parse(&[arguments, &["--", "x"]].concat()).unwrap().sizing.choice();
        assert_eq!(choice(&[]).unwrap(), Choice::Recognised);
        let both = Choice::Named(vec![Runtime::Jvm, Runtime::PhpFpm]);
        assert_eq!(choice(&["--runtime", "jvm,php-fpm"]).unwrap(), both);
        assert_eq!(choice(&["--runtime=jvm", "--runtime", "php-fpm"]).unwrap(), both);
        assert_eq!(choice(&["--runtime", "none"]).unwrap(), Choice::Named(Vec::new()));
        assert!(choice(&["--runtime", "none,jvm"]).is_err());
        let unknown = parse(&["--runtime", "cobol", "x"]).unwrap_err().to_string();
        assert!(unknown.contains("jvm, go, node") && unknown.contains("none"), "{unknown}");
    }

    #[test]
    fn all_behind_the_command_is_the_command_s() {
        for arguments in [&["-v", "--", "node", "-v", "--limit"][..], &["-v", "node", "-v", "--limit"]] {
            let parsed = parse(arguments).unwrap();
            assert_eq!(parsed.command, ["node", "-v", "--limit"]);
            assert!(parsed.sizing.verbose && parsed.sizing.limit.is_none());
        }
        assert!(parse(&["-v"]).is_err());
    }

    #[test]
    fn sizes_have_units() {
        for (text, bytes) in [("512Mi", 512 << 20), ("1G", 1_000_000_000), ("7Ki", 7168), ("1.5Ti", 3 << 39), ("9", 9)]
        {
            assert_eq!(parse_size(text), Ok(Bytes::new(bytes)), "{text}");
        }
        for text in ["", "Mi", "-1", "0", "0Mi", "1 Mi", "18446744073709551615Ki", "1µ"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }
}
