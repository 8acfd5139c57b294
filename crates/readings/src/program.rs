//! What is known of a program that is about to be run: its command, its environment, and what its files are.
//!
//! A command seldom names the program that will hold the memory: `npm start` is a script, whose `#!` names `env`, which
//! runs `node`. Each of these is a [`Step`], from the command as it was typed to the last program that can be told
//! without running anything. The parsers here take bytes and read nothing; `linux` follows the steps with them.

mod command;
mod configuration;
mod elf;
mod shebang;

pub use command::{Wrapped, parse_wrapper};
pub use configuration::{configuration_paths, postgres_shared_buffers};
pub use elf::{DotnetHost, ElfFacts, parse_elf};
pub use shebang::Shebang;

/// A program and what is known of it. The default is no program at all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Program {
    /// The command as it was given; the first argument names the program.
    pub arguments: Vec<Vec<u8>>,
    /// The environment that it gets, as names and values.
    pub environment: Vec<(Vec<u8>, Vec<u8>)>,
    /// The command and what it leads to, in this order.
    pub steps: Vec<Step>,
    /// Variables that the command itself sets, or removes where there is no value (`env NAME=VALUE …`), in this order.
    pub assigned: Vec<Assignment>,
    /// Whether the command throws the environment away (`env -i …`).
    pub clears_environment: bool,
    /// Configuration files that the program will read, and that may hold settings of the user's.
    pub configuration: Vec<ConfigurationFile>,
}

/// A variable that a command sets, or removes.
pub type Assignment = (Vec<u8>, Option<Vec<u8>>);

/// One program of the chain that a command leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Its arguments; the first names it.
    pub arguments: Vec<Vec<u8>>,
    /// Where these begin among the arguments of the whole command; `None` behind a script, whose `#!` made them up.
    pub offset: Option<usize>,
    /// What its file is.
    pub contents: Contents,
}

/// What the file of a program is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Contents {
    /// An ELF executable.
    Elf(ElfFacts),
    /// A script that names its interpreter.
    Script(Shebang),
    /// Neither; `execvp` gives it to `/bin/sh`.
    Text,
    /// It was not found, or can't be read.
    Unknown,
}

/// A configuration file, as far as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigurationFile {
    /// Its path.
    pub path: Vec<u8>,
    /// What is in it.
    pub text: Vec<u8>,
}

impl Program {
    /// The value that a variable will have for the last program of the chain, if nothing is added.
    pub fn variable(&self, name: &[u8]) -> Option<&[u8]> {
        if let Some((_, value)) = self.assigned.iter().rfind(|(assigned, _)| assigned == name) {
            return value.as_deref();
        }
        let inherited = self.environment.iter().find(|(found, _)| found == name && !self.clears_environment);
        inherited.map(|(_, value)| value.as_slice())
    }

    /// The names of all variables that it may see.
    pub fn variable_names(&self) -> impl Iterator<Item = &[u8]> {
        let inherited = self.environment.iter().map(|(name, _)| name.as_slice());
        inherited.chain(self.assigned.iter().map(|(name, _)| name.as_slice()))
    }
}

impl Step {
    /// The file name by which it was called; empty where there is none.
    pub fn name(&self) -> &[u8] {
        self.arguments.first().map(|path| base_name(path)).unwrap_or_default()
    }

    /// Its arguments without the name.
    pub fn rest(&self) -> &[Vec<u8>] {
        self.arguments.get(1..).unwrap_or_default()
    }
}

/// What follows the last `/` of a path.
pub fn base_name(path: &[u8]) -> &[u8] {
    path.rsplit(|&byte| byte == b'/').next().unwrap_or(path)
}
