//! The floor: one `pread` for each file that every scan reads, in the same order, and nothing done with the text.
//!
//! The files that a scan reads in turns, some cgroups' each time, are left out: they count against the scan.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Result};
use reprieve_readings::{CgroupVersion, MemoryFile, Pace};

/// The memory files of many cgroups, all open.
#[derive(Default)]
pub(crate) struct OpenFiles(Vec<File>);

impl OpenFiles {
    /// Opens those of the cgroup `top` and of all inside it.
    pub(crate) fn open(top: &Path, version: CgroupVersion) -> Result<Self> {
        let mut files = OpenFiles::default();
        files.add(top, MemoryFile::all(version))?;
        Ok(files)
    }

    fn add(&mut self, cgroup: &Path, wanted: &[MemoryFile]) -> Result<()> {
        for file in wanted.iter().filter(|file| file.pace == Pace::Fast) {
            let path = cgroup.join(file.name);
            match File::open(&path) {
                Ok(file) => self.0.push(file),
                // This kernel doesn't have it: the scan passes over it too.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error).with_context(|| format!("{} could not be opened", path.display())),
            }
        }
        for entry in fs::read_dir(cgroup).with_context(|| format!("{} could not be listed", cgroup.display()))? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                self.add(&entry.path(), wanted)?;
            }
        }
        Ok(())
    }

    /// How many files there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Reads each once.
    pub(crate) fn read(&self, buffer: &mut [u8]) -> Result<()> {
        for file in &self.0 {
            file.read_at(buffer, 0).context("a memory file could not be read")?;
        }
        Ok(())
    }
}
