//! The command line: flags, their help and their checks, all in one place.

mod eviction;
mod explain;
mod free;
mod kills;
mod sizing;
mod state;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand, ValueEnum};
use reprieve_readings::{Bytes, Escaped};

pub(crate) use eviction::{
    EvictionsArguments, ForecastArguments, KeepCacheArgument, KeeperArguments, KubeletArguments, NodeUsageArgument,
};
pub(crate) use explain::{ExplainArguments, ExplainFormat};
pub(crate) use free::{FreeArguments, Repeat};

use crate::exit_code::ExitCode;
pub(crate) use kills::KillsArguments;
pub(crate) use sizing::{EnvArguments, EnvFormat, ExecArguments};
pub(crate) use state::StateArguments;

const EXIT_CODES: &str = "Exit codes: 0 done; 2 wrong arguments, or the system did not allow it (one line on stderr).";

/// Tells the truth about container memory, and about OOM kills.
#[derive(Debug, Parser)]
#[command(name = "reprieve", version, after_help = EXIT_CODES, max_term_width = 80, disable_help_subcommand = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Watch all cgroups of this machine: serve metrics, log OOM kills
    #[command(after_help = AGENT_EXAMPLES)]
    Agent(AgentArguments),
    /// Print the variables that keep a language runtime below the memory limit
    #[command(after_help = sizing::ENV_EXAMPLES)]
    Env(EnvArguments),
    /// Show which pods the kubelet would evict for memory, when, and how wrong it is
    #[command(after_help = eviction::EVICTIONS_EXAMPLES)]
    Evictions(EvictionsArguments),
    /// Run a command whose language runtime keeps below the memory limit
    #[command(after_help = sizing::EXEC_EXAMPLES)]
    Exec(ExecArguments),
    /// Explain the OOM kills in a log: who was killed, by which limit, and why
    #[command(after_help = explain::EXAMPLES)]
    Explain(ExplainArguments),
    /// Show how long until thresholds and limits of memory are reached
    #[command(after_help = eviction::FORECAST_EXAMPLES)]
    Forecast(ForecastArguments),
    /// Show how much memory the calling process may still use
    #[command(after_help = free::EXAMPLES)]
    Free(FreeArguments),
    /// What the agent calls to write to memory.force_empty, its standard output, until it kills it
    #[command(hide = true)]
    ForceEmptyWriter {
        /// The process that has called it
        parent: u32,
    },
    /// Run a command as a container's first process: `reprieve init --help`
    #[command(disable_help_flag = true)]
    Init(InitArguments),
    /// Show the OOM kills that the agent has seen
    #[command(after_help = kills::EXAMPLES)]
    Kills(KillsArguments),
    /// Print /proc/meminfo as this container should see it
    #[command(after_help = MEMINFO_EXAMPLES)]
    Meminfo(MeminfoArguments),
}

const AGENT_EXAMPLES: &str = "\
Examples:
  reprieve agent
  reprieve agent --listen 0.0.0.0:9737 --log-format json
  reprieve agent --keep-cache on --kubelet-config /var/lib/kubelet/config.yaml
  reprieve agent --proc /host/proc --sys /host/sys   # from inside a container

Serves /metrics (Prometheus and OpenMetrics), /healthz and /readyz.
Exit codes: 0 ended by SIGTERM or SIGINT; 2 it could not start (one line on stderr).";

const MEMINFO_EXAMPLES: &str = "\
Examples:
  reprieve meminfo
  reprieve meminfo | awk '/^MemAvailable:/ { print $2 }'

Lines that nothing of the container tells are the machine's.
Environment: REPRIEVE_POD_LIMIT, as for `reprieve free`.
Exit codes: 0 done; 2 /proc/meminfo can't be read (one line on stderr).";

