//! Where the project's own folders are, and how its cargo is called.
//!
//! Everything a chore makes goes below cargo's target folder, so `cargo clean` removes it. The folder is asked of the
//! environment, since CI and developers move it with `CARGO_TARGET_DIR`.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

/// The folder that holds the workspace's Cargo.toml.
pub(crate) fn root() -> &'static Path {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own)
}

/// Cargo's target folder, absolute.
pub(crate) fn target() -> PathBuf {
    root().join(env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from))
}

/// Cargo in the workspace's root, the same one that runs this chore.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(root());
    command
}
