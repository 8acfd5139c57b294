//! The flags that say where kills are kept, how long and how many.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use reprieve_readings::{Bytes, parse_quantity};
use reprieve_store::default_directory;

/// Where the state is kept.
#[derive(Debug, Args)]
pub(crate) struct StateArguments {
    /// Directory of the agent's state [default: /var/lib/reprieve; not as root: $XDG_STATE_HOME/reprieve or
    /// ~/.local/state/reprieve]
    #[arg(long, value_name = "DIR")]
    pub(crate) state_dir: Option<PathBuf>,
}

impl StateArguments {
    /// Whether it is the default of a user who is not root, and whose agent that of the machine is not.
    pub(crate) fn is_own_default(&self) -> bool {
        self.state_dir.is_none() && !rustix::process::geteuid().is_root()
    }

    /// The directory; `None` where nothing says where one could be.
    pub(crate) fn directory(&self) -> Option<PathBuf> {
        let root = rustix::process::geteuid().is_root();
        let variable = std::env::var_os;
        self.state_dir.clone().or_else(|| default_directory(root, variable("XDG_STATE_HOME"), variable("HOME")))
    }
}

pub(super) fn parse_keep(text: &str) -> Result<Duration, String> {
    const SHORTEST: Duration = Duration::from_secs(60);
    let keep = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if keep >= SHORTEST { Ok(keep) } else { Err("must be at least 1min".into()) }
}

pub(super) fn parse_keep_size(text: &str) -> Result<Bytes, String> {
    const LEAST: Bytes = Bytes::from_kib(64);
    let size = parse_quantity(text.as_bytes()).map_err(|error| error.to_string())?;
    if size >= LEAST { Ok(size) } else { Err("must be at least 64Ki".into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_has_bounds() {
        assert_eq!(parse_keep("90days"), Ok(Duration::from_secs(90 * 24 * 3600)));
        assert!(parse_keep("1s").is_err());
        assert!(parse_keep("for ever").is_err());
        assert_eq!(parse_keep_size("64Mi"), Ok(Bytes::from_mib(64)));
        assert!(parse_keep_size("1Ki").is_err());
        assert!(parse_keep_size("much").is_err());
    }
}
