//! From the flags that tell of the kubelet to its settings.

use anyhow::{Context, Result};
use reprieve_agent::AskConfiguration;
use reprieve_judgement::NodeUsage;
use reprieve_kubernetes::{ConfigzSource, fetch_configz};
use reprieve_linux::read_small_file;
use reprieve_readings::{
    EvictionConfiguration, PodList, parse_eviction_entries, parse_kubelet_configuration, parse_pod_list,
};

use crate::arguments::{KubeletArguments, NodeUsageArgument};

impl From<NodeUsageArgument> for NodeUsage {
    fn from(argument: NodeUsageArgument) -> Self {
        match argument {
            NodeUsageArgument::AnonAndFile => NodeUsage::AnonAndFile,
            NodeUsageArgument::TotalMinusFree => NodeUsage::TotalMinusFree,
        }
    }
}

/// The kubelet's settings: what it answers, its file's, or the defaults, and on top of them what flags say.
pub(crate) fn configuration(arguments: &KubeletArguments) -> Result<EvictionConfiguration> {
    let mut configuration = EvictionConfiguration::default();
    if let Some(url) = &arguments.kubelet_configz {
        let source = ConfigzSource {
            url: url.clone(),
            token: arguments.kubelet_token.clone(),
            authorities: arguments.kubelet_ca.clone(),
        };
        configuration = parse_kubelet_configuration(&fetch_configz(&source)?).with_context(|| url.clone())?;
    }
    if let Some(path) = &arguments.kubelet_config {
        let text = read_small_file(path).with_context(|| "can't read the kubelet's configuration".to_owned())?;
        configuration = parse_kubelet_configuration(&text).with_context(|| path.display().to_string())?;
    }
    set_by_flags(&mut configuration, arguments)?;
    Ok(configuration)
}

/// How to ask the kubelet, where it is to be asked.
pub(crate) fn ask(arguments: &KubeletArguments) -> Option<AskConfiguration> {
    let arguments = arguments.clone();
    arguments.kubelet_configz.as_ref()?;
    Some(AskConfiguration::new(move || configuration(&arguments).map_err(|error| format!("{error:#}"))))
}

/// The settings for those who must not end because of them nor wait for an answer: what can't be read is a note, and the
/// defaults hold.
pub(crate) fn configuration_or_default(arguments: &KubeletArguments) -> EvictionConfiguration {
    configuration(&KubeletArguments { kubelet_configz: None, ..arguments.clone() }).unwrap_or_else(|error| {
        let notes = vec![format!("{error:#}: the kubelet's defaults are assumed")];
        EvictionConfiguration { notes, ..EvictionConfiguration::default() }
    })
}

fn set_by_flags(configuration: &mut EvictionConfiguration, arguments: &KubeletArguments) -> Result<()> {
    let parse = |flag: &'static str, text: &str, separator| parse_eviction_entries(text, separator).context(flag);
    if let Some(hard) = &arguments.eviction_hard {
        configuration.set_hard(&parse("--eviction-hard", hard, '<')?, false);
    }
    if let Some(soft) = &arguments.eviction_soft {
        let grace = arguments.eviction_soft_grace_period.as_deref().unwrap_or_default();
        let grace = parse("--eviction-soft-grace-period", grace, '=')?;
        configuration.set_soft(&parse("--eviction-soft", soft, '<')?, &grace);
    }
    if let Some(reclaim) = &arguments.eviction_minimum_reclaim {
        configuration.set_minimum_reclaim(&parse("--eviction-minimum-reclaim", reclaim, '=')?);
    }
    Ok(())
}

/// The list of pods, where one is given.
pub(crate) fn pods(arguments: &KubeletArguments) -> Result<PodList> {
    let Some(path) = &arguments.pods else { return Ok(PodList::default()) };
    let text = read_small_file(path).with_context(|| "can't read the list of pods".to_owned())?;
    parse_pod_list(&text).with_context(|| path.display().to_string())
}
