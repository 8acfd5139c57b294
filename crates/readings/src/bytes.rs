//! Amounts of memory and limits on them.
//!
//! The kernel prints both as bare numbers, with "no limit" written in several ways. Here an amount is [`Bytes`] and a
//! limit is [`Limit`], so that "unlimited" can't be mistaken for a very large amount.

use std::fmt;
use std::iter::Sum;

use crate::parse::{self, ParseError};

/// An amount of memory, in bytes. Arithmetic saturates: usage can exceed a limit, and the kernel's statistics lag.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes(u64);

impl Bytes {
    /// Nothing.
    pub const ZERO: Bytes = Bytes(0);

    /// An amount given in bytes.
    pub const fn new(bytes: u64) -> Self {
        Bytes(bytes)
    }

    /// An amount given in KiB, which the kernel writes `kB`.
    pub const fn from_kib(kib: u64) -> Self {
        Bytes(kib.saturating_mul(1024))
    }

    /// An amount given in MiB.
    pub const fn from_mib(mib: u64) -> Self {
        Bytes(mib.saturating_mul(1024 * 1024))
    }

    /// The number of bytes.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The sum, or the largest amount there is.
    pub const fn saturating_add(self, other: Bytes) -> Bytes {
        Bytes(self.0.saturating_add(other.0))
    }

    /// The difference, or nothing where `other` is larger.
    pub const fn saturating_sub(self, other: Bytes) -> Bytes {
        Bytes(self.0.saturating_sub(other.0))
    }

    /// Parses a file that holds one number of bytes, such as `memory.current`.
    pub fn parse(text: &[u8]) -> Result<Self, ParseError> {
        parse::single_u64(text, "a number of bytes").map(Bytes)
    }
}

impl Sum for Bytes {
    fn sum<I: Iterator<Item = Bytes>>(amounts: I) -> Bytes {
        amounts.fold(Bytes::ZERO, Bytes::saturating_add)
    }
}

/// Shows the amount for people: `512 B`, `1.5 KiB`, `256.0 MiB`.
impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
        if self.0 < 1024 {
            return f.pad(&format!("{} B", self.0));
        }
        let mut amount = self.0 as f64;
        let mut shown = "B";
        for unit in UNITS {
            amount /= 1024.0;
            shown = unit;
            // 1023.95 would round to 1024.0 of this unit: show it as 1.0 of the next.
            if amount < 1023.95 {
                break;
            }
        }
        f.pad(&format!("{amount:.1} {shown}"))
    }
}

/// A limit on memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Limit {
    /// No limit at this level.
    Max,
    /// A limit; zero is a real one.
    At(Bytes),
}

impl Limit {
    /// v1 writes "unlimited" as the largest multiple of the page size below 2^63
    /// (`PAGE_COUNTER_MAX * PAGE_SIZE`, include/linux/page_counter.h). Pages have at most 64 KiB.
    const V1_UNLIMITED: u64 = (1 << 63) - 64 * 1024;

    /// Parses a v2 limit file, such as `memory.max`: `max` or a number of bytes.
    pub fn parse_v2(text: &[u8]) -> Result<Self, ParseError> {
        if parse::single_word(text) == Some(b"max") {
            return Ok(Limit::Max);
        }
        parse::single_u64(text, "`max` or a number of bytes").map(|bytes| Limit::At(Bytes(bytes)))
    }

    /// Parses a v1 limit file, such as `memory.limit_in_bytes`: a number of bytes, where values from
    /// 2^63 − page size mean unlimited.
    pub fn parse_v1(text: &[u8]) -> Result<Self, ParseError> {
        parse::single_u64(text, "a number of bytes").map(Limit::from_v1)
    }

    /// A limit as v1 writes it, where values from 2^63 − page size mean unlimited.
    pub(crate) const fn from_v1(bytes: u64) -> Self {
        if bytes >= Self::V1_UNLIMITED { Limit::Max } else { Limit::At(Bytes(bytes)) }
    }

    /// The limit in bytes, or `None` where there is none.
    pub const fn bytes(self) -> Option<Bytes> {
        match self {
            Limit::Max => None,
            Limit::At(bytes) => Some(bytes),
        }
    }

    /// This limit as it binds on a machine with `host_total` bytes: a limit that the machine can't reach is none.
    pub fn below(self, host_total: Bytes) -> Limit {
        match self {
            Limit::At(bytes) if bytes < host_total => self,
            _ => Limit::Max,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn unlimited_on_v1_is_recognised_for_every_page_size() {
        for page_size in [4096_u64, 16384, 65536] {
            let text = format!("{}\n", (1_u64 << 63) - page_size);
            assert_eq!(Limit::parse_v1(text.as_bytes()), Ok(Limit::Max), "page size {page_size}");
        }
        assert_eq!(Limit::parse_v1(b"18446744073709551615\n"), Ok(Limit::Max));
        assert_eq!(Limit::parse_v1(b"9223372036854700000\n"), Ok(Limit::At(Bytes(9_223_372_036_854_700_000))));
    }

    #[test]
    fn zero_is_a_real_limit() {
        assert_eq!(Limit::parse_v1(b"0\n"), Ok(Limit::At(Bytes::ZERO)));
        assert_eq!(Limit::parse_v2(b"0\n"), Ok(Limit::At(Bytes::ZERO)));
    }

    #[test]
    fn a_limit_from_the_host_s_memory_upwards_is_none() {
        let host = Bytes::from_mib(100);
        assert_eq!(Limit::At(host).below(host), Limit::Max);
        assert_eq!(Limit::At(Bytes::from_mib(99)).below(host), Limit::At(Bytes::from_mib(99)));
    }

    #[test]
    fn malformed_limits_are_errors() {
        for text in [&b""[..], b"\n", b"-1\n", b"max max\n", b"12 13\n", b"1e9\n", b"99999999999999999999\n", b"\0\0"] {
            assert!(Limit::parse_v2(text).is_err(), "{text:?}");
            assert!(Limit::parse_v1(text).is_err(), "{text:?}");
        }
        assert!(Limit::parse_v1(b"max\n").is_err());
    }

    #[test]
    fn shows_amounts_for_people() {
        for (bytes, shown) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (1024 * 1024 - 1, "1.0 MiB"),
            (256 << 20, "256.0 MiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(Bytes(bytes).to_string(), shown);
        }
    }

    proptest! {
        #[test]
        fn parse_after_print_is_identity(bytes: u64) {
            prop_assert_eq!(Bytes::parse(format!("{bytes}\n").as_bytes()), Ok(Bytes(bytes)));
            prop_assert_eq!(Limit::parse_v2(format!("{bytes}\n").as_bytes()), Ok(Limit::At(Bytes(bytes))));
        }
    }
}
