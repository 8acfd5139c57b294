//! Amounts in eviction settings: a quantity, or a share of the memory.

use std::collections::BTreeMap;

use crate::bytes::Bytes;
use crate::parse::ParseError;
use crate::quantity::parse_quantity;

/// An amount as the kubelet's eviction settings write it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum EvictionAmount {
    /// So many bytes.
    Quantity(Bytes),
    /// A share of the capacity, of thresholds from 0 to 1, in the precision that the kubelet has it
    /// (`ThresholdValue.Percentage`, pkg/kubelet/eviction/api/types.go, kubelet 1.36).
    Share(f32),
}

impl EvictionAmount {
    /// Parses a threshold: `100Mi`, `5%`. `Ok(None)` for `0%` and `100%`, by which the kubelet switches a threshold off
    /// (`parseThresholdStatement`, pkg/kubelet/eviction/helpers.go, kubelet 1.36).
    ///
    /// # Errors
    /// What the kubelet refuses too: no amount, nothing, less than nothing, more than all.
    pub fn parse(text: &[u8]) -> Result<Option<Self>, ParseError> {
        let error = || ParseError::new("an eviction threshold such as 100Mi or 5%", text);
        let Some(number) = text.strip_suffix(b"%") else {
            let bytes = parse_quantity(text).map_err(|_| error())?;
            return if bytes == Bytes::ZERO { Err(error()) } else { Ok(Some(EvictionAmount::Quantity(bytes))) };
        };
        if matches!(number, b"0" | b"100") {
            return Ok(None);
        }
        let percent = percent(number).filter(|percent| *percent <= 100.0).ok_or_else(error)?;
        Ok(Some(EvictionAmount::Share(percent / 100.0)))
    }

    /// Parses a minimum-reclaim, which may be nothing (`0Mi`), and all (`100%`) or more than that
    /// (`parseMinimumReclaims`, pkg/kubelet/eviction/helpers.go, kubelet 1.36).
    ///
    /// # Errors
    /// What the kubelet refuses too: no amount, less than nothing, `0%`.
    pub fn parse_minimum_reclaim(text: &[u8]) -> Result<Self, ParseError> {
        let error = || ParseError::new("a minimum-reclaim such as 0Mi, 100Mi or 5%", text);
        match text.strip_suffix(b"%") {
            Some(number) => {
                let percent = percent(number).filter(|percent| *percent > 0.0).ok_or_else(error)?;
                Ok(EvictionAmount::Share(percent / 100.0))
            }
            None => parse_quantity(text).map(EvictionAmount::Quantity).map_err(|_| error()),
        }
    }

    /// The amount in bytes, where all there is are `capacity` (`GetThresholdQuantity`).
    pub fn of(self, capacity: Bytes) -> Bytes {
        match self {
            EvictionAmount::Quantity(bytes) => bytes,
            // As Go does it: both to float64, the product cut to a whole number.
            EvictionAmount::Share(share) => Bytes::new((capacity.get() as f64 * f64::from(share)) as u64),
        }
    }
}

/// A number of percent, in float32 as the kubelet has it.
fn percent(number: &[u8]) -> Option<f32> {
    let is_digit = |byte: &u8| byte.is_ascii_digit() || *byte == b'.';
    std::str::from_utf8(number).ok().filter(|_| number.iter().all(is_digit)).and_then(|text| text.parse().ok())
}

/// Parses what the kubelet's flags take: `memory.available<100Mi,nodefs.available<10%`, with `separator` `<` for
/// thresholds and `=` for grace periods and minimum-reclaim.
///
/// # Errors
/// An entry without separator, without a name, or named twice.
pub fn parse_eviction_entries(text: &str, separator: char) -> Result<BTreeMap<String, String>, ParseError> {
    let mut entries = BTreeMap::new();
    for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
        let error = || ParseError::new("entries such as memory.available<100Mi, split by commas", entry.as_bytes());
        let (signal, value) = entry.split_once(separator).ok_or_else(error)?;
        let (signal, value) = (signal.trim(), value.trim());
        if signal.is_empty() || entries.insert(signal.to_owned(), value.to_owned()).is_some() {
            return Err(error());
        }
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_are_read_as_the_kubelet_reads_them() {
        let parse = |text: &str| EvictionAmount::parse(text.as_bytes());
        assert_eq!(parse("100Mi"), Ok(Some(EvictionAmount::Quantity(Bytes::from_mib(100)))));
        assert_eq!(parse("0%"), Ok(None));
        assert_eq!(parse("100%"), Ok(None));
        // 5 % in float32 is a little more than 5 %: 25276514304 × 0.05 would be 1263825715.2.
        let five = parse("5%").unwrap().unwrap();
        assert_eq!(five.of(Bytes::new(25_276_514_304)), Bytes::new(1_263_825_734));
        for wrong in ["", "0", "-1", "-5%", "101%", "%", "nan%", "inf%", "1e1%", "5 %", "soon", "5%%"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn flags_are_lists_of_entries() {
        let entries = parse_eviction_entries("memory.available<100Mi, nodefs.available<10%,", '<').unwrap();
        assert_eq!(entries.get("memory.available").map(String::as_str), Some("100Mi"));
        assert_eq!(entries.len(), 2);
        for wrong in ["memory.available", "<100Mi", "a<1,a<2"] {
            assert!(parse_eviction_entries(wrong, '<').is_err(), "{wrong}");
        }
    }
}
