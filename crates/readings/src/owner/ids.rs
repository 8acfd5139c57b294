//! The ids that owners go by. Each can only be made from bytes of its exact form, so that a name which merely looks
//! like one stays what it is: a name.

use std::fmt;

use crate::escape::Escaped;

/// The id of a container: 64 lower-case hexadecimal digits, as every OCI runtime manager makes them.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerId(Box<str>);

impl ContainerId {
    const DIGITS: usize = 64;

    pub(super) fn parse(id: &[u8]) -> Option<Self> {
        if id.len() != Self::DIGITS || !id.iter().all(is_hex) {
            return None;
        }
        std::str::from_utf8(id).ok().map(|id| ContainerId(id.into()))
    }

    /// The 64 digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The uid of a pod as Kubernetes writes it, `5bdc3be0-7759-43c7-9f22-d581fc6b5750`. A static pod's cgroup is named by
/// the hash of its manifest instead, 32 digits without dashes (the mirror pod's annotation
/// `kubernetes.io/config.hash`).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodUid(Box<str>);

impl PodUid {
    const HASH_DIGITS: usize = 32;
    const UUID_LENGTH: usize = 36;

    /// `dash` is what stands for the dashes: systemd's names use `_`, as its own dashes make levels.
    pub(super) fn parse(uid: &[u8], dash: u8) -> Option<Self> {
        let is_dash_place = |at: usize| uid.len() == Self::UUID_LENGTH && matches!(at, 8 | 13 | 18 | 23);
        if uid.len() != Self::HASH_DIGITS && uid.len() != Self::UUID_LENGTH {
            return None;
        }
        let normal = uid.iter().enumerate().map(|(at, byte)| match is_dash_place(at) {
            true => (*byte == dash).then_some('-'),
            false => is_hex(byte).then_some(char::from(*byte)),
        });
        normal.collect::<Option<String>>().map(|uid| PodUid(uid.into()))
    }

    /// The uid, with dashes unless it is a static pod's.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The name of a systemd unit, `sshd.service`. Bytes, as anybody with a delegated cgroup can choose one.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnitName(Box<[u8]>);

impl UnitName {
    /// systemd puts `_` in front of a unit's name that would clash with a file of the kernel, such as `cgroup.service`,
    /// or that begins with `_` or a dot (`cg_escape`, src/basic/cgroup-util.c).
    pub(super) fn from_cgroup(name: &[u8]) -> Self {
        UnitName(name.strip_prefix(b"_").unwrap_or(name).into())
    }

    /// The name's bytes, unescaped.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

fn is_hex(byte: &u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Display for PodUid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Display for UnitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Escaped(&self.0).fmt(f)
    }
}

impl fmt::Debug for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

impl fmt::Debug for PodUid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

impl fmt::Debug for UnitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}
