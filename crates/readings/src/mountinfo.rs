//! `/proc/self/mountinfo`: what is mounted where.

use crate::parse::{self, ParseError};

/// One mount, with the kernel's octal escapes undone.
///
/// Source: Documentation/filesystems/proc.rst (section 3.5), Linux 6.18.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Its number, unique among the mounts that are there.
    pub id: u64,
    /// The number of the mount that holds its mount point. That one may lie outside of what the reader can see.
    pub parent: u64,
    /// The directory of the file system that is mounted; for a cgroup mount a cgroup, as the reader's namespace sees it.
    pub root: Vec<u8>,
    /// Where it is mounted, as the reader's root directory sees it.
    pub mount_point: Vec<u8>,
    /// The file system: `cgroup`, `cgroup2`, `tmpfs`, …
    pub file_system: Vec<u8>,
    /// Options of the file system as a whole; for v1 they name its controllers.
    pub super_options: Vec<u8>,
}

impl Mount {
    /// Parses all mounts. A line that can't be read doesn't hide the others: it is an error in its place.
    pub fn parse_all(text: &[u8]) -> impl Iterator<Item = Result<Mount, ParseError>> {
        text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()).map(Mount::parse)
    }

    /// Parses one line: `36 35 98:0 ROOT MOUNT_POINT OPTIONS [OPTIONAL…] - TYPE SOURCE SUPER_OPTIONS`.
    pub fn parse(line: &[u8]) -> Result<Mount, ParseError> {
        Self::parse_line(line).ok_or_else(|| ParseError::new("a line of mountinfo", line))
    }

    fn parse_line(line: &[u8]) -> Option<Mount> {
        let mut words = line.split(|&byte| byte == b' ');
        let id = parse::decimal(words.next()?)?;
        let parent = parse::decimal(words.next()?)?;
        let _device = words.next()?;
        let root = unescape_octal(words.next()?);
        let mount_point = unescape_octal(words.next()?);
        // The mount's options, then any number of optional fields up to a lone hyphen.
        let _options = words.next()?;
        words.by_ref().find(|word| *word == b"-")?;
        let file_system = unescape_octal(words.next()?);
        // The source may be empty, which leaves two spaces; the options come last.
        let _source = words.next()?;
        let super_options = words.next()?.to_vec();
        Some(Mount { id, parent, root, mount_point, file_system, super_options })
    }

    /// Whether this is a v1 hierarchy with the memory controller, alone or joined with others.
    pub fn is_v1_memory(&self) -> bool {
        self.file_system == b"cgroup"
            && self.super_options.split(|&byte| byte == b',').any(|option| option == b"memory")
    }

    /// Whether this is the unified hierarchy.
    pub fn is_v2(&self) -> bool {
        self.file_system == b"cgroup2"
    }

    /// Whether its mount point leads to it, and not to a mount that was put over it, or over a directory above it.
    ///
    /// Mountinfo lists covered mounts as any others. `all` are the mounts that it lists; their order tells nothing, since
    /// a mount can be made long before it is put in its place.
    pub fn is_reachable(&self, all: &[Mount]) -> bool {
        let mut below = self;
        // Each turn goes to a mount further up; a listing in circles is no kernel's.
        for _ in 0..=all.len() {
            if all.iter().any(|other| other.covers(below)) {
                return false;
            }
            match all.iter().find(|mount| mount.id == below.parent && mount.id != below.id) {
                Some(holder) => below = holder,
                None => break,
            }
        }
        // Its own root is the last directory on the way.
        !all.iter().any(|other| other.parent == self.id && other.id != self.id && other.mount_point == self.mount_point)
    }

    /// Whether this stands in the way from the mount that holds `below` to `below`.
    fn covers(&self, below: &Mount) -> bool {
        // The first mount of all holds itself.
        let is_sibling = self.parent == below.parent && self.id != below.id && self.id != below.parent;
        is_sibling && is_above(&self.mount_point, &below.mount_point)
    }
}

/// Whether a directory lies above another one.
fn is_above(directory: &[u8], other: &[u8]) -> bool {
    let directory = directory.strip_suffix(b"/").unwrap_or(directory);
    other.strip_prefix(directory).is_some_and(|rest| rest.len() > 1 && rest.starts_with(b"/"))
}

/// Undoes `\040` and the like, which the kernel writes for space, tab, newline, backslash and `#` (`mangle_path`).
fn unescape_octal(word: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(word.len());
    let mut rest = word;
    while let Some((&first, after)) = rest.split_first() {
        match octal_escape(rest) {
            Some((byte, after)) => {
                plain.push(byte);
                rest = after;
            }
            None => {
                plain.push(first);
                rest = after;
            }
        }
    }
    plain
}

