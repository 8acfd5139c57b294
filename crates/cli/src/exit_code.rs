//! The exit codes of all commands.

use std::process;

/// How a command ended. The numbers are part of the interface: `--help` lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum ExitCode {
    /// Done.
    Success = 0,
    /// Not done: the arguments are wrong, or the system did not let it happen. One line on stderr says which.
    /// (1 is left for commands that answer a question with "no".)
    Failure = 2,
}

impl From<ExitCode> for process::ExitCode {
    fn from(code: ExitCode) -> Self {
        process::ExitCode::from(code as u8)
    }
}
