//! How redb reaches the file: straight, or through an overlay that keeps all writes in memory.
//!
//! Neither locks: that is done for the file as a whole before (`place`). A read beyond the end is an error.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use redb::StorageBackend;

/// The file itself.
#[derive(Debug)]
pub(crate) struct Direct(pub(crate) File);

impl StorageBackend for Direct {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(out, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write_all_at(data, offset)
    }
}

/// The file as it is, with what is written kept in memory: a store that was not closed in order is put in order for the
/// reader alone.
#[derive(Debug)]
pub(crate) struct Overlay {
    file: File,
    written: Mutex<Written>,
}

#[derive(Debug)]
struct Written {
    len: u64,
    // How much of the file still shows through.
    from_file: u64,
    blocks: BTreeMap<u64, Block>,
}

type Block = Box<[u8; BLOCK]>;

const BLOCK: usize = 4096;

impl Overlay {
    pub(crate) fn new(file: File) -> io::Result<Self> {
        let len = file.metadata()?.len();
        Ok(Overlay { file, written: Mutex::new(Written { len, from_file: len, blocks: BTreeMap::new() }) })
    }

    fn lock(&self) -> MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read_block(&self, written: &Written, index: u64) -> io::Result<Block> {
        if let Some(block) = written.blocks.get(&index) {
            return Ok(block.clone());
        }
        let mut block = Box::new([0; BLOCK]);
        let start = index * BLOCK as u64;
        let there = written.from_file.saturating_sub(start).min(BLOCK as u64) as usize;
        if let Some(shown) = block.get_mut(..there) {
            self.file.read_exact_at(shown, start)?;
        }
        Ok(block)
    }
}

/// Cuts a range of bytes into pieces of one block each: the block's number, the piece's place in it, and in the range.
fn pieces(offset: u64, len: usize) -> impl Iterator<Item = (u64, std::ops::Range<usize>, std::ops::Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let at = offset + done as u64;
        let start = (at % BLOCK as u64) as usize;
        let size = (len - done).min(BLOCK - start);
        let piece = (size > 0).then(|| (at / BLOCK as u64, start..start + size, done..done + size));
        done += size;
        piece
    })
}

fn outside() -> io::Error {
    io::Error::from(io::ErrorKind::UnexpectedEof)
}

fn fits(offset: u64, len: usize, end: u64) -> bool {
    offset.checked_add(len as u64).is_some_and(|range_end| range_end <= end)
}

impl StorageBackend for Overlay {
    fn len(&self) -> io::Result<u64> {
        Ok(self.lock().len)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let written = self.lock();
        if !fits(offset, out.len(), written.len) {
            return Err(outside());
        }
        for (index, in_block, in_range) in pieces(offset, out.len()) {
            let block = self.read_block(&written, index)?;
            let (Some(from), Some(to)) = (block.get(in_block), out.get_mut(in_range)) else { return Err(outside()) };
            to.copy_from_slice(from);
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut written = self.lock();
        if len < written.len {
            // Beyond the new end nothing shows through any more, should it grow again.
            written.from_file = written.from_file.min(len);
            let last = len / BLOCK as u64;
            let mut cut = self.read_block(&written, last)?;
            if let Some(beyond) = cut.get_mut((len % BLOCK as u64) as usize..) {
                beyond.fill(0);
            }
            written.blocks.split_off(&last);
            written.blocks.insert(last, cut);
        }
        written.len = len;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut written = self.lock();
        if !fits(offset, data.len(), written.len) {
            return Err(outside());
        }
        for (index, in_block, in_range) in pieces(offset, data.len()) {
            let mut block = self.read_block(&written, index)?;
            let (Some(to), Some(from)) = (block.get_mut(in_block), data.get(in_range)) else { return Err(outside()) };
            to.copy_from_slice(from);
            written.blocks.insert(index, block);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        Write(u64, Vec<u8>),
        SetLen(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0..20_000_u64, prop::collection::vec(any::<u8>(), 0..6000)).prop_map(|(at, data)| Step::Write(at, data)),
            (0..20_000_u64).prop_map(Step::SetLen),
        ]
    }

    proptest! {
        #[test]
        fn an_overlay_reads_as_the_changed_file_would_and_leaves_the_file(
            before in prop::collection::vec(any::<u8>(), 0..12_000),
            steps in prop::collection::vec(step(), 0..12),
        ) {
            let file = tempfile::tempfile().unwrap();
            file.write_all_at(&before, 0).unwrap();
            let overlay = Overlay::new(file.try_clone().unwrap()).unwrap();
            let mut model = before.clone();
            for step in steps {
                match step {
                    Step::SetLen(len) => {
                        model.resize(len as usize, 0);
                        overlay.set_len(len).unwrap();
                    }
                    Step::Write(at, data) => {
                        let end = at as usize + data.len();
                        prop_assert_eq!(overlay.write(at, &data).is_ok(), end <= model.len());
                        if end <= model.len() {
                            model[at as usize..end].copy_from_slice(&data);
                        }
                    }
                }
                let mut seen = vec![0; model.len()];
                prop_assert_eq!(overlay.len().unwrap(), model.len() as u64);
                overlay.read(0, &mut seen).unwrap();
                prop_assert_eq!(&seen, &model);
            }
            prop_assert!(overlay.read(model.len() as u64, &mut [0]).is_err());
            let mut after = vec![0; before.len()];
            file.read_exact_at(&mut after, 0).unwrap();
            prop_assert_eq!(after, before);
        }
    }
}
