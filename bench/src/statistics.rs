//! Medians and quantiles. Means are not shown anywhere: on a shared machine one disturbed run would move them.

use anyhow::{Result, ensure};

/// Measured values, in ascending order and never none.
#[derive(Debug)]
pub(crate) struct Sample(Vec<f64>);

impl Sample {
    /// Takes the values of something that was measured at least once.
    pub(crate) fn new(mut values: Vec<f64>) -> Result<Self> {
        ensure!(!values.is_empty(), "nothing was measured");
        values.sort_by(f64::total_cmp);
        Ok(Sample(values))
    }

    /// The smallest value that at least this part of all values does not exceed.
    pub(crate) fn quantile(&self, part: f64) -> f64 {
        let rank = (part * self.0.len() as f64).ceil() as usize;
        let index = rank.clamp(1, self.0.len()) - 1;
        self.0.get(index).copied().unwrap_or(f64::NAN)
    }

    /// The value in the middle.
    pub(crate) fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// The largest value.
    pub(crate) fn worst(&self) -> f64 {
        self.quantile(1.0)
    }

    /// How many values there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::Sample;

    #[test]
    fn quantiles_are_values_that_were_measured() {
        let sample = Sample::new((1..=200).rev().map(f64::from).collect()).unwrap();
        assert_eq!((sample.median(), sample.quantile(0.99), sample.worst()), (100.0, 198.0, 200.0));
        let one = Sample::new(vec![7.0]).unwrap();
        assert_eq!((one.quantile(0.0), one.median(), one.worst()), (7.0, 7.0, 7.0));
        assert!(Sample::new(Vec::new()).is_err());
    }
}
