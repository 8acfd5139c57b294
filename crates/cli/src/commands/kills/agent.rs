//! Asking the running agent.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use reprieve_agent::{Closing, KillRequest, SOCKET_NAME};
use reprieve_readings::Escaped;
use reprieve_report::KillLine;

use super::output::Output;
use super::shown;

/// How long an agent may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// As long as a line of an answer may be: paths and command lines are bounded by the kernel and the agent.
const LONGEST_LINE: u64 = 1024 * 1024;

/// A connection to an agent.
pub(super) struct Connected {
    path: PathBuf,
    stream: UnixStream,
}

impl Connected {
    /// Connects to the agent of a state directory. `None` where none runs.
    pub(super) fn to(directory: &Path) -> Result<Option<Self>> {
        let path = directory.join(SOCKET_NAME);
        match UnixStream::connect(&path) {
            Ok(stream) => Ok(Some(Connected { path, stream })),
            Err(error) => match error.kind() {
                ErrorKind::NotFound | ErrorKind::ConnectionRefused | ErrorKind::NotADirectory => Ok(None),
                // A path that is too long for a socket has none.
                ErrorKind::InvalidInput => Ok(None),
                ErrorKind::PermissionDenied => {
                    Err(error).with_context(|| format!("{}: run as the agent's user", shown(&path)))
                }
                _ => Err(error).with_context(|| shown(&path)),
            },
        }
    }

    /// Asks, and shows what comes.
    pub(super) fn ask(mut self, request: &KillRequest, output: &mut Output) -> Result<()> {
        self.stream.set_read_timeout(Some(PATIENCE))?;
        // One that refuses says why, and may have closed before this.
        let _ = writeln!(self.stream, "{}", request.to_line());
        let mut lines = BufReader::new(&self.stream);
        let mut line = Vec::new();
        loop {
            if !self.read_line(&mut lines, &mut line)? {
                bail!("{}: the agent has ended", shown(&self.path));
            }
            if let Ok(kill) = KillLine::parse(&line) {
                output.show(&kill)?;
                continue;
            }
            match serde_json::from_slice(&line) {
                Ok(Closing::Error { error }) => bail!("{}: {}", shown(&self.path), Escaped(error.as_bytes())),
                Ok(Closing::End { unreadable, memory_only, .. }) => {
                    output.end(unreadable)?;
                    if let Some(why) = memory_only {
                        let why = Escaped(why.as_bytes()).to_string();
                        crate::complain(&format!(
                            "the agent keeps kills in memory only, older ones may be missing: {why}"
                        ));
                    }
                    if !request.follow {
                        return Ok(());
                    }
                    // The next kill may be a long time coming.
                    self.stream.set_read_timeout(None)?;
                }
                Err(_) => bail!("{}: the agent's answer makes no sense: is it another version?", shown(&self.path)),
            }
        }
    }

    /// Reads a line. Says `false` where there is none any more.
    fn read_line(&self, lines: &mut BufReader<&UnixStream>, line: &mut Vec<u8>) -> Result<bool> {
        line.clear();
        let read = loop {
            match lines.take(LONGEST_LINE).read_until(b'\n', line) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        match read {
            Ok(_) => Ok(line.ends_with(b"\n")),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(false),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                bail!("{}: the agent does not answer", shown(&self.path))
            }
            Err(error) => Err(error).with_context(|| shown(&self.path)),
        }
    }
}
