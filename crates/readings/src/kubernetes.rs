//! What Kubernetes writes down: the kubelet's configuration and lists of pods, as far as they matter for eviction.
//!
//! Both come as YAML or JSON from files that a stranger may have written, so the text is bounded in size and depth before
//! anything is believed, and one bad field is a note beside what the others say, not the end of the reading.

mod amount;
mod document;
mod kubelet_configuration;
mod pod_list;

pub use self::amount::{EvictionAmount, parse_eviction_entries};
pub use self::document::DocumentError;
pub use self::kubelet_configuration::{EvictionConfiguration, parse_kubelet_configuration};
pub use self::pod_list::{PodList, PodSpec, parse_pod_list};
