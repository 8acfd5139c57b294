//! Showing kills, in the form that was asked for.

use std::io::{self, IsTerminal, Write};
use std::path::Path;

use anyhow::Result;
use reprieve_report::{KillLine, KillSum, KillTable, TableWidth, kill_details};

use super::shown;
use crate::arguments::KillsArguments;
use crate::exit_code::ExitCode;

/// What is printed, and what is known of it so far.
pub(super) struct Output {
    form: Form,
    id: Option<u64>,
    filtered: bool,
    stored: Vec<KillLine>,
    sum: KillSum,
    headed: bool,
    ended: bool,
    none: Option<String>,
}

enum Form {
    Table(KillTable),
    Details,
    Json,
}

impl Output {
    pub(super) fn new(arguments: &KillsArguments) -> Self {
        let form = match arguments {
            KillsArguments { json: true, .. } => Form::Json,
            KillsArguments { id: Some(_), .. } => Form::Details,
            KillsArguments { wide: true, .. } => Form::Table(KillTable::new(TableWidth::Full)),
            _ => Form::Table(KillTable::new(TableWidth::Columns(columns()))),
        };
        let KillsArguments { since, pod, container, invisible, id, .. } = arguments;
        let filtered = since.is_some() || pod.is_some() || container.is_some() || *invisible;
        Output {
            form,
            id: *id,
            filtered,
            stored: Vec::new(),
            sum: KillSum::default(),
            headed: false,
            ended: false,
            none: None,
        }
    }

    /// Shows one kill.
    pub(super) fn show(&mut self, line: &KillLine) -> io::Result<()> {
        self.sum.add(line);
        let mut output = io::stdout().lock();
        match &self.form {
            Form::Json => writeln!(output, "{}", line.to_json())?,
            Form::Details => write!(output, "{}", kill_details(line))?,
            Form::Table(table) => {
                if !self.headed {
                    writeln!(output, "{}", table.heading().trim_end())?;
                }
                writeln!(output, "{}", table.line(line).trim_end())?;
            }
        }
        self.headed = true;
        if self.ended { output.flush() } else { Ok(()) }
    }

    /// Takes what was read from the store, to be shown at the end.
    pub(super) fn found(&mut self, lines: Vec<KillLine>, unreadable: u64) {
        self.stored = lines;
        self.complain_of(unreadable);
    }

    /// All that was there when it was asked is shown.
    pub(super) fn end(&mut self, unreadable: u64) -> io::Result<()> {
        self.complain_of(unreadable);
        self.ended = true;
        io::stdout().flush()
    }

    /// Nothing was ever stored there.
    pub(super) fn no_store(&mut self, directory: &Path, own_default: bool) {
        let root = if own_default { "; those of root's agent are shown to root" } else { "" };
        self.none = Some(format!(
            "no agent runs with the state directory {0}, and none has stored kills there: start `reprieve agent`, or \
             name the --state-dir of the one that ran{root}",
            shown(directory)
        ));
    }

    /// Shows what is left, and the sum. Where there is none, says so and what that means.
    pub(super) fn finish(mut self) -> Result<ExitCode> {
        for line in std::mem::take(&mut self.stored) {
            self.show(&line)?;
        }
        if self.sum.is_empty() {
            crate::complain(&self.none());
            return Ok(ExitCode::NothingFound);
        }
        let mut output = io::stdout().lock();
        if matches!(self.form, Form::Table(_)) {
            writeln!(output, "{}", self.sum)?;
        }
        output.flush()?;
        Ok(ExitCode::Success)
    }

    fn none(&self) -> String {
        match (&self.none, self.id) {
            (Some(none), _) => none.clone(),
            (None, Some(id)) => format!("there is no kill {id}: it was never told, or is forgotten by now"),
            (None, None) if self.filtered => "no kill that is known is as asked for".into(),
            (None, None) => {
                "no kills are known: the kernel has killed nothing for want of memory since the agent first \
                             ran, or all of it is forgotten by now"
                    .into()
            }
        }
    }

    fn complain_of(&self, unreadable: u64) {
        if unreadable > 0 {
            crate::complain(&format!("{unreadable} stored kills make no sense, and are left out"));
        }
    }
}

/// The columns of the terminal; 80 where there is none.
fn columns() -> usize {
    let output = io::stdout();
    let size = output.is_terminal().then(|| rustix::termios::tcgetwinsize(&output).ok()).flatten();
    size.map_or(80, |size| usize::from(size.ws_col))
}
