//! The file whose end Kubernetes shows once the container has ended (`terminationMessagePath`).
//!
//! The kubelet reads at most 4096 bytes of it, its end (`ReadAtMost`, pkg/kubelet/kuberuntime, 1.36). So nothing is
//! appended that would push out what stands there: the first kills are the ones that tell most, and the program may have
//! written there itself.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use reprieve_readings::Escaped;
use rustix::fs::OFlags;

use crate::options::TerminationLogPlace;

const USUAL: &str = "/dev/termination-log";
const MOST: u64 = 4096;

/// Where kills are told.
#[derive(Debug)]
pub(crate) struct TerminationLog {
    path: PathBuf,
    create: bool,
    failed: bool,
}

impl TerminationLog {
    /// `None` where there is none to write to.
    pub(crate) fn find(place: &TerminationLogPlace) -> Option<Self> {
        let (path, create) = match place {
            TerminationLogPlace::Off => return None,
            TerminationLogPlace::Usual => (Path::new(USUAL), false),
            TerminationLogPlace::At(path) => (path.as_path(), true),
        };
        Some(TerminationLog { path: path.to_owned(), create, failed: false })
    }

    /// Appends a line, if there is room.
    ///
    /// # Errors
    /// Once: one line that says what went wrong.
    pub(crate) fn append(&mut self, line: &str) -> Result<(), String> {
        let done = self.open().and_then(|mut file| {
            let full = file.metadata()?.len().saturating_add(line.len() as u64 + 1) > MOST;
            if full { Ok(()) } else { file.write_all(format!("{line}\n").as_bytes()) }
        });
        match done {
            Err(error) if error.kind() == ErrorKind::NotFound && !self.create => Ok(()),
            Err(error) if !self.failed => {
                self.failed = true;
                let path = Escaped(self.path.as_os_str().as_bytes());
                Err(format!("the kill can't be told in {path}: {error}"))
            }
            _ => Ok(()),
        }
    }

    /// Without waiting for a reader, where it is a pipe.
    fn open(&self) -> std::io::Result<File> {
        let flags = (OFlags::NONBLOCK | OFlags::CLOEXEC).bits().cast_signed();
        OpenOptions::new().append(true).create(self.create).custom_flags(flags).open(&self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_kubernetes_reads_is_not_exceeded() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        std::fs::write(&path, "the program's own\n").unwrap();
        let mut log = TerminationLog::find(&TerminationLogPlace::At(path.clone())).unwrap();
        for number in 0..1000 {
            log.append(&format!("kill {number} of a long list")).unwrap();
        }
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("the program's own\nkill 0 of a long list\nkill 1 "), "{text}");
        assert!(text.len() <= 4096 && text.len() > 4000, "{}", text.len());
    }

    #[test]
    fn a_failure_is_told_once() {
        let path = PathBuf::from("/proc/no/such\n");
        let mut log = TerminationLog::find(&TerminationLogPlace::At(path)).unwrap();
        let error = log.append("kill").unwrap_err();
        assert!(error.starts_with("the kill can't be told in /proc/no/such\\n: "), "{error}");
        assert_eq!(log.append("kill"), Ok(()));
        assert!(TerminationLog::find(&TerminationLogPlace::Off).is_none());
    }
}
