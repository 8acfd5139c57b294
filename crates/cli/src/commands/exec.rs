//! `reprieve exec`: sizes a program's runtime and becomes the program.

use anyhow::Result;
use reprieve_judgement::{Sizing, judge_sizing};
use reprieve_linux::{exec, read_program};
use reprieve_report::sizing_lines;

use super::limit::read_limit;
use crate::arguments::ExecArguments;

/// Returns only if the program can't be run. Whatever goes wrong with the sizing is no reason for that.
pub(crate) fn run(arguments: ExecArguments) -> Result<()> {
    let choice = arguments.sizing.choice()?;
    let limit = match arguments.sizing.limit {
        Some(limit) => Ok(Some(limit)),
        None => read_limit(&arguments.sizing.roots),
    };
    let program = read_program(arguments.command, std::env::vars_os());
    let sizing = match limit {
        Ok(Some(limit)) => {
            let sizing = judge_sizing(&program, &choice, limit, arguments.sizing.worker_peak);
            if arguments.sizing.verbose {
                sizing_lines(&sizing, limit).iter().for_each(|line| crate::complain(line));
            }
            sizing
        }
        Ok(None) => {
            if arguments.sizing.verbose {
                crate::complain("no limit but the machine's memory binds here, so nothing is set");
            }
            Sizing::default()
        }
        Err(error) => {
            crate::complain(&format!("the command is run without sizing: {error:#}"));
            Sizing::default()
        }
    };
    let variables: Vec<_> = sizing.variables().collect();
    Err(exec(&sizing.arguments(&program), &variables).into())
}
