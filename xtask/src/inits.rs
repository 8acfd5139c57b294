//! The first processes of containers: our own as released, and the peers as Debian packages them.

use crate::{
    debian::{self, Tool},
    panics, static_build,
};
use anyhow::{Context, Result};
use clap::Args;
use std::path::PathBuf;

const fn tool(package: &'static str, purpose: &'static str) -> Tool {
    Tool { folder: package, package, dependency: None, purpose }
}

const TINI: Tool = tool("tini", "reprieve-init is held against it (it is unpacked, not installed)");
const DUMB_INIT: Tool = tool("dumb-init", "reprieve-init is measured beside it (it is unpacked, not installed)");
const CATATONIT: Tool = tool("catatonit", "reprieve-init is measured beside it (it is unpacked, not installed)");
const EARLYOOM: Tool = tool("earlyoom", "reprieve-init is measured beside it (it is unpacked, not installed)");

/// Builds reprieve-init as it is released, and returns its path.
pub(crate) fn reprieve_init() -> Result<PathBuf> {
    static_build::strip(&static_build::build_small("reprieve-init")?)
}

/// Arguments of `cargo xtask init`.
#[derive(Args)]
pub(crate) struct Options {
    /// Look for code in it that could panic
    #[arg(long)]
    check: bool,
}

/// Builds reprieve-init, and prints where it is.
pub(crate) fn run(options: &Options) -> Result<()> {
    println!("{}", reprieve_init()?.display());
    if options.check { check() } else { Ok(()) }
}

/// Builds reprieve-init, and looks for code in it that could panic.
pub(crate) fn check() -> Result<()> {
    panics::check(&static_build::build_small("reprieve-init")?)
}

/// Fetches tini, and returns its path.
pub(crate) fn tini() -> Result<PathBuf> {
    Ok(debian::unpack(&TINI)?.join("usr/bin/tini"))
}

/// Fetches earlyoom, and returns its path.
pub(crate) fn earlyoom() -> Result<PathBuf> {
    Ok(debian::unpack(&EARLYOOM)?.join("usr/bin/earlyoom"))
}

/// Fetches all inits, and returns their paths.
pub(crate) fn peers() -> Result<Vec<PathBuf>> {
    let dumb_init = debian::unpack(&DUMB_INIT)?.join("usr/bin/dumb-init");
    let catatonit = debian::unpack(&CATATONIT)?.join("usr/bin/catatonit");
    let all = vec![tini()?, dumb_init, catatonit];
    let missing = all.iter().find(|path| !path.is_file());
    missing
        .map_or(Ok(()), |path| Err(anyhow::anyhow!("{} is missing", path.display())))
        .context("an unpacked package")?;
    Ok(all)
}
