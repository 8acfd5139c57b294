//! `reprieve agent`.

use anyhow::Result;
use reprieve_agent::{AgentOptions, EvictionOptions, KeepCache, Retention};
use reprieve_judgement::Margin;
use reprieve_linux::Roots;

use crate::arguments::{AgentArguments, CommandLines, KeepCacheArgument, LogFormat};
use crate::commands::{force_empty_writer, kubelet};

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
        trace: !arguments.no_trace,
        command_lines: match arguments.command_lines {
            CommandLines::Full => reprieve_agent::CommandLines::Full,
            CommandLines::Program => reprieve_agent::CommandLines::Program,
            CommandLines::Off => reprieve_agent::CommandLines::Off,
        },
        state_directory: arguments.state.directory(),
        retention: Retention { age: arguments.keep_kills, size: arguments.keep_kills_size },
        eviction: EvictionOptions {
            configuration: kubelet::configuration_or_default(&arguments.kubelet),
            ask: kubelet::ask(&arguments.kubelet),
            node_usage: arguments.kubelet.node_usage.into(),
            pods: arguments.kubelet.pods,
            keep_cache: match arguments.keeper.keep_cache {
                KeepCacheArgument::Off => KeepCache::Off,
                KeepCacheArgument::DryRun => KeepCache::DryRun,
                KeepCacheArgument::On => KeepCache::On,
            },
            margin: arguments.keeper.keep_cache_margin.map_or(Margin::Default, Margin::At),
            with_anonymous: arguments.keeper.keep_cache_anonymous,
            writer: force_empty_writer::writer(),
        },
    })
}
