//! From arguments to one call each.

mod agent;
mod env;
mod evictions;
mod exec;
mod explain;
mod force_empty_writer;
mod forecast;
mod free;
mod init;
mod kills;
mod kubelet;
mod limit;
mod meminfo;
mod node_samples;

use anyhow::Result;
use reprieve_linux::Roots;

use crate::arguments::{Arguments, Command, RootArguments};
use crate::exit_code::ExitCode;

/// Does what the arguments say.
pub(crate) fn run(arguments: Arguments) -> Result<ExitCode> {
    let done = match arguments.command {
        Command::Explain(arguments) => return explain::run(&arguments),
        Command::Kills(arguments) => return kills::run(&arguments),
        Command::Agent(arguments) => agent::run(arguments),
        Command::Env(arguments) => env::run(arguments),
        Command::Exec(arguments) => exec::run(arguments),
        Command::Evictions(arguments) => evictions::run(&arguments),
        Command::Forecast(arguments) => forecast::run(&arguments),
        Command::Free(arguments) => free::run(&arguments),
        Command::ForceEmptyWriter { parent } => force_empty_writer::run(parent),
        Command::Init(_) => init::run(),
        Command::Meminfo(arguments) => meminfo::run(&arguments),
    };
    done.map(|()| ExitCode::Success)
}

impl From<&RootArguments> for Roots {
    fn from(arguments: &RootArguments) -> Self {
        Roots::new(&arguments.proc, &arguments.sys)
    }
}
