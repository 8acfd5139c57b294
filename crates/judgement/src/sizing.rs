//! What limit should a program's runtime keep to, so that it stays below the container's?
//!
//! Most runtimes size themselves by the machine, or not at all, and are killed for it. Each file below holds one kind
//! of runtime: how it is told to use less, and with which value. Two rules stand above all of them: what the user has
//! set, in the environment, on the command line or in a file that a variable would override, is left as it is; and a
//! limit too small for the runtime is told and nothing is set, since a value that is too small does more harm than
//! none.

mod allocators;
mod dotnet;
mod erlang;
mod go;
mod jvm;
mod node;
mod postgres;
mod recognise;
mod runtime;
mod sizer;
mod workers;

use std::borrow::Cow;

use reprieve_readings::{Bytes, Program};

pub use recognise::{Recognised, recognise};
pub use runtime::Runtime;
use sizer::Sizer;

/// Which runtimes to size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// Those that the program is recognised to use.
    Recognised,
    /// These, whatever the program is.
    Named(Vec<Runtime>),
}

/// What to set for a program, what not, and why.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sizing {
    /// The runtimes that were recognised; empty where they were named.
    pub recognised: Vec<Recognised>,
    /// What to set, each variable once.
    pub settings: Vec<Setting>,
    /// What was left as it is.
    pub left: Vec<LeftAlone>,
    /// What can't be set from outside, or is not known.
    pub advice: Vec<Advice>,
}

impl Sizing {
    /// The variables to set, with their whole values.
    pub fn variables(&self) -> impl Iterator<Item = (&'static str, &[u8])> {
        self.settings.iter().filter_map(|setting| match &setting.change {
            SettingChange::Variable { name, value, .. } => Some((*name, value.as_slice())),
            SettingChange::Arguments { .. } => None,
        })
    }

    /// The command of `program`, with the arguments that are added.
    pub fn arguments(&self, program: &Program) -> Vec<Vec<u8>> {
        let mut arguments = program.arguments.clone();
        for setting in &self.settings {
            if let SettingChange::Arguments { at, added } = &setting.change {
                let at = (*at).min(arguments.len());
                arguments.splice(at..at, added.iter().map(|argument| argument.clone().into_bytes()));
            }
        }
        arguments
    }
}

/// Something to set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// For whom.
    pub runtime: Runtime,
    /// What.
    pub change: SettingChange,
    /// Why this value, as a phrase.
    pub reason: String,
}

/// A change to a program's environment or command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SettingChange {
    /// A variable gets a value.
    Variable {
        /// Its name.
        name: &'static str,
        /// The whole value, with what the user had in it.
        value: Vec<u8>,
        /// Our part of it.
        added: String,
    },
    /// The command gets arguments, before the one that is at this index now.
    Arguments {
        /// Where they go.
        at: usize,
        /// What goes there.
        added: Vec<String>,
    },
}

/// A setting that was not made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftAlone {
    /// Whose.
    pub runtime: Runtime,
    /// Why, as a phrase; it may quote what the user has set, so it is to be escaped.
    pub reason: Vec<u8>,
}

/// What the user may want to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advice {
    /// About which runtime, if one.
    pub runtime: Option<Runtime>,
    /// A sentence without its full stop.
    pub text: String,
}

/// Sizes the runtimes of `program` for `limit`. `worker_peak` is what one worker of a server that forks uses at most.
pub fn judge_sizing(program: &Program, choice: &Choice, limit: Bytes, worker_peak: Option<Bytes>) -> Sizing {
    let (recognised, runtimes) = match choice {
        Choice::Recognised => {
            let recognised = recognise(program);
            let runtimes = Cow::Owned(recognised.iter().map(|recognised| recognised.runtime).collect());
            (recognised, runtimes)
        }
        Choice::Named(runtimes) => (Vec::new(), Cow::Borrowed(runtimes)),
    };
    let mut sizer = Sizer::new(program, choice, limit, worker_peak);
    for &runtime in runtimes.iter() {
        runtime.size(&mut sizer);
    }
    if runtimes.is_empty() && *choice == Choice::Recognised {
        sizer.advise(None, "no runtime was recognised; --runtime NAME names it".into());
    }
    Sizing { recognised, ..sizer.finish() }
}

#[cfg(test)]
mod tests;