/// Flags of `reprieve agent`.
#[derive(Debug, Args)]
pub(crate) struct AgentArguments {
    /// Time from one scan to the next, such as 500ms or 5s
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = parse_interval)]
    pub(crate) interval: Duration,
    /// Address and port to serve HTTP on
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9737")]
    pub(crate) listen: SocketAddr,
    /// A sentence a line, or a JSON object
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) log_format: LogFormat,
    /// Cgroup files to keep open at most; each costs 4 KiB of kernel memory
    #[arg(long, value_name = "COUNT", default_value_t = 8192)]
    pub(crate) open_files: usize,
    /// What to keep of victims' arguments, which may hold secrets
    #[arg(long, value_name = "WHAT", default_value = "full")]
    pub(crate) command_lines: CommandLines,
    /// Do without the kernel's tracepoints
    #[arg(long)]
    pub(crate) no_trace: bool,
    /// How long to keep kills
    #[arg(long, value_name = "TIME", default_value = "90days", value_parser = state::parse_keep)]
    pub(crate) keep_kills: Duration,
    /// How much kept kills may add up to, such as 64Mi; the oldest give way. The file takes up to about twice that
    #[arg(long, value_name = "AMOUNT", default_value = "64Mi", value_parser = state::parse_keep_size)]
    pub(crate) keep_kills_size: Bytes,
    #[command(flatten)]
    pub(crate) state: StateArguments,
    #[command(flatten)]
    pub(crate) keeper: KeeperArguments,
    #[command(flatten)]
    pub(crate) kubelet: KubeletArguments,
    #[command(flatten)]
    pub(crate) roots: RootArguments,
}

/// Arguments of `reprieve init`, which reads them itself, as the program reprieve-init does.
#[derive(Debug, Args)]
pub(crate) struct InitArguments {
    /// Options, and the command
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    _all: Vec<std::ffi::OsString>,
}

/// Flags of `reprieve meminfo`.
#[derive(Debug, Args)]
pub(crate) struct MeminfoArguments {
    #[command(flatten)]
    pub(crate) roots: RootArguments,
}

/// Where the kernel's files are.
#[derive(Debug, Args)]
pub(crate) struct RootArguments {
    /// Directory to read as /proc
    #[arg(long, value_name = "DIR", default_value = "/proc")]
    pub(crate) proc: PathBuf,
    /// Directory to read as /sys
    #[arg(long, value_name = "DIR", default_value = "/sys")]
    pub(crate) sys: PathBuf,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

/// What to keep of a process's arguments.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum CommandLines {
    Full,
    Program,
    Off,
}

impl Arguments {
    /// Reads the command line. Help and version are printed here; a mistake is told in one line.
    pub(crate) fn read() -> Result<Self, ExitCode> {
        Arguments::try_parse().map_err(|error| match error.kind() {
            ErrorKind::DisplayHelp
            | ErrorKind::DisplayVersion
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
                // Fails only if nobody reads it.
                let _ = error.print();
                if error.use_stderr() { ExitCode::Failure } else { ExitCode::Success }
            }
            _ => {
                crate::complain(&format!("{}; see 'reprieve --help'", one_line(&error)));
                ExitCode::Failure
            }
        })
    }
}

/// The first paragraph of clap's message, which names the mistake, without its `error: `. It quotes the arguments.
fn one_line(error: &clap::Error) -> String {
    let message = error.to_string();
    let paragraph = message.split("\n\n").next().unwrap_or_default();
    let words: Vec<&str> = paragraph.trim_start_matches("error: ").split_whitespace().collect();
    Escaped(words.join(" ").as_bytes()).to_string()
}

fn parse_interval(text: &str) -> Result<Duration, String> {
    const SHORTEST: Duration = Duration::from_millis(10);
    const LONGEST: Duration = Duration::from_secs(3600);
    let interval = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if (SHORTEST..=LONGEST).contains(&interval) { Ok(interval) } else { Err("must lie between 10ms and 1h".into()) }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_mistake_is_told_in_one_line_without_control_characters() {
        let error = Arguments::try_parse_from(["reprieve", "free", "--\n\u{9b}31mx"]).unwrap_err();
        assert_eq!(one_line(&error), "unexpected argument '-- \\u{9b}31mx' found");
    }

    #[test]
    fn intervals_have_bounds() {
        assert_eq!(parse_interval("500ms"), Ok(Duration::from_millis(500)));
        assert!(parse_interval("0s").is_err());
        assert!(parse_interval("1day").is_err());
        assert!(parse_interval("soon").is_err());
    }
}
