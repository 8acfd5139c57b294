//! The kernels that the tests run on, and how Debian names them.
//!
//! The oldest and the newest that Debian 12 carries: between them memory.reclaim learned swappiness, memory.peak can
//! be reset, and the v1 controller became optional. The `cloud` builds have the NVMe disk, ext4 and serial ports built
//! in, so no module has to be loaded.

use crate::debian::{self, Tool};
use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use std::{fmt, fs, path::PathBuf};

/// A kernel that the virtual machine can boot.
#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
pub(crate) enum Kernel {
    /// Debian 12's own.
    #[value(name = "6.1")]
    V6_1,
    /// Debian 12's newer one.
    #[value(name = "6.12")]
    V6_12,
}

impl Kernel {
    /// Every kernel, oldest first.
    pub(crate) const ALL: [Self; 2] = [Self::V6_1, Self::V6_12];

    fn tool(self) -> Tool {
        let purpose = "the kernel of the virtual machine";
        match self {
            Self::V6_1 => Tool {
                folder: "kernel-6.1",
                package: "linux-image-cloud-amd64",
                dependency: Some("linux-image-6.1."),
                purpose,
            },
            Self::V6_12 => Tool {
                folder: "kernel-6.12",
                package: "linux-image-6.12-cloud-amd64",
                dependency: Some("linux-image-6.12."),
                purpose,
            },
        }
    }

    /// Fetches the kernel if it is not there yet, and returns its image.
    pub(crate) fn image(self) -> Result<PathBuf> {
        let boot = debian::unpack(&self.tool())?.join("boot");
        for entry in fs::read_dir(&boot).with_context(|| format!("{} could not be listed", boot.display()))? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with("vmlinuz-") {
                return Ok(entry.path());
            }
        }
        bail!("{} holds no vmlinuz-*; remove {} to fetch it again", boot.display(), self.tool().folder)
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::V6_1 => "6.1",
            Self::V6_12 => "6.12",
        })
    }
}
