//! A tracing instance of our own: a folder in `instances`, with buffers and settings that nobody else shares.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use reprieve_readings::{TraceDecoder, TracePage, Tracepoint};
use rustix::fs::{FlockOperation, OFlags};
use rustix::io::Errno;

use super::error::TraceError;
use super::tracefs::Tracefs;
use crate::error::ReadError;
use crate::file;

/// What the names of instances end with.
pub(super) const VICTIMS: &str = "victims";
pub(super) const LINEAGE: &str = "lineage";

const FOLDER: &str = "instances";

/// An instance. It is `instances/reprieve-PID-NUMBER-PURPOSE`, and goes with its value.
#[derive(Debug)]
pub(super) struct Instance {
    /// The instance's `trace_pipe`. The kernel removes no instance of which a file is open, so the folder comes last.
    pipe: OwnedFd,
    processors: Vec<Processor>,
    pages: usize,
    folder: Folder,
}

/// The buffer of one processor.
#[derive(Debug)]
pub(super) struct Processor {
    /// Its `trace_pipe_raw`, from the root of tracefs.
    path: String,
    /// The same, open. Opening it anew takes five times as long as a look into it.
    raw: Option<OwnedFd>,
}

/// The folder of an instance, from the root of tracefs. Dropping it removes it, and with it what was recorded.
#[derive(Debug)]
struct Folder {
    tracefs: Arc<Tracefs>,
    path: String,
}

/// Takes over the instances of a purpose that processes left behind when they were killed: they have gone on recording.
/// Those in use are left alone. The one who uses an instance holds a lock on its pipe, which tells better than a pid in a
/// name, that may be of another pid namespace or have been given anew.
pub(super) fn take_left(tracefs: &Arc<Tracefs>, purpose: &str, buffer_kib: u32) -> Vec<Instance> {
    let take = |name: Vec<u8>| {
        let name = String::from_utf8(name).ok().filter(|name| is_ours(name.as_bytes()) && name.ends_with(purpose))?;
        let path = format!("{FOLDER}/{name}");
        let pipe = open_pipe(tracefs, &path).ok()?;
        let folder = Folder { tracefs: Arc::clone(tracefs), path };
        let processors = folder.processors().unwrap_or_default();
        Some(Instance { pipe, processors, pages: pages(buffer_kib), folder })
    };
    tracefs.names(FOLDER).unwrap_or_default().into_iter().filter_map(take).collect()
}

/// Opens an instance's pipe, by which it is in use.
fn open_pipe(tracefs: &Tracefs, path: &str) -> Result<OwnedFd, Errno> {
    // Since Linux 6.5 the kernel itself gives it to one at a time.
    let pipe = tracefs.open(&format!("{path}/trace_pipe"), OFlags::RDONLY | OFlags::NONBLOCK)?;
    rustix::fs::flock(&pipe, FlockOperation::NonBlockingLockExclusive)?;
    Ok(pipe)
}

/// How many pages a buffer has at most. The smallest are the most; one is being filled, one being read.
fn pages(buffer_kib: u32) -> usize {
    usize::try_from(buffer_kib).unwrap_or(usize::MAX) / 4 + 3
}

/// Whether a name is one that [`Instance::make`] gives.
fn is_ours(name: &[u8]) -> bool {
    let mut parts = name.split(|&byte| byte == b'-');
    let is_number =
        |part: Option<&[u8]>| part.is_some_and(|part| !part.is_empty() && part.iter().all(u8::is_ascii_digit));
    parts.next() == Some(b"reprieve")
        && is_number(parts.next())
        && is_number(parts.next())
        && parts.next().is_some_and(|purpose| [VICTIMS.as_bytes(), LINEAGE.as_bytes()].contains(&purpose))
        && parts.next().is_none()
}

impl Instance {
    /// Of so many processors the files stay open.
    const KEPT_OPEN: usize = 64;
    /// The largest page of any machine: more is never given by one read.
    pub(super) const LARGEST_PAGE: usize = 64 * 1024;
    /// As many instances as this process may have of one purpose, and as often as another may take a new one for a left
    /// one.
    const TRIES: u32 = 100;

    /// Makes an instance with a buffer of so many KiB for each processor. It records nothing yet.
    pub(super) fn make(tracefs: &Arc<Tracefs>, purpose: &str, buffer_kib: u32) -> Result<Self, TraceError> {
        let (folder, pipe) = Folder::make(tracefs, purpose)?;
        // First of all: until then the buffers have the usual size.
        folder.set("buffer_size_kb", &buffer_kib.to_string())?;
        folder.set("trace_clock", "boot")?;
        // The newest events matter most, whatever the machine's own setting is.
        folder.set("options/overwrite", "1")?;
        let mut processors = folder.processors()?;
        for processor in processors.iter_mut().take(Self::KEPT_OPEN) {
            let opened = processor.open(tracefs);
            processor.raw = Some(opened.map_err(|errno| TraceError::new(tracefs.path(&processor.path), errno))?);
        }
        Ok(Instance { pipe, folder, processors, pages: pages(buffer_kib) })
    }