fn octal_escape(text: &[u8]) -> Option<(u8, &[u8])> {
    let (&[b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7'], rest) = text.split_first_chunk::<4>()? else {
        return None;
    };
    Some((((a - b'0') << 6) | ((b - b'0') << 3) | (c - b'0'), rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn optional_fields_may_be_absent_or_many() {
        for optional in ["", "shared:12 ", "shared:12 master:3 propagate_from:2 unbindable "] {
            let line = format!("31 23 0:28 / /sys/fs/cgroup rw,relatime {optional}- cgroup2 cgroup2 rw,nsdelegate");
            let mount = Mount::parse(line.as_bytes()).unwrap();
            assert!(mount.is_v2(), "{line}");
            assert_eq!(mount.mount_point, b"/sys/fs/cgroup");
            assert_eq!(mount.super_options, b"rw,nsdelegate");
        }
    }

    #[test]
    fn octal_escapes_are_undone() {
        let mount = Mount::parse(b"1 2 0:3 /a\\040b\\134 /m\\011n\\9 rw - cgroup none rw,cpu,memory").unwrap();
        assert_eq!(mount.root, b"/a b\\");
        assert_eq!(mount.mount_point, b"/m\tn\\9");
        assert!(mount.is_v1_memory());
    }

    #[test]
    fn an_empty_source_keeps_the_options_in_place() {
        let mount = Mount::parse(b"1 2 0:3 / /m rw - cgroup  rw,memory").unwrap();
        assert!(mount.is_v1_memory());
    }

    #[test]
    fn a_controller_is_a_whole_word() {
        assert!(!Mount::parse(b"1 2 0:3 / /m rw - cgroup x rw,name=memory").unwrap().is_v1_memory());
        assert!(!Mount::parse(b"1 2 0:3 / /m rw - tmpfs x rw,memory").unwrap().is_v1_memory());
    }

    #[test]
    fn a_bad_line_does_not_hide_the_others() {
        let mounts: Vec<_> =
            Mount::parse_all(b"garbage\n\n1 2 0:3 / /m rw - cgroup2 x rw\n1 2 0:3 / /m rw - cgroup2").collect();
        assert_eq!(mounts.iter().map(Result::is_ok).collect::<Vec<_>>(), [false, true, false]);
    }

    /// The numbers of the mounts that can be reached.
    fn reachable(text: &str) -> Vec<u64> {
        let mounts: Vec<Mount> = Mount::parse_all(text.as_bytes()).map(Result::unwrap).collect();
        mounts.iter().filter(|mount| mount.is_reachable(&mounts)).map(|mount| mount.id).collect()
    }

    #[test]
    fn a_mount_on_another_s_root_or_above_its_mount_point_covers_it() {
        // A part of the hierarchy bound over the whole (Linux 6.18, `mount --bind`).
        let bound =
            "51 47 0:32 / /cg/memory rw - cgroup c rw,memory\n63 51 0:32 /a /cg/memory rw - cgroup c rw,memory\n";
        assert_eq!(reachable(bound), [63]);
        // A tmpfs put over /cg: 64 lies on 47, and 51, which 47 holds, is gone from sight. The next is mounted on top.
        let above = "47 46 0:28 / /cg rw - tmpfs t rw\n51 47 0:32 / /cg/memory rw - cgroup c rw,memory\n\
                     64 47 0:39 / /cg rw - tmpfs t rw\n65 64 0:32 / /cg/memory rw - cgroup c rw,memory\n";
        assert_eq!(reachable(above), [64, 65]);
        // Further up: a sysfs over /sys hides what lay two mounts below.
        let far = "20 1 0:9 / / rw - ext4 e rw\n22 20 0:2 / /sys rw - sysfs s rw\n23 22 0:3 / /sys/fs rw - tmpfs t rw\n\
                   24 23 0:4 / /sys/fs/cgroup rw - cgroup2 c rw\n25 22 0:5 / /sys rw - sysfs s rw\n";
        assert_eq!(reachable(far), [20, 25]);
    }

    #[test]
    fn neighbours_and_mounts_below_cover_nothing() {
        let apart = "1 1 0:1 / / rw - rootfs r rw\n20 1 0:9 / / rw - ext4 e rw\n30 20 0:2 / /a rw - tmpfs t rw\n\
                     31 20 0:3 / /ab rw - tmpfs t rw\n32 31 0:4 / /ab/c rw - cgroup2 c rw\n";
        assert_eq!(reachable(apart), [20, 30, 31, 32]);
        // An initramfs that stays the root holds itself (the virtual machine, Linux 6.12).
        let initramfs = "1 1 0:2 / / rw - rootfs none rw\n24 1 0:22 / /sys rw - sysfs sysfs rw\n\
                         26 24 0:23 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        assert_eq!(reachable(initramfs), [1, 24, 26]);
        assert_eq!(reachable("1 2 0:3 / /m rw - cgroup2 c rw\n2 1 0:3 / /m/n rw - cgroup2 c rw\n"), [1, 2], "a circle");
    }

    proptest! {
        #[test]
        fn escaping_is_undone_for_any_path(path in "[ -~\\t]{1,40}") {
            let escaped: String = path.chars().map(|c| match c {
                ' ' | '\t' | '\\' | '#' => format!("\\{:03o}", u32::from(c)),
                _ => c.to_string(),
            }).collect();
            prop_assert_eq!(unescape_octal(escaped.as_bytes()), path.as_bytes());
        }
    }
}
