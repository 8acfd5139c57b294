//! How near a threshold the keeper begins.

use reprieve_readings::{Bytes, EvictionAmount};

/// The margin: with less available than that the keeper acts.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub enum Margin {
    /// Twice the threshold or 5 % of the memory, whichever is more; for thresholds so large that twice of them is out of
    /// reach, halfway between the threshold and all memory.
    #[default]
    Default,
    /// What the user said.
    At(EvictionAmount),
}

impl Margin {
    /// The margin of a threshold, in bytes; never below the threshold itself.
    pub fn of(self, threshold: Bytes, capacity: Bytes) -> Bytes {
        let margin = match self {
            Margin::At(amount) => amount.of(capacity),
            Margin::Default => {
                let twice = threshold.saturating_add(threshold);
                let halfway = threshold.saturating_add(Bytes::new(capacity.saturating_sub(threshold).get() / 2));
                twice.max(Bytes::new(capacity.get() / 20)).min(halfway)
            }
        };
        margin.max(threshold)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_fits_small_and_large_thresholds() {
        let margin =
            |threshold, capacity| Margin::Default.of(Bytes::from_mib(threshold), Bytes::from_mib(capacity)).get() >> 20;
        assert_eq!(margin(100, 1000), 200, "twice the threshold");
        assert_eq!(margin(100, 10_000), 500, "5 %");
        assert_eq!(margin(900, 1000), 950, "halfway");
        assert_eq!(margin(1000, 1000), 1000);
        let told = |mib| Margin::At(EvictionAmount::Quantity(Bytes::from_mib(mib)));
        assert_eq!(told(50).of(Bytes::from_mib(100), Bytes::from_mib(1000)), Bytes::from_mib(100), "not below it");
    }
}
