//! `reprieve explain`: reads logs, and explains each report of the OOM killer in them.

mod input;
mod output;

use std::ffi::OsStr;
use std::io::{self, IsTerminal, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use reprieve_linux::{KmsgEvent, KmsgReader};
use reprieve_readings::{Escaped, OomLogReader};

use crate::arguments::ExplainArguments;
use crate::exit_code::ExitCode;
use input::{Followed, open};
use output::Output;

/// The kernel's log.
const KERNEL: &str = "/dev/kmsg";
/// As much of a log as is read at once.
const PIECE: usize = 128 * 1024;
/// How long nothing more has to come before a report that has begun is told as it is.
const QUIET: Duration = Duration::from_secs(2);
/// How often a followed log is looked at.
const LOOK: Duration = Duration::from_millis(200);

pub(crate) fn run(arguments: &ExplainArguments) -> Result<ExitCode> {
    let mut output = Output::new(arguments);
    if arguments.kernel {
        read_kernel(arguments.follow, &mut output)?;
        return Ok(output.finish());
    }
    if arguments.files.is_empty() && io::stdin().is_terminal() {
        bail!("name a log, pipe one in, or use --kernel; see 'reprieve explain --help'");
    }
    let stdin = [OsStr::new("-").into()];
    let files = if arguments.files.is_empty() { &stdin[..] } else { &arguments.files };
    let several = files.len() > 1;
    let mut failed = false;
    for (index, file) in files.iter().enumerate() {
        output.begin_source(file, several);
        let follow = arguments.follow && index + 1 == files.len();
        match read_file(file, follow, &mut output) {
            Ok(()) => {}
            // The reader of our output has gone.
            Err(error)
                if error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe) =>
            {
                return Err(error);
            }
            Err(error) => {
                crate::complain(&format!("{}: {error:#}", Escaped(file.as_os_str().as_bytes())));
                failed = true;
            }
        }
    }
    let found = output.finish();
    Ok(if failed { ExitCode::Failure } else { found })
}

fn read_file(file: &Path, follow: bool, output: &mut Output) -> Result<()> {
    if follow && file.as_os_str() != "-" {
        return follow_log(Followed::open(file)?, output);
    }
    let mut source = open(file)?;
    let mut reader = OomLogReader::new();
    let mut piece = vec![0; PIECE];
    loop {
        let read = match source.read(&mut piece) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                // What came before the damage is told.
                reader.finish(|event| output.tell(event));
                output.check()?;
                return Err(anyhow::Error::msg(error.to_string())).context("the rest can't be read");
            }
        };
        reader.feed(piece.get(..read).unwrap_or_default(), |event| output.tell(event));
        output.check()?;
    }
    reader.finish(|event| output.tell(event));
    output.check()
}

/// Follows a log without end.
fn follow_log(mut source: impl FnMut(&mut [u8]) -> Result<usize>, output: &mut Output) -> Result<()> {
    let mut reader = OomLogReader::new();
    let mut piece = vec![0; PIECE];
    let mut quiet = Duration::ZERO;
    loop {
        let read = source(&mut piece)?;
        if read > 0 {
            quiet = Duration::ZERO;
            reader.feed(piece.get(..read).unwrap_or_default(), |event| output.tell(event));
        } else {
            std::thread::sleep(LOOK);
            quiet = quiet.saturating_add(LOOK);
            if quiet >= QUIET {
                reader.flush(|event| output.tell(event));
                quiet = Duration::ZERO;
            }
        }
        output.check()?;
    }
}

fn read_kernel(follow: bool, output: &mut Output) -> Result<()> {
    let mut kernel = KmsgReader::open_at_start(Path::new(KERNEL)).context(KERNEL)?;
    output.begin_kernel();
    if follow {
        return follow_log(|piece| next_record(&mut kernel, piece), output);
    }
    let mut reader = OomLogReader::new();
    let mut record = vec![0; PIECE];
    loop {
        let length = next_record(&mut kernel, &mut record)?;
        if length == 0 {
            break;
        }
        reader.feed(record.get(..length).unwrap_or_default(), |event| output.tell(event));
        output.check()?;
    }
    reader.finish(|event| output.tell(event));
    output.check()
}

/// The next record of the kernel's log; 0 where there is none for now. Records that were lost are passed over: the report
/// then says what it lacks.
fn next_record(kernel: &mut KmsgReader, into: &mut [u8]) -> Result<usize> {
    loop {
        match kernel.next_event().context(KERNEL)? {
            KmsgEvent::Record(record) => {
                let length = record.len().min(into.len());
                if let (Some(to), Some(from)) = (into.get_mut(..length), record.get(..length)) {
                    to.copy_from_slice(from);
                }
                return Ok(length);
            }
            KmsgEvent::Overrun => {}
            KmsgEvent::Empty => return Ok(0),
        }
    }
}
