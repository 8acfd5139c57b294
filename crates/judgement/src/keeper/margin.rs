//! How near a threshold the keeper begins.

use reprieve_readings::{Bytes, EvictionAmount};

/// The margin: with less available than that the keeper acts.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub enum Margin {
    /// Twice the threshold, 5 % of the memory, or where the kubelet stops once it evicts, whichever is most; where that is
    /// out of reach, halfway between the threshold and all memory.
    #[default]
    Default,
    /// What the user said.
    At(EvictionAmount),
}

impl Margin {
    /// The margin of a threshold, in bytes; never below the threshold itself. Once the kubelet evicts it goes on `until`
    /// so much is available.
    pub fn of(self, threshold: Bytes, until: Bytes, capacity: Bytes) -> Bytes {
        let margin = match self {
            Margin::At(amount) => amount.of(capacity),
            Margin::Default => {
                let twice = threshold.saturating_add(threshold);
                let halfway = threshold.saturating_add(Bytes::new(capacity.saturating_sub(threshold).get() / 2));
                twice.max(Bytes::new(capacity.get() / 20)).max(until).min(halfway)
            }
        };
        margin.max(threshold)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(margin: Margin, threshold: u64, until: u64, capacity: u64) -> u64 {
        let mib = Bytes::from_mib;
        margin.of(mib(threshold), mib(until), mib(capacity)).get() >> 20
    }

    #[test]
    fn the_default_fits_small_and_large_thresholds() {
        let margin = |threshold, capacity| of(Margin::Default, threshold, threshold, capacity);
        assert_eq!(margin(100, 1000), 200, "twice the threshold");
        assert_eq!(margin(100, 10_000), 500, "5 %");
        assert_eq!(margin(900, 1000), 950, "halfway");
        assert_eq!(margin(1000, 1000), 1000);
        let told = |mib| Margin::At(EvictionAmount::Quantity(Bytes::from_mib(mib)));
        assert_eq!(of(told(50), 100, 100, 1000), 100, "not below it");
    }

    #[test]
    fn the_default_reaches_as_far_as_the_kubelet_goes_on_evicting() {
        assert_eq!(of(Margin::Default, 100, 450, 1000), 450);
        assert_eq!(of(Margin::Default, 100, 150, 1000), 200, "twice the threshold is more");
        assert_eq!(of(Margin::Default, 100, 900, 1000), 550, "halfway: at 900 the keeper would never rest");
        assert_eq!(of(Margin::At(EvictionAmount::Share(0.25)), 100, 450, 1000), 250, "what the user said");
    }
}
