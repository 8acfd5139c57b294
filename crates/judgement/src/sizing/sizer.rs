//! The rules that all runtimes share: what counts as set by the user, and what a setting is made of.

use reprieve_readings::{Bytes, Program};

use super::{Advice, Choice, LeftAlone, Runtime, Setting, SettingChange, Sizing};

/// A sizing under way.
pub(super) struct Sizer<'a> {
    pub(super) program: &'a Program,
    pub(super) limit: Bytes,
    pub(super) worker_peak: Option<Bytes>,
    named: bool,
    sizing: Sizing,
}

/// Where our part of a variable goes, if the user has something else in it.
pub(super) enum Join {
    Before(&'static str),
    After(&'static str),
}

impl<'a> Sizer<'a> {
    pub(super) fn new(program: &'a Program, choice: &Choice, limit: Bytes, worker_peak: Option<Bytes>) -> Self {
        let named = matches!(choice, Choice::Named(_));
        Sizer { program, limit, worker_peak, named, sizing: Sizing::default() }
    }

    pub(super) fn finish(self) -> Sizing {
        self.sizing
    }

    /// Whether the user named the runtimes, so that the program need not look like one.
    pub(super) fn is_named(&self) -> bool {
        self.named
    }

    /// `percent` of the limit.
    pub(super) fn share(&self, percent: u64) -> Bytes {
        let bytes = u128::from(self.limit.get()) * u128::from(percent) / 100;
        Bytes::new(u64::try_from(bytes).unwrap_or(u64::MAX))
    }

    /// Whether the limit is enough for the runtime to run at all; if not, says so.
    pub(super) fn is_enough(&mut self, runtime: Runtime, least: Bytes) -> bool {
        let enough = self.limit >= least && self.limit > Bytes::ZERO;
        if !enough {
            let name = runtime.name();
            self.advise(
                Some(runtime),
                format!("the limit of {} is below the {least} that {name} needs to start; nothing is set", self.limit),
            );
        }
        enough
    }

    /// Whether one of these variables has a word that `is_ours` picks; if so, says that it is left alone.
    pub(super) fn is_word_set(
        &mut self,
        runtime: Runtime,
        variables: &[&str],
        is_ours: impl Fn(&[u8]) -> bool,
    ) -> bool {
        let program = self.program;
        let set = variables.iter().find_map(|name| {
            let word = words(program.variable(name.as_bytes())?).find(|word| is_ours(word))?;
            Some((*name, word))
        });
        if let Some((name, word)) = set {
            self.leave(runtime, &[name.as_bytes(), b" has ", word].concat());
        }
        set.is_some()
    }

    /// Whether an argument of any step is one that `is_ours` picks; if so, says that it is left alone.
    pub(super) fn is_argument_set(&mut self, runtime: Runtime, is_ours: impl Fn(&[u8]) -> bool) -> bool {
        let program = self.program;
        let set = program.steps.iter().flat_map(|step| step.rest()).find(|argument| is_ours(argument));
        if let Some(argument) = set {
            self.leave(runtime, &[b"the command has ", argument.as_slice()].concat());
        }
        set.is_some()
    }

    /// Whether a variable is set, to whatever; if so, says that it is left alone.
    pub(super) fn is_variable_set(&mut self, runtime: Runtime, name: &str) -> bool {
        let set = self.program.variable(name.as_bytes());
        if let Some(value) = set {
            self.leave(runtime, &[name.as_bytes(), b" is set to '", value, b"'"].concat());
        }
        set.is_some()
    }

    /// Sets a variable that nobody has set; one that is set is left alone.
    pub(super) fn set(&mut self, runtime: Runtime, name: &'static str, value: String, reason: String) {
        if !self.is_variable_set(runtime, name) {
            self.put(runtime, name, value.clone().into_bytes(), value, reason);
        }
    }

    /// Adds to a variable, and keeps what the user has in it.
    pub(super) fn add(&mut self, runtime: Runtime, name: &'static str, added: String, join: Join, reason: String) {
        let theirs = self.program.variable(name.as_bytes()).filter(|value| !value.trim_ascii().is_empty());
        let value = match (theirs, join) {
            (None, _) => added.clone().into_bytes(),
            (Some(theirs), Join::Before(between)) => [added.as_bytes(), between.as_bytes(), theirs].concat(),
            (Some(theirs), Join::After(between)) => [theirs, between.as_bytes(), added.as_bytes()].concat(),
        };
        self.put(runtime, name, value, added, reason);
    }

    fn put(&mut self, runtime: Runtime, name: &'static str, value: Vec<u8>, added: String, reason: String) {
        if self.program.clears_environment {
            self.leave(
                runtime,
                &[b"the command empties the environment, so ", name.as_bytes(), b" can't be set"].concat(),
            );
        } else if self.program.assigned.iter().any(|(assigned, _)| assigned == name.as_bytes()) {
            self.leave(runtime, &[b"the command itself sets or removes ", name.as_bytes()].concat());
        } else if !self.has_set(name) {
            self.sizing.settings.push(Setting {
                runtime,
                change: SettingChange::Variable { name, value, added },
                reason,
            });
        }
    }

    fn has_set(&self, variable: &str) -> bool {
        let names = self.sizing.settings.iter().map(|setting| match setting.change {
            SettingChange::Variable { name, .. } => Some(name),
            SettingChange::Arguments { .. } => None,
        });
        names.flatten().any(|name| name == variable)
    }

    /// Adds arguments to the command.
    pub(super) fn add_arguments(&mut self, runtime: Runtime, at: usize, added: Vec<String>, reason: String) {
        self.sizing.settings.push(Setting { runtime, change: SettingChange::Arguments { at, added }, reason });
    }

    pub(super) fn leave(&mut self, runtime: Runtime, reason: &[u8]) {
        let left = LeftAlone { runtime, reason: reason.to_vec() };
        if !self.sizing.left.contains(&left) {
            self.sizing.left.push(left);
        }
    }

    pub(super) fn advise(&mut self, runtime: Option<Runtime>, text: String) {
        self.sizing.advice.push(Advice { runtime, text });
    }
}

/// The words of a variable, without the quotes that may stand around each.
pub(super) fn words(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let is_quote = |byte: &u8| *byte == b'"' || *byte == b'\'';
    value.split(u8::is_ascii_whitespace).map(move |word| {
        let start = word.iter().position(|byte| !is_quote(byte)).unwrap_or(word.len());
        let end = word.iter().rposition(|byte| !is_quote(byte)).map_or(start, |last| last + 1);
        word.get(start..end).unwrap_or_default()
    })
}
