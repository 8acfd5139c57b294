//! `reprieve agent`.

use anyhow::Result;
use reprieve_agent::{AgentOptions, Retention};
use reprieve_linux::Roots;

use crate::arguments::{AgentArguments, CommandLines, LogFormat};

pub(crate) fn run(arguments: AgentArguments) -> Result<()> {
    reprieve_agent::run(&AgentOptions {
        interval: arguments.interval,
        listen: arguments.listen,
        log_format: match arguments.log_format {
            LogFormat::Text => reprieve_agent::LogFormat::Text,
            LogFormat::Json => reprieve_agent::LogFormat::Json,
        },
        roots: Roots::from(&arguments.roots),
        open_files: arguments.open_files,
        trace: !arguments.no_trace,
        command_lines: match arguments.command_lines {
            CommandLines::Full => reprieve_agent::CommandLines::Full,
            CommandLines::Program => reprieve_agent::CommandLines::Program,
            CommandLines::Off => reprieve_agent::CommandLines::Off,
        },
        state_directory: arguments.state.directory(),
        retention: Retention { age: arguments.keep_kills, size: arguments.keep_kills_size },
    })
}
