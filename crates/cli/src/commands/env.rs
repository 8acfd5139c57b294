//! `reprieve env`: prints the variables that size a program's runtime.

use std::io::{self, Write};

use anyhow::Result;
use reprieve_judgement::{Sizing, judge_sizing};
use reprieve_linux::read_program;
use reprieve_report::{EnvironmentFormat, argument_lines, environment_text, sizing_lines};

use super::limit::read_limit;
use crate::arguments::{EnvArguments, EnvFormat};

pub(crate) fn run(arguments: EnvArguments) -> Result<()> {
    let choice = arguments.sizing.choice()?;
    let limit = match arguments.sizing.limit {
        Some(limit) => Some(limit),
        None => read_limit(&arguments.sizing.roots)?,
    };
    let sizing = match limit {
        Some(limit) => {
            let program = read_program(arguments.command, std::env::vars_os());
            let sizing = judge_sizing(&program, &choice, limit, arguments.sizing.worker_peak);
            let lines = if arguments.sizing.verbose { sizing_lines(&sizing, limit) } else { argument_lines(&sizing) };
            lines.iter().for_each(|line| crate::complain(line));
            sizing
        }
        None => {
            crate::complain(
                "no limit but the machine's memory binds here, so nothing is set; --limit SIZE sizes anyway",
            );
            Sizing::default()
        }
    };
    let format = match arguments.format {
        EnvFormat::Shell => EnvironmentFormat::Shell,
        EnvFormat::Dotenv => EnvironmentFormat::Dotenv,
        EnvFormat::Json => EnvironmentFormat::Json,
        EnvFormat::Github => EnvironmentFormat::Github,
    };
    let variables: Vec<_> = sizing.variables().collect();
    Ok(io::stdout().write_all(&environment_text(&variables, format)?)?)
}
