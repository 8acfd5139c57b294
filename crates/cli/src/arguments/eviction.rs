//! The flags that tell of the kubelet, of the cache keeper, and those of `reprieve evictions` and `reprieve forecast`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use reprieve_readings::EvictionAmount;

use super::{RootArguments, parse_interval};

pub(super) const EVICTIONS_EXAMPLES: &str = "\
Examples:
  reprieve evictions
  reprieve evictions --kubelet-config /var/lib/kubelet/config.yaml
  reprieve evictions --eviction-hard 'memory.available<500Mi' --window 0s
  kubectl get pods -A -o json --field-selector spec.nodeName=NODE >pods.json
  kubectl get --raw /api/v1/nodes/NODE/proxy/configz >configz.json
  reprieve evictions --pods pods.json --kubelet-config configz.json

Exit codes: 0 done; 2 the cgroups or a given file can't be read (one line on
stderr).";

pub(super) const FORECAST_EXAMPLES: &str = "\
Examples:
  reprieve forecast
  reprieve forecast --window 30s --all
  reprieve forecast --watch --json | jq -c 'select(.forecasts != [])'

It reads for as long as --window says before it tells anything, and needs five
readings at least. What does not run out is left out, unless --all is given.
Exit codes: 0 done; 2 the cgroups or a given file can't be read (one line on
stderr).";

const KUBELET: &str = "Kubelet";

/// Where Kubernetes puts a pod's own token, and the API server's authority.
const TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";
const AUTHORITY: &str = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt";

/// What is known of the kubelet. Flags of the kubelet's own names win over its file and over what it answers.
#[derive(Debug, Clone, Args)]
pub(crate) struct KubeletArguments {
    /// The kubelet's configuration file, or the saved answer of its /configz
    #[arg(long, value_name = "FILE", help_heading = KUBELET)]
    pub(crate) kubelet_config: Option<PathBuf>,
    /// Ask for the configuration here: https://NODE:10250/configz, or an API server's .../nodes/NODE/proxy/configz
    #[arg(long, value_name = "URL", help_heading = KUBELET, conflicts_with = "kubelet_config")]
    pub(crate) kubelet_configz: Option<String>,
    /// The bearer token to ask with
    #[arg(long, value_name = "FILE", default_value = TOKEN, help_heading = KUBELET)]
    pub(crate) kubelet_token: PathBuf,
    /// The certificates of whom to ask, or of their authority
    #[arg(long, value_name = "FILE", default_value = AUTHORITY, help_heading = KUBELET)]
    pub(crate) kubelet_ca: PathBuf,
    /// As the kubelet's flag: memory.available<100Mi
    #[arg(long, value_name = "LIST", help_heading = KUBELET)]
    pub(crate) eviction_hard: Option<String>,
    /// As the kubelet's flag: memory.available<500Mi
    #[arg(long, value_name = "LIST", help_heading = KUBELET)]
    pub(crate) eviction_soft: Option<String>,
    /// As the kubelet's flag: memory.available=1m30s
    #[arg(long, value_name = "LIST", help_heading = KUBELET)]
    pub(crate) eviction_soft_grace_period: Option<String>,
    /// As the kubelet's flag: memory.available=100Mi
    #[arg(long, value_name = "LIST", help_heading = KUBELET)]
    pub(crate) eviction_minimum_reclaim: Option<String>,
    /// How it takes a v2 node's usage; kubelet 1.28 and older: total-minus-free
    #[arg(long, value_name = "HOW", default_value = "anon-and-file", help_heading = KUBELET)]
    pub(crate) node_usage: NodeUsageArgument,
    /// The node's pods, as `kubectl get pods -o json` or the kubelet prints them
    #[arg(long, value_name = "FILE", help_heading = KUBELET)]
    pub(crate) pods: Option<PathBuf>,
}

/// How a kubelet takes the usage of a v2 node.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum NodeUsageArgument {
    AnonAndFile,
    TotalMinusFree,
}

/// Flags of the cache keeper in the agent.
#[derive(Debug, Args)]
pub(crate) struct KeeperArguments {
    /// Keep page cache from counting as used near the kubelet's threshold
    #[arg(long, value_name = "MODE", default_value = "dry-run", help_heading = "Cache keeper")]
    pub(crate) keep_cache: KeepCacheArgument,
    /// Act below this: 1Gi or 10% [default: twice the threshold or 5%]
    #[arg(long, value_name = "AMOUNT", value_parser = parse_amount, help_heading = "Cache keeper")]
    pub(crate) keep_cache_margin: Option<EvictionAmount>,
    /// Let it have anonymous memory swapped out too
    #[arg(long, help_heading = "Cache keeper")]
    pub(crate) keep_cache_anonymous: bool,
}

/// What the cache keeper may do.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum KeepCacheArgument {
    Off,
    DryRun,
    On,
}

/// Flags of `reprieve evictions`.
#[derive(Debug, Args)]
pub(crate) struct EvictionsArguments {
    /// How long to read before telling the time left; 0s tells none
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = parse_window)]
    pub(crate) window: Duration,
    /// Print one JSON object, with amounts in bytes
    #[arg(long)]
    pub(crate) json: bool,
    /// The cache keeper's margin: 1Gi or 10% [default: twice the threshold or 5%]
    #[arg(long, value_name = "AMOUNT", value_parser = parse_amount)]
    pub(crate) keep_cache_margin: Option<EvictionAmount>,
    #[command(flatten)]
    pub(crate) kubelet: KubeletArguments,
    #[command(flatten)]
    pub(crate) roots: RootArguments,
}

/// Flags of `reprieve forecast`.
#[derive(Debug, Args)]
pub(crate) struct ForecastArguments {
    /// How long to read before telling anything
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_window)]
    pub(crate) window: Duration,
    /// Time from one reading to the next
    #[arg(long, value_name = "TIME", default_value = "500ms", value_parser = parse_interval)]
    pub(crate) interval: Duration,
    /// Go on, and print again after each reading
    #[arg(long)]
    pub(crate) watch: bool,
    /// Print a JSON object, with amounts in bytes and times in seconds
    #[arg(long)]
    pub(crate) json: bool,
    /// Show also what does not run out
    #[arg(long)]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) kubelet: KubeletArguments,
    #[command(flatten)]
    pub(crate) roots: RootArguments,
}

fn parse_window(text: &str) -> Result<Duration, String> {
    const LONGEST: Duration = Duration::from_secs(3600);
    let window = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if window <= LONGEST { Ok(window) } else { Err("must not be longer than 1h".into()) }
}

fn parse_amount(text: &str) -> Result<EvictionAmount, String> {
    match EvictionAmount::parse(text.as_bytes()) {
        Ok(Some(amount)) => Ok(amount),
        Ok(None) => Err("0% and 100% are no margins".into()),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_and_windows_have_bounds() {
        assert!(parse_amount("1Gi").is_ok() && parse_amount("10%").is_ok());
        assert!(parse_amount("0%").is_err() && parse_amount("101%").is_err() && parse_amount("-1").is_err());
        assert_eq!(parse_window("0s"), Ok(Duration::ZERO));
        assert!(parse_window("2h").is_err() && parse_window("soon").is_err());
    }
}
