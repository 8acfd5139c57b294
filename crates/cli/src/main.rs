//! The command `reprieve`: arguments to options, options to one call, its outcome to an exit code.

mod arguments;
mod commands;
mod exit_code;

use std::io::{self, Write};
use std::process;

use crate::arguments::Arguments;
use crate::exit_code::ExitCode;

fn main() -> process::ExitCode {
    let outcome = match Arguments::read() {
        Ok(arguments) => commands::run(arguments),
        Err(exit_code) => return exit_code.into(),
    };
    match outcome {
        Ok(exit_code) => exit_code.into(),
        Err(error) if is_closed_pipe(&error) => ExitCode::Success.into(),
        Err(error) => {
            complain(&format!("{error:#}"));
            ExitCode::of(&error).into()
        }
    }
}

/// Says on stderr what went wrong. If nobody can read that, so be it.
fn complain(what: &str) {
    let _ = writeln!(io::stderr(), "reprieve: {what}");
}

/// Whoever read our output has seen enough (`reprieve free | head -1`): no failure.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
