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
    let mut configuration = without_flags(arguments)?;
    match set_by_flags(&mut configuration, arguments).into_iter().next() {
        Some(wrong) => Err(wrong),
        None => Ok(configuration),
    }
}

fn without_flags(arguments: &KubeletArguments) -> Result<EvictionConfiguration> {
    if let Some(path) = &arguments.kubelet_config {
        let text = read_small_file(path).with_context(|| "can't read the kubelet's configuration".to_owned())?;
        return parse_kubelet_configuration(&text).with_context(|| path.display().to_string());
    }
    if let Some(url) = &arguments.kubelet_configz {
        let source = ConfigzSource {
            url: url.clone(),
            token: arguments.kubelet_token.clone(),
            authorities: arguments.kubelet_ca.clone(),
        };
        return parse_kubelet_configuration(&fetch_configz(&source)?).with_context(|| url.clone());
    }
    Ok(EvictionConfiguration::default())
}

/// How to ask the kubelet, where it is to be asked.
pub(crate) fn ask(arguments: &KubeletArguments) -> Option<AskConfiguration> {
    let arguments = arguments.clone();
    arguments.kubelet_configz.as_ref()?;
    Some(AskConfiguration::new(move || configuration(&arguments).map_err(|error| format!("{error:#}"))))
}

/// The settings for those who must not end because of them nor wait for an answer: what can't be read is a note. Where
/// that is the file the defaults hold, and a flag is as if it were not given.
pub(crate) fn configuration_or_default(arguments: &KubeletArguments) -> EvictionConfiguration {
    let from_file = without_flags(&KubeletArguments { kubelet_configz: None, ..arguments.clone() });
    let mut configuration = from_file.unwrap_or_else(|error| {
        let notes = vec![format!("{error:#}: the kubelet's defaults are assumed")];
        EvictionConfiguration { notes, ..EvictionConfiguration::default() }
    });
    let wrong = set_by_flags(&mut configuration, arguments);
    configuration.notes.extend(wrong.iter().map(|error| format!("{error:#}: the flag is left out")));
    configuration
}

/// Sets what flags say, and returns what is wrong with the others.
fn set_by_flags(configuration: &mut EvictionConfiguration, arguments: &KubeletArguments) -> Vec<anyhow::Error> {
    let mut wrong = Vec::new();
    let mut parse = |flag: &'static str, text: &Option<String>, separator| {
        let entries = parse_eviction_entries(text.as_deref()?, separator).context(flag);
        entries.map_err(|error| wrong.push(error)).ok()
    };
    if let Some(hard) = parse("--eviction-hard", &arguments.eviction_hard, '<') {
        configuration.set_hard(&hard, false);
    }
    let grace = parse("--eviction-soft-grace-period", &arguments.eviction_soft_grace_period, '=');
    let soft = parse("--eviction-soft", &arguments.eviction_soft, '<');
    configuration.set_soft(soft.as_ref(), grace.as_ref());
    if let Some(reclaim) = parse("--eviction-minimum-reclaim", &arguments.eviction_minimum_reclaim, '=') {
        configuration.set_minimum_reclaim(&reclaim);
    }
    wrong
}

/// The list of pods, where one is given.
pub(crate) fn pods(arguments: &KubeletArguments) -> Result<PodList> {
    let Some(path) = &arguments.pods else { return Ok(PodList::default()) };
    let text = read_small_file(path).with_context(|| "can't read the list of pods".to_owned())?;
    parse_pod_list(&text).with_context(|| path.display().to_string())
}
