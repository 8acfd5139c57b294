//! The exit codes of all commands.

use std::process;

use reprieve_linux::ExecError;

/// How a command ended. The numbers are part of the interface: `--help` lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum ExitCode {
    /// Done.
    Success = 0,
    /// Nothing was found: the answer to the question is no.
    NothingFound = 1,
    /// Not done: the arguments are wrong, or the system did not let it happen. One line on stderr says which.
    Failure = 2,
    /// The program that was to be run is there, and may not or can't be executed; as shells and env(1) say it.
    NotExecutable = 126,
    /// The program that was to be run does not exist; as shells and env(1) say it.
    NotFound = 127,
}

impl ExitCode {
    /// The code for an error that ends the program.
    pub(crate) fn of(error: &anyhow::Error) -> Self {
        match error.downcast_ref::<ExecError>() {
            Some(error) if error.is_not_found() => ExitCode::NotFound,
            Some(_) => ExitCode::NotExecutable,
            None => ExitCode::Failure,
        }
    }
}

impl From<ExitCode> for process::ExitCode {
    fn from(code: ExitCode) -> Self {
        process::ExitCode::from(code as u8)
    }
}
