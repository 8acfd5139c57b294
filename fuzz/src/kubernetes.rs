//! What Kubernetes writes down: the kubelet's configuration, its flags, and lists of pods.

use reprieve_readings::{Bytes, EvictionAmount, parse_eviction_entries, parse_kubelet_configuration, parse_pod_list};

use crate::assert_harmless;

/// A kubelet's configuration or a list of pods; a threshold and a flag.
pub fn kubernetes(input: &[u8]) {
    match parse_kubelet_configuration(input) {
        Ok(configuration) => {
            configuration.notes.iter().for_each(|note| assert_harmless(note));
            let amounts = [configuration.hard, configuration.soft.map(|(amount, _)| amount)];
            amounts.into_iter().flatten().for_each(assert_is_a_part);
        }
        Err(error) => assert_harmless(&error.to_string()),
    }
    match parse_pod_list(input) {
        Ok(list) => {
            list.notes.iter().for_each(|note| assert_harmless(note));
            assert!(list.pods.iter().all(|pod| !pod.cgroup_uid.is_empty() || !pod.name.is_empty()));
        }
        Err(error) => assert_harmless(&error.to_string()),
    }
    match EvictionAmount::parse(input) {
        Ok(amount) => amount.into_iter().for_each(assert_is_a_part),
        Err(error) => assert_harmless(&error.to_string()),
    }
    if let Ok(text) = std::str::from_utf8(input)
        && let Err(error) = parse_eviction_entries(text, '<')
    {
        assert_harmless(&error.to_string());
    }
}

/// A share is never more than the whole.
fn assert_is_a_part(amount: EvictionAmount) {
    let whole = Bytes::from_mib(1 << 20);
    match amount {
        EvictionAmount::Share(_) => assert!(amount.of(whole) <= whole),
        EvictionAmount::Quantity(bytes) => assert_eq!(amount.of(whole), bytes),
    }
}
