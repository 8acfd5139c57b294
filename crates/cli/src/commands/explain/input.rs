//! Opening logs: files, standard input, compressed ones; and following a file that grows.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use flate2::bufread::MultiGzDecoder;
use lzma_rust2::XzReader;
use ruzstd::decoding::StreamingDecoder;

/// As much of a file as is read at once.
const PIECE: usize = 128 * 1024;
/// As much memory as a stranger's archive may ask for, in KiB.
const MEMORY_LIMIT_KIB: u32 = 128 * 1024;

/// Opens a log. `-` is standard input. What is compressed is told by its first bytes, whatever the name.
pub(super) fn open(file: &Path) -> Result<Box<dyn Read>> {
    if file.as_os_str() == "-" {
        return decompress(BufReader::with_capacity(PIECE, io::stdin()));
    }
    let opened = File::open(file)?;
    if opened.metadata()?.is_dir() {
        bail!("it is a directory; name the files in it");
    }
    decompress(BufReader::with_capacity(PIECE, opened))
}

fn decompress(mut source: impl BufRead + 'static) -> Result<Box<dyn Read>> {
    // A pipe can give its first byte alone; then it is taken for plain text.
    let head = source.fill_buf()?;
    Ok(match head {
        [0x1f, 0x8b, ..] => Box::new(MultiGzDecoder::new(source)),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Box::new(ZstdFrames::new(source)?),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Box::new(XzReader::new_mem_limit(source, true, MEMORY_LIMIT_KIB)),
        _ => Box::new(source),
    })
}

/// A file of zstd is one frame or several.
struct ZstdFrames<R: BufRead> {
    frame: Option<StreamingDecoder<R, ruzstd::decoding::FrameDecoder>>,
}

impl<R: BufRead> ZstdFrames<R> {
    fn new(source: R) -> Result<Self> {
        let frame = StreamingDecoder::new(source).map_err(|error| anyhow::Error::msg(error.to_string()))?;
        Ok(ZstdFrames { frame: Some(frame) })
    }
}

impl<R: BufRead> Read for ZstdFrames<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            let Some(frame) = &mut self.frame else { return Ok(0) };
            let read = frame.read(into)?;
            if read > 0 {
                return Ok(read);
            }
            let Some(frame) = self.frame.take() else { return Ok(0) };
            let mut source = frame.into_inner();
            if !source.fill_buf()?.is_empty() {
                let next = StreamingDecoder::new(source);
                self.frame = Some(next.map_err(|error| io::Error::other(error.to_string()))?);
            }
        }
    }
}

/// A file that grows. When another takes its name (a log that was rotated), that one is read from its beginning.
pub(super) struct Followed {
    path: PathBuf,
    file: File,
}

impl Followed {
    /// Opens a file, and returns what reads its next bytes: none for now is 0.
    pub(super) fn open(path: &Path) -> Result<impl FnMut(&mut [u8]) -> Result<usize>> {
        let file = File::open(path)?;
        if !file.metadata()?.is_file() {
            bail!("only a file can be followed");
        }
        let mut followed = Followed { path: path.to_owned(), file };
        Ok(move |into: &mut [u8]| followed.read(into).context("it can't be read any more"))
    }

    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(into)?;
        if read > 0 {
            return Ok(read);
        }
        let now = self.file.metadata()?;
        if now.len() < self.file.stream_position()? {
            // It was truncated and begins anew.
            self.file.seek(SeekFrom::Start(0))?;
            return self.file.read(into);
        }
        // Between a rotation's two steps there is no file by this name: look again later.
        match File::open(&self.path) {
            Ok(other) if other.metadata()?.ino() != now.ino() => {
                self.file = other;
                self.file.read(into)
            }
            _ => Ok(0),
        }
    }
}