    /// Records a tracepoint's events, those alone that a filter lets through.
    pub(super) fn record(&self, tracepoint: Tracepoint, filter: Option<&str>) -> Result<(), TraceError> {
        let event = format!("events/{}/{}", tracepoint.system(), tracepoint.event());
        if let Some(filter) = filter {
            self.folder.set(&format!("{event}/filter"), filter)?;
        }
        self.folder.set(&format!("{event}/enable"), "1")
    }

    /// Readable while there are events.
    pub(super) fn poll_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }

    /// The processors: all that there may ever be.
    pub(super) fn processors(&self) -> &[Processor] {
        &self.processors
    }

    /// How many pages a processor's buffer has.
    pub(super) fn pages(&self) -> usize {
        self.pages
    }

    /// Takes the next page out of a processor's buffer; `None` where that is empty, or the processor was never online.
    pub(super) fn read_page(
        &self,
        processor: &Processor,
        decoder: &TraceDecoder,
        buffer: &mut [u8],
    ) -> Result<Option<TracePage>, ReadError> {
        let tracefs = &self.folder.tracefs;
        let read = match &processor.raw {
            Some(raw) => read(raw, buffer),
            None => processor.open(tracefs).and_then(|raw| read(&raw, buffer)),
        };
        match read {
            Ok(0) | Err(Errno::AGAIN | Errno::NODEV) => Ok(None),
            Ok(length) => Ok(Some(decoder.page(buffer.get(..length).unwrap_or_default()))),
            Err(errno) => Err(ReadError::io(tracefs.path(&processor.path), errno)),
        }
    }
}

fn read(raw: &OwnedFd, buffer: &mut [u8]) -> Result<usize, Errno> {
    file::retry_interrupted(|| rustix::io::read(raw, &mut *buffer))
}

impl Processor {
    fn open(&self, tracefs: &Tracefs) -> Result<OwnedFd, Errno> {
        tracefs.open(&self.path, OFlags::RDONLY | OFlags::NONBLOCK)
    }
}

impl Folder {
    /// Makes a folder and opens its pipe, by which it is in use.
    fn make(tracefs: &Arc<Tracefs>, purpose: &str) -> Result<(Self, OwnedFd), TraceError> {
        let mut last = (FOLDER.to_owned(), Errno::EXIST);
        for number in 0..Instance::TRIES {
            let path = format!("{FOLDER}/reprieve-{}-{number}-{purpose}", std::process::id());
            match tracefs.make_folder(&path) {
                Ok(()) => {}
                Err(Errno::EXIST) => continue,
                Err(errno) => return Err(TraceError::new(tracefs.path(&path), errno)),
            }
            let folder = Folder { tracefs: Arc::clone(tracefs), path };
            match open_pipe(tracefs, &folder.path) {
                Ok(pipe) => return Ok((folder, pipe)),
                // Another process that is just starting took it for one that was left.
                Err(errno @ (Errno::NOENT | Errno::NODEV | Errno::BUSY | Errno::AGAIN)) => {
                    last = (folder.path.clone(), errno)
                }
                Err(errno) => return Err(TraceError::new(tracefs.path(&folder.path), errno)),
            }
        }
        let (path, errno) = last;
        Err(TraceError::new(tracefs.path(&path), errno))
    }

    fn set(&self, file: &str, setting: &str) -> Result<(), TraceError> {
        let file = format!("{}/{file}", self.path);
        self.tracefs.write(&file, setting).map_err(|errno| TraceError::new(self.tracefs.path(&file), errno))
    }

    fn processors(&self) -> Result<Vec<Processor>, TraceError> {
        let folder = format!("{}/per_cpu", self.path);
        let names = self.tracefs.names(&folder).map_err(|errno| TraceError::new(self.tracefs.path(&folder), errno))?;
        let number = |name: &Vec<u8>| std::str::from_utf8(name.strip_prefix(b"cpu")?).ok()?.parse().ok();
        let mut numbers: Vec<u32> = names.iter().filter_map(number).collect();
        numbers.sort_unstable();
        let processor = |number| Processor { path: format!("{folder}/cpu{number}/trace_pipe_raw"), raw: None };
        Ok(numbers.into_iter().map(processor).collect())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Somebody may be reading it. It then stays until the next `open`, but records no more.
        if self.tracefs.remove_folder(self.path.as_bytes()).is_err() {
            let _ = self.tracefs.write(&format!("{}/events/enable", self.path), "0");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_our_own_form_are_ours() {
        for ours in ["reprieve-1-0-victims", "reprieve-4194304-99-lineage"] {
            assert!(is_ours(ours.as_bytes()), "{ours}");
        }
        for other in
            ["reprieve-1-victims", "reprieve-1-0-mine", "reprieve--0-victims", "reprieve-1-0-victims-2", "x", ""]
        {
            assert!(!is_ours(other.as_bytes()), "{other}");
        }
    }
}
