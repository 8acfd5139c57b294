//! The flags of `reprieve kills`.

use clap::Args;

use super::StateArguments;
use super::explain::{Since, parse_since};

pub(super) const EXAMPLES: &str = "\
Examples:
  reprieve kills
  reprieve kills --since 24h --invisible
  reprieve kills 17                            # all that is known of one
  reprieve kills --pod 3f1c --follow
  reprieve kills --json | jq 'select(.kind == \"node\")'

Asks the running agent, or reads what the last one stored. docs/kills.md tells of
the columns and of the JSON.
Exit codes: 0 kills were shown; 1 there are none; 2 wrong arguments, or they could
not be read (one line on stderr).";

/// Flags of `reprieve kills`.
#[derive(Debug, Args)]
pub(crate) struct KillsArguments {
    /// Show all that is known of the kill with this number
    #[arg(value_name = "ID", conflicts_with_all = ["since", "pod", "container", "invisible", "follow", "wide"])]
    pub(crate) id: Option<u64>,
    /// Leave out older kills: 90min, 2h, 3days, or a time as 2026-11-24T18:00:00Z
    #[arg(long, value_name = "TIME", value_parser = parse_since)]
    pub(crate) since: Option<Since>,
    /// Only kills in pods whose uid begins so
    #[arg(long, value_name = "UID")]
    pub(crate) pod: Option<String>,
    /// Only kills in containers whose id begins so
    #[arg(long, value_name = "ID")]
    pub(crate) container: Option<String>,
    /// Only kills that Kubernetes can't see
    #[arg(long)]
    pub(crate) invisible: bool,
    /// Go on with kills as the agent tells them
    #[arg(long)]
    pub(crate) follow: bool,
    /// Cut nothing, and show the pod and the whole cgroup; columns are parted by tabs
    #[arg(long, conflicts_with = "json")]
    pub(crate) wide: bool,
    /// Print a JSON object for each kill
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) state: StateArguments,
}
