//! One connection: reads what is asked, and answers it.

use std::io::{self, BufWriter, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use reprieve_judgement::{KillId, KillRecord};
use reprieve_report::KillLine;

use super::protocol::{BadRequest, Closing, KillRequest, LONGEST_REQUEST};
use crate::journal::{Following, Journal};

/// Kills that are read at once.
const PAGE: usize = 256;
/// How often it is looked whether one who follows is still there.
const LOOK: Duration = Duration::from_secs(1);

type Output<'a> = BufWriter<&'a UnixStream>;

/// Says that there are too many. If it is not read at once, so be it.
pub(super) fn refuse(stream: &UnixStream) {
    let error = "too many ask at once: try again later".to_owned();
    let _ = stream.set_nonblocking(true);
    let _ = write_closing(&mut BufWriter::new(stream), Closing::Error { error });
}

/// Answers one question.
pub(super) fn answer(stream: &UnixStream, journal: &Journal, patience: Duration) -> io::Result<()> {
    stream.set_write_timeout(Some(patience))?;
    let mut output = BufWriter::new(stream);
    let request = read_line(stream, patience)?;
    match KillRequest::parse(&request) {
        Ok(request) => answer_kills(&request, journal, &mut output),
        Err(BadRequest(error)) => write_closing(&mut output, Closing::Error { error }),
    }
}

/// Reads the line that asks. All of it has to come in time.
fn read_line(mut stream: &UnixStream, patience: Duration) -> io::Result<Vec<u8>> {
    let end = Instant::now() + patience;
    let mut line = Vec::new();
    let mut piece = [0; 512];
    loop {
        // A timeout of zero would be none.
        let left = end.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        stream.set_read_timeout(Some(left))?;
        let read = stream.read(&mut piece)?;
        line.extend_from_slice(piece.get(..read).unwrap_or_default());
        if let Some(length) = line.iter().position(|&byte| byte == b'\n') {
            line.truncate(length);
            return Ok(line);
        }
        if read == 0 || line.len() > LONGEST_REQUEST || Instant::now() >= end {
            return Err(io::Error::from(ErrorKind::InvalidData));
        }
    }
}

fn answer_kills(request: &KillRequest, journal: &Journal, output: &mut Output<'_>) -> io::Result<()> {
    // Before the first page is read, so that nothing falls in between.
    let following = request.follow.then(|| journal.follow());
    let mut seen = Seen::default();
    let mut unreadable = 0;
    // That of one id is at the very beginning of the page after the one before it.
    let mut after = request.id.map_or(KillId(0), |id| KillId(id.0.saturating_sub(1)));
    let most = if request.id.is_some() { 1 } else { PAGE };
    loop {
        let telling = match journal.page(after, most) {
            Ok(telling) => telling,
            Err(error) => return write_closing(output, Closing::Error { error: error.to_string() }),
        };
        unreadable += telling.page.unreadable;
        for record in telling.page.records.iter().filter(|record| takes(request, record)) {
            write_kill(output, record)?;
        }
        let next = telling.page.next.filter(|_| request.id.is_none());
        seen.add(next, telling.told);
        match next {
            Some(next) => after = next,
            None => break,
        }
    }
    let memory_only = journal.health().problem;
    write_closing(output, Closing::End { end: true, unreadable, memory_only })?;
    following.map_or(Ok(()), |following| follow(request, &following, &seen, output))
}

fn follow(request: &KillRequest, following: &Following, seen: &Seen, output: &mut Output<'_>) -> io::Result<()> {
    loop {
        match following.next(LOOK) {
            Ok(Some(told)) => {
                if takes(request, &told.record) && !seen.has(told.record.id, told.number) {
                    write_kill(output, &told.record)?;
                    output.flush()?;
                }
            }
            Ok(None) if has_gone(output.get_ref())? => return Ok(()),
            Ok(None) => {}
            Err(_) => {
                let error = "kills came faster than they were read: ask again".to_owned();
                return write_closing(output, Closing::Error { error });
            }
        }
    }
}

fn takes(request: &KillRequest, record: &KillRecord) -> bool {
    request.id.is_none_or(|id| id == record.id) && request.filter.takes(record)
}

/// Who follows says nothing more: there is something to read only when it has gone.
fn has_gone(mut stream: &UnixStream) -> io::Result<bool> {
    stream.set_read_timeout(Some(Duration::from_millis(1)))?;
    match stream.read(&mut [0]) {
        Ok(read) => Ok(read == 0),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(false),
        Err(error) => Err(error),
    }
}

fn write_kill(output: &mut Output<'_>, record: &KillRecord) -> io::Result<()> {
    writeln!(output, "{}", KillLine::of(record).to_json())
}

fn write_closing(output: &mut Output<'_>, closing: Closing) -> io::Result<()> {
    // Numbers and strings always serialise.
    writeln!(output, "{}", serde_json::to_string(&closing).unwrap_or_default())?;
    output.flush()
}

/// Which records were read in pages: up to which id, at which moment of telling.
#[derive(Debug, Default)]
struct Seen {
    pages: Vec<(Option<KillId>, u64)>,
}

impl Seen {
    /// Adds the page that ends with `last`, or with the last of all.
    fn add(&mut self, last: Option<KillId>, told: u64) {
        self.pages.push((last, told));
    }

    /// Whether a record was on its page already as it was told by this number.
    fn has(&self, id: KillId, number: u64) -> bool {
        let page = self.pages.iter().find(|(last, _)| last.is_none_or(|last| id <= last));
        page.is_some_and(|&(_, told)| number <= told)
    }
}
