//! Ageing the multi-generational LRU of one cgroup, through debugfs.
//!
//! Pages of the two youngest generations count as active, all others as inactive (`lru_gen_is_active`,
//! include/linux/mm_inline.h). One new generation so makes inactive what was not used since the last but one. Source:
//! Documentation/admin-guide/mm/multigen_lru.rst, Linux 6.12.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use reprieve_readings::{CacheMeans, CgroupPath, Escaped};

use super::CacheError;
use crate::roots::Roots;

/// The largest text that is read: a few hundred bytes for each cgroup.
const LARGEST: u64 = 64 * 1024 * 1024;

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

    /// Begins a new generation on each node of the machine.
    pub(super) fn age(&self, path: &CgroupPath) -> Result<(), CacheError> {
        let absent = |what: String| CacheError::Absent(CacheMeans::Age, what);
        let failed = |error: io::Error| absent(format!("{}: {error}", self.commands.display()));
        let text = read(&self.commands).map_err(failed)?;
        let commands = commands(&text, path).ok_or_else(|| absent(format!("no generations of {path}")))?;
        commands.iter().try_for_each(|command| fs::write(&self.commands, command)).map_err(failed)
    }
}

fn read(file: &Path) -> io::Result<String> {
    use std::io::Read;
    let mut text = Vec::new();
    fs::File::open(file)?.take(LARGEST).read_to_end(&mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// What to write for `path`: `+ MEMCG NODE NEWEST CAN_SWAP FORCE` for each node. Lines of the file are
/// `memcg ID PATH`, ` node ID`, and ` GENERATION AGE ANON FILE`, oldest first.
fn commands(text: &str, path: &CgroupPath) -> Option<Vec<String>> {
    let wanted = Escaped(path.as_bytes()).to_string();
    let mut found = false;
    let mut memcg = "";
    let mut node = None;
    let mut newest: Vec<(&str, u64)> = Vec::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("memcg") => {
                if found {
                    break;
                }
                memcg = words.next()?;
                // A path with blanks is the rest of the line.
                found = line.split_once(memcg).is_some_and(|(_, rest)| rest.trim() == wanted);
            }
            Some("node") if found => node = words.next(),
            Some(generation) if found => {
                let generation: u64 = generation.parse().ok()?;
                let node = node?;
                match newest.last_mut().filter(|(known, _)| *known == node) {
                    Some((_, known)) => *known = generation.max(*known),
                    None => newest.push((node, generation)),
                }
            }
            _ => {}
        }
    }
    (!newest.is_empty())
        .then(|| newest.iter().map(|(node, generation)| format!("+ {memcg} {node} {generation} 0 1\n")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "memcg     1 /\n node     0\n          0       1000          5        10 \n\
                        memcg    31 /kubepods/a b\n node     0\n          7       9000          5        10 \n\
                                  8         90          1        20 \n node     1\n          3         90          1        20 \n\
                        memcg    32 /kubepods/a\n node     0\n          1         90          1        20 \n";

    #[test]
    fn each_node_of_the_right_cgroup_gets_a_new_generation() {
        let commands = |path: &str| commands(TEXT, &CgroupPath::new(path.as_bytes()));
        assert_eq!(commands("/kubepods/a b"), Some(vec!["+ 31 0 8 0 1\n".to_owned(), "+ 31 1 3 0 1\n".to_owned()]));
        assert_eq!(commands("/kubepods/a"), Some(vec!["+ 32 0 1 0 1\n".to_owned()]));
        assert_eq!(commands("/kubepods"), None);
        assert_eq!(super::commands("memcg\n", &CgroupPath::root()), None);
    }
}
