//! From arguments to one call each.

mod agent;
mod env;
mod exec;
mod free;
mod limit;
mod meminfo;

use anyhow::Result;
use reprieve_linux::Roots;

use crate::arguments::{Arguments, Command, RootArguments};

/// Does what the arguments say.
pub(crate) fn run(arguments: Arguments) -> Result<()> {
    match arguments.command {
        Command::Agent(arguments) => agent::run(arguments),
        Command::Env(arguments) => env::run(arguments),
        Command::Exec(arguments) => exec::run(arguments),
        Command::Free(arguments) => free::run(&arguments),
        Command::Meminfo(arguments) => meminfo::run(&arguments),
    }
}

impl From<&RootArguments> for Roots {
    fn from(arguments: &RootArguments) -> Self {
        Roots::new(&arguments.proc, &arguments.sys)
    }
}
