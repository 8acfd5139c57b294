//! Writing an initramfs: a cpio archive in the `newc` format, uncompressed.
//!
//! Written here and not by cpio(1), because files must stand in the guest at the absolute paths they have on the host
//! (a test has the path of the program it starts compiled in), which cpio could do only from a copied tree. The format
//! is described in the kernel's Documentation/driver-api/early-userspace/buffer-format.rst.

use std::{
    collections::BTreeSet,
    path::{Component, Path, PathBuf},
};

const DIRECTORY: u32 = 0o040_755;
const EXECUTABLE: u32 = 0o100_755;

/// An archive that grows by one file at a time.
#[derive(Default)]
pub(crate) struct Initramfs {
    bytes: Vec<u8>,
    entries: u32,
    directories: BTreeSet<PathBuf>,
}

impl Initramfs {
    /// Adds an executable file at this absolute path, and the directories above it.
    pub(crate) fn add(&mut self, path: &Path, content: &[u8]) {
        let inside: PathBuf = path.components().filter(|part| matches!(part, Component::Normal(_))).collect();
        let mut above: Vec<_> = inside.ancestors().skip(1).filter(|folder| *folder != Path::new("")).collect();
        above.reverse();
        for folder in above {
            if self.directories.insert(folder.to_owned()) {
                self.entry(&folder.to_string_lossy(), DIRECTORY, &[]);
            }
        }
        self.entry(&inside.to_string_lossy(), EXECUTABLE, content);
    }

    /// Ends the archive and returns its bytes.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, &[]);
        self.bytes
    }

    fn entry(&mut self, name: &str, mode: u32, content: &[u8]) {
        self.entries += 1;
        // inode, mode, uid, gid, links, mtime, size, device (two), device of a node (two), length of name, checksum
        let fields =
            [self.entries, mode, 0, 0, 1, 0, length(content), 0, 0, 0, 0, length(name.as_bytes()).saturating_add(1), 0];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

/// A size of `newc`, which has 32 bits: a file of 4 GiB or more would not fit into the guest's memory anyway.
fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::Initramfs;
    use std::path::Path;

    #[test]
    fn writes_directories_once_and_pads_to_four_bytes() {
        let mut archive = Initramfs::default();
        archive.add(Path::new("/a/b"), b"hello");
        archive.add(Path::new("/a/c"), b"");
        let bytes = archive.finish();
        let text = String::from_utf8_lossy(&bytes);
        assert_eq!(text.matches("070701").count(), 4, "a, a/b, a/c and the trailer");
        assert_eq!(bytes.len() % 4, 0);
        assert!(text.starts_with("07070100000001000041ed"));
        assert!(text.contains("a/b\0\0\0hello\0\0\0"), "name and content are padded: {text:?}");
        assert!(text.contains("TRAILER!!!\0"));
    }
}
