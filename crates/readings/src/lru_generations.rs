//! The generations of the multi-generational LRU, and where the machine's memory lies: two files of the kernel that only
//! root can read.

use crate::cgroup_path::CgroupPath;
use crate::escape::Escaped;

/// The newest generation of a cgroup on one node of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewestGeneration {
    /// The number by which the file calls the cgroup.
    pub memcg: u64,
    /// The node.
    pub node: u64,
    /// The newest generation there.
    pub generation: u64,
}

/// Finds a cgroup in `lru_gen` of debugfs: lines of `memcg ID PATH`, ` node ID`, and ` GENERATION AGE ANON FILE`, oldest
/// first (Documentation/admin-guide/mm/multigen_lru.rst, Linux 6.12). Empty where it is not in there, or makes no sense.
pub fn parse_newest_generations(text: &[u8], path: &CgroupPath) -> Vec<NewestGeneration> {
    let text = String::from_utf8_lossy(text);
    // The kernel escapes such paths as it does in mountinfo; those are then not found, and left alone.
    let wanted = Escaped(path.as_bytes()).to_string();
    let mut newest: Vec<NewestGeneration> = Vec::new();
    let mut memcg = None;
    let mut node = None;
    for line in text.lines() {
        let (first, rest) = line.trim_start().split_once(char::is_whitespace).unwrap_or((line.trim(), ""));
        match first {
            "memcg" => {
                if !newest.is_empty() {
                    break;
                }
                let named = rest.trim_start().split_once(' ').filter(|(_, path)| path.trim() == wanted);
                (memcg, node) = (named.and_then(|(id, _)| id.parse().ok()), None);
            }
            "node" => node = rest.trim().parse().ok(),
            generation => {
                let Some(((memcg, node), generation)) = memcg.zip(node).zip(generation.parse().ok()) else { continue };
                match newest.last_mut().filter(|known| known.node == node) {
                    Some(known) => known.generation = known.generation.max(generation),
                    None => newest.push(NewestGeneration { memcg, node, generation }),
                }
            }
        }
    }
    newest
}

/// The ranges of `System RAM` at the top level of `/proc/iomem`: the first address of each, and the one after the last.
/// Without privileges all addresses are zero, and there is no range.
pub fn parse_iomem_ram(text: &[u8]) -> Vec<(u64, u64)> {
    let text = String::from_utf8_lossy(text);
    let range = |line: &str| {
        let (range, _) = line.split_once(" : System RAM").filter(|_| !line.starts_with(' '))?;
        let (start, last) = range.split_once('-')?;
        let (start, last) = (u64::from_str_radix(start, 16).ok()?, u64::from_str_radix(last.trim(), 16).ok()?);
        (last > start).then_some((start, last.saturating_add(1)))
    };
    text.lines().filter_map(range).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &[u8] = b"memcg     1 /\n node     0\n          0       1000          5        10 \n\
                          memcg    31 /kubepods/a b\n node     0\n          7       9000          5        10 \n\
                                    8         90          1        20 \n node     1\n          3         90          1        20 \n\
                          memcg    32 /kubepods/a\n node     0\n          1         90          1        20 \n";

    #[test]
    fn each_node_of_the_right_cgroup_is_found() {
        let find = |path: &str| {
            let found = parse_newest_generations(TEXT, &CgroupPath::new(path.as_bytes()));
            found.iter().map(|newest| (newest.memcg, newest.node, newest.generation)).collect::<Vec<_>>()
        };
        assert_eq!(find("/kubepods/a b"), [(31, 0, 8), (31, 1, 3)]);
        assert_eq!(find("/kubepods/a"), [(32, 0, 1)]);
        assert_eq!(find("/"), [(1, 0, 0)]);
        assert_eq!(find("/kubepods"), []);
        assert_eq!(parse_newest_generations(b"memcg\nnode\n5 5\nmemcg x /\n", &CgroupPath::root()), []);
    }

    #[test]
    fn memory_is_found_in_iomem() {
        let iomem = b"00000000-00000fff : Reserved\n00001000-0009fbff : System RAM\n  00002000-00003000 : System RAM\n\
                      00100000-7ffdcfff : System RAM\n  01000000-01e02557 : Kernel code\n";
        assert_eq!(parse_iomem_ram(iomem), [(0x1000, 0x9fc00), (0x10_0000, 0x7ffd_d000)]);
        assert_eq!(parse_iomem_ram(b"00000000-00000000 : System RAM\nnonsense\n-:\n"), []);
    }
}
