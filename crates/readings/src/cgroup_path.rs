//! The path of a cgroup within its hierarchy.

use std::fmt;

use crate::escape::Escaped;

/// The path of a cgroup below the root of its hierarchy, as the kernel writes it: `/`, `/kubepods/burstable/pod…`.
///
/// It is bytes, not text: whoever makes a cgroup chooses its name. `Display` escapes it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CgroupPath(Box<[u8]>);

/// The inode of a cgroup's directory. It tells a cgroup from an earlier or later one of the same path: the kernel gives
/// no inode of a 64-bit cgroupfs twice (`kernfs_id_ino`, include/linux/kernfs.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CgroupInode(pub u64);

impl CgroupPath {
    /// The root of the hierarchy.
    pub fn root() -> Self {
        CgroupPath(Box::from(&b"/"[..]))
    }

    /// A path as the kernel writes it. A missing leading slash is added, trailing and doubled slashes are dropped.
    pub fn new(path: &[u8]) -> Self {
        let mut normal = Vec::with_capacity(path.len() + 1);
        for name in path.split(|&byte| byte == b'/').filter(|name| !name.is_empty()) {
            normal.push(b'/');
            normal.extend_from_slice(name);
        }
        if normal.is_empty() { CgroupPath::root() } else { CgroupPath(normal.into()) }
    }

    /// The path of the cgroup called `name` inside this one.
    pub fn child(&self, name: &[u8]) -> Self {
        let parent: &[u8] = if self.is_root() { b"" } else { &self.0 };
        CgroupPath([parent, b"/", name].concat().into())
    }

    /// The cgroup that holds this one; the root has none.
    pub fn parent(&self) -> Option<Self> {
        let slash = self.0.iter().rposition(|&byte| byte == b'/').filter(|_| !self.is_root())?;
        self.0.get(..slash).map(CgroupPath::new)
    }

    /// Whether this is the root of the hierarchy.
    pub fn is_root(&self) -> bool {
        *self.0 == *b"/"
    }

    /// The path's bytes, unescaped.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The names along the path, from the root down. The root has none.
    pub fn names(&self) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.0.split(|&byte| byte == b'/').filter(|name| !name.is_empty())
    }

    /// What is left of this path below `ancestor`: empty for `ancestor` itself, `None` where it lies elsewhere.
    pub fn below(&self, ancestor: &CgroupPath) -> Option<&[u8]> {
        if ancestor.is_root() {
            return self.0.strip_prefix(b"/");
        }
        match self.0.strip_prefix(&*ancestor.0)? {
            [] => Some(&[]),
            [b'/', rest @ ..] => Some(rest),
            _ => None,
        }
    }

    /// Whether the path climbs out of the reader's cgroup namespace (`/../..`). The kernel writes such paths for
    /// cgroups that lie outside the namespace (`cgroup_path_ns`, kernel/cgroup/cgroup.c).
    pub fn leaves_namespace(&self) -> bool {
        self.names().any(|name| name == b"..")
    }

    /// How many levels the path goes up before it names anything: 2 for `/../../x`.
    pub fn levels_up(&self) -> usize {
        self.names().take_while(|name| *name == b"..").count()
    }
}

impl fmt::Display for CgroupPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Escaped(&self.0).fmt(f)
    }
}

impl fmt::Debug for CgroupPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> CgroupPath {
        CgroupPath::new(text.as_bytes())
    }

    #[test]
    fn paths_are_normalised() {
        assert_eq!(path(""), CgroupPath::root());
        assert_eq!(path("//a///b/"), path("/a/b"));
        assert_eq!(path("/a").child(b"b"), path("/a/b"));
        assert_eq!(CgroupPath::root().child(b"a"), path("/a"));
        assert_eq!(path("/a/b").parent(), Some(path("/a")));
        assert_eq!(path("/a").parent(), Some(CgroupPath::root()));
        assert_eq!(CgroupPath::root().parent(), None);
    }

    #[test]
    fn below_goes_by_names_not_by_letters() {
        assert_eq!(path("/a/b/c").below(&path("/a")), Some(&b"b/c"[..]));
        assert_eq!(path("/a").below(&path("/a")), Some(&b""[..]));
        assert_eq!(path("/ab").below(&path("/a")), None);
        assert_eq!(path("/a").below(&CgroupPath::root()), Some(&b"a"[..]));
        assert_eq!(CgroupPath::root().below(&CgroupPath::root()), Some(&b""[..]));
    }

    #[test]
    fn escaped_namespaces_are_told_from_odd_names() {
        assert!(path("/../../x").leaves_namespace());
        assert!(!path("/..x/...").leaves_namespace());
        assert_eq!([path("/../../x").levels_up(), path("/..").levels_up(), path("/..x").levels_up()], [2, 1, 0]);
    }
}
