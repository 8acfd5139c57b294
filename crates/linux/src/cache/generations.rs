//! Ageing the multi-generational LRU of one cgroup, through debugfs.
//!
//! Pages of the two youngest generations count as active, all others as inactive (`lru_gen_is_active`,
//! include/linux/mm_inline.h). Two new generations so make inactive what is not used between them: with the second, what
//! was used since the first is kept. Source: Documentation/admin-guide/mm/multigen_lru.rst, Linux 6.12.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use reprieve_readings::{CacheMeans, CgroupPath, NewestGeneration, parse_newest_generations};

use super::{CacheError, wait};
use crate::roots::Roots;

/// The largest text that is read: a few hundred bytes for each cgroup.
const LARGEST: u64 = 64 * 1024 * 1024;

/// Between the two: what is not used for so long is not in use.
const PAUSE: Duration = Duration::from_millis(250);

/// The files of the multi-generational LRU.
#[derive(Debug)]
pub(super) struct Generations {
    switch: PathBuf,
    commands: PathBuf,
}

impl Generations {
    pub(super) fn new(roots: &Roots) -> Self {
        Generations { switch: roots.sys("kernel/mm/lru_gen/enabled"), commands: roots.sys("kernel/debug/lru_gen") }
    }

    /// Whether the kernel keeps generations, and debugfs shows them.
    pub(super) fn are_on(&self) -> bool {
        let enabled = fs::read_to_string(&self.switch).unwrap_or_default();
        let bits = enabled.trim().strip_prefix("0x").and_then(|digits| u32::from_str_radix(digits, 16).ok());
        bits.is_some_and(|bits| bits & 1 == 1) && fs::metadata(&self.commands).is_ok()
    }

    /// Begins two new generations on each node of the machine, in a hurry without a pause between them: nothing is freed.
    pub(super) fn age(&self, path: &CgroupPath, in_hurry: bool, called_off: &AtomicBool) -> Result<(), CacheError> {
        let absent = |what: String| CacheError::Absent(CacheMeans::Age, what);
        let failed = |error: io::Error| absent(format!("{}: {error}", self.commands.display()));
        let text = read(&self.commands).map_err(failed)?;
        let newest = parse_newest_generations(&text, path);
        if newest.is_empty() {
            return Err(absent(format!("no generations of {path}")));
        }
        // `+ MEMCG NODE NEWEST CAN_SWAP FORCE`; where the kernel has begun one meanwhile, that does nothing.
        let age = |newest: &NewestGeneration, more: u64| {
            let NewestGeneration { memcg, node, generation } = newest;
            fs::write(&self.commands, format!("+ {memcg} {node} {} 0 1\n", generation.saturating_add(more)))
        };
        newest.iter().try_for_each(|newest| age(newest, 0)).map_err(failed)?;
        if !in_hurry {
            wait(PAUSE, called_off);
        }
        newest.iter().try_for_each(|newest| age(newest, 1)).map_err(failed)
    }
}

fn read(file: &Path) -> io::Result<Vec<u8>> {
    use std::io::Read;
    let mut text = Vec::new();
    fs::File::open(file)?.take(LARGEST).read_to_end(&mut text)?;
    Ok(text)
}
