//! Which cgroup hierarchy has the memory controller here, and what its files are called.
//!
//! Only the two usual places are known. The program itself finds any mount; a capture is made on a machine that
//! somebody chose, and its fixture should look like the common case.

use anyhow::{Result, bail};
use std::{fs, path::PathBuf};

/// The memory hierarchy of this machine.
pub(crate) struct Hierarchy {
    /// Where it is mounted.
    pub(crate) mount: PathBuf,
    /// 1 or 2.
    pub(crate) version: u8,
}

impl Hierarchy {
    /// Looks at the usual places.
    pub(crate) fn find() -> Result<Self> {
        let v1 = PathBuf::from("/sys/fs/cgroup/memory");
        if v1.join("memory.limit_in_bytes").exists() {
            return Ok(Self { mount: v1, version: 1 });
        }
        let v2 = PathBuf::from("/sys/fs/cgroup");
        let controllers = fs::read_to_string(v2.join("cgroup.controllers")).unwrap_or_default();
        if controllers.split_whitespace().any(|controller| controller == "memory") {
            return Ok(Self { mount: v2, version: 2 });
        }
        bail!("no memory controller at {} (v1) or {} (v2); mount one there and try again", v1.display(), v2.display())
    }
}
