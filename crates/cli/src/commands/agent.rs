//! `reprieve agent`.

use anyhow::Result;
use reprieve_agent::{AgentOptions, EvictionOptions, KeepCache};
use reprieve_judgement::Margin;
use reprieve_linux::Roots;

use crate::arguments::{AgentArguments, KeepCacheArgument, LogFormat};
use crate::commands::kubelet;

pub(crate) fn run(arguments: AgentArguments) -> Result<()> {
    reprieve_agent::run(&AgentOptions {
        interval: arguments.interval,
        listen: arguments.listen,
        log_format: match arguments.log_format {
            LogFormat::Text => reprieve_agent::LogFormat::Text,
            LogFormat::Json => reprieve_agent::LogFormat::Json,
        },
        roots: Roots::from(&arguments.roots),
        open_files: arguments.open_files,
        eviction: EvictionOptions {
            configuration: kubelet::configuration_or_default(&arguments.kubelet),
            node_usage: arguments.kubelet.node_usage.into(),
            pods: arguments.kubelet.pods,
            keep_cache: match arguments.keeper.keep_cache {
                KeepCacheArgument::Off => KeepCache::Off,
                KeepCacheArgument::DryRun => KeepCache::DryRun,
                KeepCacheArgument::On => KeepCache::On,
            },
            margin: arguments.keeper.keep_cache_margin.map_or(Margin::Default, Margin::At),
            with_anonymous: arguments.keeper.keep_cache_anonymous,
        },
    })
}
