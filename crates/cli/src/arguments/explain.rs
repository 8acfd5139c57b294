//! The flags of `reprieve explain`.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use clap::Args;

pub(super) const EXAMPLES: &str = "\
Examples:
  reprieve explain --kernel                    # this machine's kernel log
  reprieve explain /var/log/kern.log /var/log/kern.log.2.gz
  journalctl -k -o export | reprieve explain --json | jq .kind
  reprieve explain --kernel --follow --since 1h
  kubectl debug node/NODE ... -- dmesg -T | reprieve explain --markdown

Reads any form of log: dmesg, syslog, the journal (text, json, export), a serial
console, container logs, cut or wrapped ones; also .gz, .zst and .xz.
Exit codes: 0 reports found; 1 none found; 2 wrong arguments, or something could
not be read (one line on stderr).";

/// Flags of `reprieve explain`.
#[derive(Debug, Args)]
pub(crate) struct ExplainArguments {
    /// Logs to read; - or none is standard input
    #[arg(value_name = "FILE", conflicts_with = "kernel")]
    pub(crate) files: Vec<PathBuf>,
    /// Read this machine's kernel log (/dev/kmsg)
    #[arg(long)]
    pub(crate) kernel: bool,
    /// Leave out older reports: 90min, 2h, 3days, or a time as 2026-11-24T18:00:00Z
    #[arg(long, value_name = "TIME", value_parser = parse_since)]
    pub(crate) since: Option<Since>,
    /// Go on with what is written from now on
    #[arg(long)]
    pub(crate) follow: bool,
    /// Print a JSON object for each report
    #[arg(long, conflicts_with = "markdown")]
    pub(crate) json: bool,
    /// Print Markdown, for a post-mortem
    #[arg(long)]
    pub(crate) markdown: bool,
}

/// How reports are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ExplainFormat {
    Screen,
    Json,
    Markdown,
}

/// From when on reports are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Since {
    Ago(Duration),
    At(SystemTime),
}

impl ExplainArguments {
    pub(crate) fn format(&self) -> ExplainFormat {
        match (self.json, self.markdown) {
            (true, _) => ExplainFormat::Json,
            (_, true) => ExplainFormat::Markdown,
            _ => ExplainFormat::Screen,
        }
    }
}

impl Since {
    /// The moment, as time since 1970.
    pub(crate) fn since_epoch(self, now: SystemTime) -> Duration {
        let at = match self {
            Since::Ago(ago) => now.checked_sub(ago).unwrap_or(SystemTime::UNIX_EPOCH),
            Since::At(at) => at,
        };
        at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
    }
}

pub(super) fn parse_since(text: &str) -> Result<Since, String> {
    let ago = humantime::parse_duration(text).map(Since::Ago);
    ago.or_else(|_| humantime::parse_rfc3339_weak(text).map(Since::At))
        .map_err(|_| "give a time ago such as 90min or 2h, or a time as 2026-11-24T18:00:00Z".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_told_either_way() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(10_000);
        assert_eq!(parse_since("2h").unwrap().since_epoch(now), Duration::from_secs(2800));
        assert_eq!(parse_since("1970-01-01T00:00:07Z").unwrap().since_epoch(now), Duration::from_secs(7));
        assert_eq!(parse_since("9days").unwrap().since_epoch(now), Duration::ZERO);
        assert!(parse_since("yesterday").is_err());
    }
}
