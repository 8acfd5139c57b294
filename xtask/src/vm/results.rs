//! What the virtual machine reported: cutting the stream of the results port into commands, and judging it.
//!
//! The machine is trusted only as far as it reports: a command without an end marker failed, whatever else was seen.
//! Everything here is a function of text, so that a panic, a hang and an early power-off are tested without a boot.

const MARKER: &str = "@reprieve-vm ";

/// One command's report.
#[derive(Debug)]
pub(crate) struct CommandResult {
    /// The name that the caller gave the command.
    pub(crate) name: String,
    /// Its exit status; `None` if the machine ended before the command.
    pub(crate) status: Option<i32>,
    /// What it wrote to stdout and stderr.
    pub(crate) output: String,
}

/// What one line of the stream was.
#[derive(Debug, PartialEq)]
pub(crate) enum Event {
    /// The command of this name began.
    Began(String),
    /// A line for the reader.
    Output,
    /// A marker that needs no showing.
    Marker,
}

/// Everything that came over the results port so far.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    commands: Vec<CommandResult>,
    finished: bool,
}

/// How the boot ended, apart from the results.
pub(crate) struct BootEnd<'a> {
    /// The console's text.
    pub(crate) console: &'a str,
    /// Whether the machine was stopped because its time was over.
    pub(crate) timed_out: bool,
}

impl Stream {
    /// Takes the next line, without its line feed.
    pub(crate) fn feed(&mut self, line: &str) -> Event {
        let Some(marker) = line.strip_prefix(MARKER) else {
            if let Some(command) = self.commands.last_mut().filter(|command| command.status.is_none()) {
                command.output.push_str(line);
                command.output.push('\n');
            }
            return Event::Output;
        };
        if let Some(name) = marker.strip_prefix("begin ") {
            self.commands.push(CommandResult { name: name.to_owned(), status: None, output: String::new() });
            return Event::Began(name.to_owned());
        }
        if let Some(status) = marker.strip_prefix("end ")
            && let Some(command) = self.commands.last_mut()
        {
            command.status = status.trim().parse().ok();
        }
        self.finished |= marker.trim() == "finished";
        Event::Marker
    }

    /// Returns the results if the machine ran to its own end and every expected command has one; else says what
    /// happened.
    pub(crate) fn judge(self, expected: &[&str], end: &BootEnd) -> Result<Vec<CommandResult>, String> {
        let during = match self.commands.last() {
            Some(command) if command.status.is_none() => format!("during `{}`", command.name),
            Some(command) => format!("after `{}`", command.name),
            None => "before the first command".to_owned(),
        };
        if end.console.contains("Kernel panic") {
            return Err(format!("the kernel panicked {during}"));
        }
        if end.timed_out {
            return Err(format!("the machine was stopped {during}, because its time was over"));
        }
        if !self.finished {
            return Err(format!("the machine ended {during}, before it had run everything"));
        }
        for name in expected {
            if !self.commands.iter().any(|command| command.name == *name && command.status.is_some()) {
                return Err(format!("the machine reported no result of `{name}`"));
            }
        }
        Ok(self.commands)
    }
}

#[cfg(test)]
mod tests {
    use super::{BootEnd, CommandResult, Event, Stream};

    fn judge(text: &str, console: &str, timed_out: bool) -> Result<Vec<CommandResult>, String> {
        let mut stream = Stream::default();
        for line in text.lines() {
            stream.feed(line);
        }
        stream.judge(&["one", "two"], &BootEnd { console, timed_out })
    }

    const COMPLETE: &str = "\n@reprieve-vm begin one\nhello\n\n@reprieve-vm end 0\n\n@reprieve-vm begin two\n\
                            \n@reprieve-vm end 101\n\n@reprieve-vm finished\n";

    #[test]
    fn keeps_output_and_status_of_every_command() {
        let results = judge(COMPLETE, "", false).unwrap();
        let seen: Vec<_> = results.iter().map(|r| (r.name.as_str(), r.status, r.output.trim())).collect();
        assert_eq!(seen, [("one", Some(0), "hello"), ("two", Some(101), "")]);
    }

    #[test]
    fn tells_markers_from_output() {
        let mut stream = Stream::default();
        assert_eq!(stream.feed("@reprieve-vm begin one"), Event::Began("one".into()));
        assert_eq!(stream.feed("it says @reprieve-vm end 0"), Event::Output);
        assert_eq!(stream.feed("@reprieve-vm end 0"), Event::Marker);
    }

    #[test]
    fn a_missing_end_marker_is_a_failure() {
        let text = "@reprieve-vm begin one\nhalf a resu";
        assert_eq!(judge(text, "", false).unwrap_err(), "the machine ended during `one`, before it had run everything");
    }

    #[test]
    fn a_command_that_never_began_is_a_failure() {
        let text = "@reprieve-vm begin one\n@reprieve-vm end 0\n@reprieve-vm finished\n";
        assert_eq!(judge(text, "", false).unwrap_err(), "the machine reported no result of `two`");
    }

    #[test]
    fn an_unreadable_status_is_a_failure() {
        let text = COMPLETE.replace("end 101", "end ?");
        assert_eq!(judge(&text, "", false).unwrap_err(), "the machine reported no result of `two`");
    }

    #[test]
    fn a_panic_a_hang_and_an_early_end_are_told_apart() {
        let panicked = judge("", "x\nKernel panic - not syncing: Attempted to kill init!", false);
        assert_eq!(panicked.unwrap_err(), "the kernel panicked before the first command");
        let hung = judge("@reprieve-vm begin one\n", "", true);
        assert_eq!(hung.unwrap_err(), "the machine was stopped during `one`, because its time was over");
        let ended = judge("@reprieve-vm begin one\n@reprieve-vm end 0\n", "", false);
        assert_eq!(ended.unwrap_err(), "the machine ended after `one`, before it had run everything");
    }
}
